"""What a sample is drawn of, family by family."""

from pathlib import Path

import pytest

from curation.report.viewer import renderers
from curation.report.viewer.blocks import MOST, Medium, Shown, by_segments, renderer
from schemas.sample import FAMILIES
from tests.report.viewer.corpora import asked, get, view_of, viewer
from tests.report.viewer.families import family_run
from tests.trainer.samples import FAMILIES as MADE
from tests.trainer.samples import box_segment, image_segment, text_segment

GROUNDING = '''"""Grounded phrases: the picture with its boxes, nothing else."""

from curation.report.viewer.blocks import by_segments


def render(shown):
    return [block for block in by_segments(shown) if block["kind"] == "picture"]
'''


def shown(*segments, media: int = 1, ext: str = "jpg") -> Shown:
    return Shown(
        text="a text",
        media=tuple(Medium(nth=n, ext=ext) for n in range(media)),
        measured={},
        segments=segments,
    )


def test_boxes_are_numbered_over_the_picture_before_them_and_in_the_text():
    first, second = [0, 10, 500, 999], [1, 2, 3, 4]
    blocks = by_segments(
        shown(
            image_segment("0.jpg", 640, 480),
            text_segment("a dog ", loss=True),
            box_segment(first, loss=True),
            image_segment("1.jpg", 64, 48),
            box_segment(second, loss=False),
            media=2,
        )
    )
    assert blocks == [
        {"kind": "picture", "nth": 0, "width": 640, "height": 480,
         "boxes": [{"n": 1, "box": first}]},
        {"kind": "words", "parts": ["a dog ", 1], "learnt": True},
        {"kind": "picture", "nth": 1, "width": 64, "height": 48,
         "boxes": [{"n": 2, "box": second}]},
        {"kind": "words", "parts": [2], "learnt": False},
    ]  # fmt: skip


@pytest.mark.parametrize("box", [[0, 0, 1000, 5], [0, 0, 5], [0, 0, 0.5, 5], "0,0,1,1", [True] * 4])
def test_what_is_no_box_is_not_drawn(box):
    blocks = by_segments(shown(image_segment("0.jpg", 9, 9), box_segment(box, loss=True)))
    assert [block["kind"] for block in blocks] == ["picture"]
    assert blocks[0]["boxes"] == []


@pytest.mark.parametrize("member", ["9.jpg", "-1.jpg", "x", "", "1e9"])
def test_a_segment_that_names_no_medium_draws_nothing(member):
    assert by_segments(shown(image_segment(member, 9, 9))) == []


def test_a_sample_has_no_more_blocks_than_a_page_can_hold():
    many = [image_segment("0.jpg", 9, 9)] * (2 * MOST)
    assert len(by_segments(shown(*many))) == MOST


def test_without_a_training_sample_media_come_first():
    kinds = [block["kind"] for block in by_segments(shown(media=2))]
    assert kinds == ["picture", "picture", "words"]
    assert by_segments(shown(ext="mp4"))[0]["kind"] == "clip"


def test_a_family_without_a_module_or_a_name_is_drawn_by_its_segments():
    assert renderer("gui") is by_segments
    assert renderer("../image_text") is by_segments
    assert renderer("image-text") is not by_segments


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_the_trainer_can_be_looked_at(family, tmp_path):
    app = viewer(view_of(family_run(tmp_path, family)))
    said = asked(app, "sample?at=1")
    drawn = [block["kind"] for block in said["blocks"]]
    samples = list(MADE[family](0, 2))
    types = [segment["type"] for segment in samples[1][0]]
    assert drawn.count("picture") == types.count("image")
    assert drawn.count("clip") == types.count("video")
    boxes = [box for block in said["blocks"] for box in block.get("boxes", [])]
    assert len(boxes) == types.count("box")
    assert ("words" in drawn) == (family != "image-text")
    told = asked(app, "tokens?at=1")
    assert [part["type"] for part in told["parts"]] == ["start", *types, "end"]
    assert asked(app, "samples?limit=6")["total"] == 6


def test_each_image_of_a_document_has_an_address(tmp_path):
    app = viewer(view_of(family_run(tmp_path, "interleaved")))
    counts = [len(asked(app, f"sample?at={at}")["members"]) for at in range(6)]
    at = counts.index(max(counts))
    bodies = {get(app, f"/image?at={at}&side=240&nth={nth}")[2] for nth in range(counts[at])}
    assert len(bodies) > 1
    assert get(app, f"/image?at={at}&nth={counts[at]}")[0] == 404
    assert get(app, f"/image?at={at}&nth=-1")[0] == 400


def test_one_file_makes_a_renderer_of_a_family(tmp_path, monkeypatch):
    (tmp_path / "grounding.py").write_text(GROUNDING)
    monkeypatch.setattr(renderers, "__path__", [*renderers.__path__, str(tmp_path)])
    app = viewer(view_of(family_run(tmp_path / "run", "grounding")))
    blocks = asked(app, "sample?at=0")["blocks"]
    assert [block["kind"] for block in blocks] == ["picture"]
    assert len(blocks[0]["boxes"]) >= 2
    assert Path(renderer("grounding").__code__.co_filename).parent == tmp_path
