"""Image-text pairs as training samples: the image, then its caption, which is learnt."""

import json
from typing import Any

from schemas.sample import Meta, Sample, Segment

FAMILY = "image-text"
VERSION = 1
"""Raised when the same pair would be written otherwise; part of an export's fingerprint."""


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_SORTED = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def text_segment(text: str, *, loss: bool) -> Segment:
    """Words, learnt or only read."""
    return {**_blank(), "type": "text", "text": text, "loss": loss}


def image_segment(member: str, width: int, height: int) -> Segment:
    """An image by its tar member; sides in pixels after EXIF orientation."""
    return {**_blank(), "type": "image", "member": member, "width": width, "height": height}


def _blank() -> Segment:
    """Every key of a segment, with nothing in it."""
    return {
        "type": "text",
        "text": "",
        "loss": False,
        "member": "",
        "width": 0,
        "height": 0,
        "box": [],
        "timestamps": [],
    }


def assemble(row: dict[str, Any]) -> tuple[Sample, list[tuple[str, dict[str, Any]]]]:
    """The training sample of a planned row, and its media as (member name, source member).

    `row` has uid, members, text, width, height, license, source_url, domain, source, scores,
    caption, shard and row.
    """
    media = [member for member in row["members"] if member["sha256"]]
    named = [(f"{number}.{m['ext'].rsplit('.', 1)[-1]}", m) for number, m in enumerate(media)]
    segments = [image_segment(name, row["width"] or 0, row["height"] or 0) for name, _ in named]
    if row["text"] is not None:
        segments.append(text_segment(row["text"], loss=True))
    meta: Meta = {
        "uid": row["uid"],
        "source_url": row["source_url"] or "",
        "domain": row["domain"] or "",
        "license": row["license"] or "",
        "lineage": lineage(row),
        "scores": row["scores"],
    }
    return {"family": FAMILY, "segments": segments, "meta": meta}, named


def lineage(row: dict[str, Any]) -> str:
    """JSON: the source's own columns, the sample's place in the curated corpus, and `recaption`
    where its caption is a model's, or `repaired` where sentences were left out of that."""
    place = {"shard": row["shard"], "row": row["row"], "source": json.loads(row["source"] or "{}")}
    if row["caption"]:
        place["caption"] = row["caption"]
    return _SORTED.encode(place)


def encode_segments(sample: Sample) -> str:
    """A sample's segments as the export's index and `<uid>.json` hold them."""
    return _COMPACT.encode(sample["segments"])


def encode(sample: Sample, segments: str = "") -> bytes:
    """What `<uid>.json` holds; `segments`, where they are encoded already, saves doing it again."""
    family, meta = _COMPACT.encode(sample["family"]), _COMPACT.encode(sample["meta"])
    segments = segments or encode_segments(sample)
    return f'{{"family":{family},"segments":{segments},"meta":{meta}}}'.encode()
