"""The training sample: one JSON a sample, for all families, so that the trainer has one path.

Every segment carries every key, whatever its type: readers that infer types from a few samples
(Hugging Face datasets looks at five) then see one type a field.
"""

from typing import Any, Literal, TypedDict

FAMILIES = ("image-text", "interleaved", "ocr", "grounding", "gui", "video")

SegmentType = Literal["text", "box", "image", "video"]


class Segment(TypedDict):
    """One piece of a training sample, in reading order."""

    type: SegmentType
    text: str
    """Text of a text segment, never holding special tokens; else empty."""
    loss: bool
    """Whether the trainer learns to predict this segment (text and boxes only)."""
    member: str
    """Extension of the tar member of an image or video, as `0.jpg`; else empty."""
    width: int
    """Pixels, after EXIF orientation; 0 for text and boxes."""
    height: int
    """Pixels, after EXIF orientation; 0 for text and boxes."""
    box: list[int]
    """`[x1, y1, x2, y2]` in 0-999 of the image's sides, for a box segment; else empty."""
    timestamps: list[float]
    """Seconds of each sampled frame, for a video segment; else empty."""


class Meta(TypedDict):
    """Where a sample comes from and what was measured about it."""

    uid: str
    source_url: str
    domain: str
    license: str
    lineage: str
    """JSON: the source's own columns, and the shard and row of the curated corpus."""
    scores: str
    """JSON: measures by name."""


class Sample(TypedDict):
    """What `<uid>.json` holds."""

    family: str
    segments: list[Segment]
    meta: Meta


_SEGMENT_TYPES = {
    "type": "string",
    "text": "string",
    "loss": "bool",
    "member": "string",
    "width": "int32",
    "height": "int32",
}
_META_TYPES = dict.fromkeys(Meta.__annotations__, "string")


def dataset_features(image_members: list[str]) -> list[dict[str, Any]]:
    """`dataset_info.features` of an export's card, in the Hub's YAML form.

    `image_members` are the media extensions that occur (`0.jpg`, `0.png`): Hugging Face datasets
    drops members that the features lack, and fills those a sample lacks with nulls.
    """
    segment: list[dict[str, Any]] = [
        {"name": name, "dtype": dtype} for name, dtype in _SEGMENT_TYPES.items()
    ]
    segment.append({"name": "box", "list": "int32"})
    segment.append({"name": "timestamps", "list": "float32"})
    return [
        {
            "name": "json",
            "struct": [
                {"name": "family", "dtype": "string"},
                {"name": "segments", "list": segment},
                {
                    "name": "meta",
                    "struct": [{"name": n, "dtype": t} for n, t in _META_TYPES.items()],
                },
            ],
        },
        *({"name": member, "dtype": "image"} for member in image_members),
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]
