"""What an image-text pair looks like as a training sample."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.families.image_text import (
    FAMILY,
    assemble,
    encode,
    encode_segments,
    image_segment,
    text_segment,
)
from schemas.sample import FAMILIES, Meta, Sample, Segment

SPECIAL = (
    "<|image|>",
    "<|begin_of_box|>[1, 2, 3, 4]<|end_of_box|>",
    "[gMASK]<sop>",
    "<|endoftext|>",
)
KINDS = {"type": str, "text": str, "loss": bool, "member": str, "width": int, "height": int,
         "box": list, "timestamps": list}  # fmt: skip


def member(ext="0.jpg", sha="ab" * 32):
    return {"ext": ext, "offset": 512, "size": 9, "sha256": sha}


def row(**changed):
    plain = {
        "uid": "0" * 32,
        "members": [member(), member("txt", None), member("json", None)],
        "text": "A red car.",
        "width": 640,
        "height": 480,
        "license": "CC BY 4.0",
        "source_url": "https://a.org/1.jpg",
        "domain": "a.org",
        "source": '{"row": 7}',
        "scores": '{"blur": 1.5}',
        "caption": None,
        "shard": 3,
        "row": 12,
    }
    return {**plain, **changed}


def test_the_image_comes_first_and_only_the_caption_is_learnt():
    sample, media = assemble(row())
    blank = {"text": "", "loss": False, "member": "", "width": 0, "height": 0, "box": [],
             "timestamps": []}  # fmt: skip
    assert sample == {
        "family": "image-text",
        "segments": [
            {**blank, "type": "image", "member": "0.jpg", "width": 640, "height": 480},
            {**blank, "type": "text", "text": "A red car.", "loss": True},
        ],
        "meta": {
            "uid": "0" * 32,
            "source_url": "https://a.org/1.jpg",
            "domain": "a.org",
            "license": "CC BY 4.0",
            "lineage": '{"row": 12, "shard": 3, "source": {"row": 7}}',
            "scores": '{"blur": 1.5}',
        },
    }
    assert media == [("0.jpg", member())]


def test_what_is_not_known_is_empty_and_keeps_its_type():
    nothing = dict.fromkeys(
        ("license", "source_url", "domain", "source", "width", "height", "text")
    )
    sample, _ = assemble(row(**nothing))
    assert [segment["type"] for segment in sample["segments"]] == ["image"]
    assert (sample["segments"][0]["width"], sample["segments"][0]["height"]) == (0, 0)
    assert {type(value) for value in sample["meta"].values()} == {str}


def test_an_empty_caption_is_a_caption():
    sample, _ = assemble(row(text=""))
    assert sample["segments"][1] == text_segment("", loss=True)


@pytest.mark.parametrize(
    ("exts", "named"),
    [
        (["jpg"], ["0.jpg"]),
        (["0.jpeg"], ["0.jpeg"]),
        (["front.left.png"], ["0.png"]),
        (["a.jpg", "b.webp"], ["0.jpg", "1.webp"]),
        ([], []),
    ],
)
def test_media_members_are_numbered(exts, named):
    members = [member(ext) for ext in exts]
    sample, media = assemble(row(members=[*members, member("txt", None)]))
    assert media == list(zip(named, members, strict=True))
    assert [s["member"] for s in sample["segments"] if s["type"] == "image"] == named


WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("text", "license", "source_url", "domain"), WORDS)
        | {
            "width": st.none() | st.integers(1, 10_000),
            "height": st.none() | st.integers(1, 10_000),
            "source": st.none() | st.dictionaries(st.text("abc"), WORDS).map(json.dumps),
            "members": st.lists(st.sampled_from([member(), member("b.png"), member("txt", None)])),
        }
    )
)
def test_every_sample_has_the_same_keys_and_types(changed):
    """Readers that infer types from the first samples see one type a field."""
    sample, media = assemble(row(**changed))
    again = json.loads(encode(sample))
    assert again == sample
    assert list(again) == list(Sample.__annotations__)
    assert again["family"] == FAMILY
    assert FAMILY in FAMILIES
    assert list(again["meta"]) == list(Meta.__annotations__)
    assert {type(value) for value in again["meta"].values()} == {str}
    for segment in again["segments"]:
        assert {name: type(value) for name, value in segment.items()} == KINDS
        assert segment.keys() == Segment.__annotations__.keys()
        assert segment["loss"] == (segment["type"] == "text")
    lineage = json.loads(again["meta"]["lineage"])
    assert lineage == {"shard": 3, "row": 12, "source": json.loads(changed["source"] or "{}")}
    assert [name for name, _ in media] == [
        s["member"] for s in again["segments"] if s["type"] == "image"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", [*SPECIAL, "a <|image|> b", "\0", '"quoted"\\', "图\u2028像", "👩‍👩‍👧"]
)
def test_a_caption_stays_text_whatever_it_holds(text):
    sample, _ = assemble(row(text=text))
    segments = json.loads(encode(sample))["segments"]
    assert [segment["type"] for segment in segments] == ["image", "text"]
    assert segments[1]["text"] == text
    assert segments[1]["box"] == []


def test_segments_share_no_lists():
    one, other = text_segment("a", loss=True), image_segment("0.jpg", 1, 2)
    assert one["box"] == other["timestamps"] == []
    one["box"].append(1)
    assert text_segment("b", loss=False)["box"] == []


def test_bytes_are_compact_utf8_and_the_same_every_time():
    sample, _ = assemble(row(text="né 图"))
    assert encode(sample) == encode(assemble(row(text="né 图"))[0])
    assert '"text":"né 图"'.encode() in encode(sample)
    assert b"\n" not in encode(sample)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_encoding_in_parts_gives_the_json_of_the_whole(text, early):
    sample, _ = assemble(row(text=text))
    parts = encode(sample, encode_segments(sample)) if early else encode(sample)
    whole = json.dumps(sample, ensure_ascii=False, separators=(",", ":"))
    assert parts == whole.encode()
