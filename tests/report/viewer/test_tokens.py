"""A training sample in tokens, as the trainer lays it out."""

import numpy as np
import pytest

from curation.core.errors import UsageError
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.processor_files import save_processor
from curation.models.glm4v.tokenizer import demo_tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from curation.report.viewer.tokens import COUNTED, SHOWN, TokenView
from tests.report.viewer.corpora import asked, get, hostile_corpus, view_of, viewer
from tests.trainer.samples import FAMILIES, box_segment, image_segment, text_segment

HARD = "naïve 東京 \U0001f1e9\U0001f1ea <|image|> \ufffd\u202e x\n\n\ty"
"""Characters of several tokens, flags, what looks like a special token, a broken character."""


def flat(told) -> tuple[list[int], list[bool]]:
    """Ids and whether each is learnt."""
    ids: list[int] = []
    learnt: list[bool] = []
    for part in told["parts"]:
        assert part["more"] == 0
        mine = [n for _, here, _, times in part["pieces"] for n in here * times]
        assert len(mine) == part["tokens"]
        ids += mine
        learnt += [part["learnt"]] * len(mine)
    return ids, learnt


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_the_trainers_own(family):
    processor = Processor(demo_tokenizer())
    for segments, _ in FAMILIES[family](3, 4):
        laid = processor.sample(processor.lay_out(segments))
        told = TokenView().told(segments)
        ids, learnt = flat(told)
        assert ids == laid.ids.tolist()
        assert learnt == laid.learnt.tolist()
        assert (told["tokens"], told["learnt"]) == (len(ids), int(np.sum(laid.learnt)))


def test_pieces_read_as_the_text_and_no_text_is_special():
    told = TokenView().told([text_segment(HARD, loss=True)])
    pieces = told["parts"][1]["pieces"]
    assert "".join(text for text, *_ in pieces) == HARD
    assert not any(special for _, _, special, _ in pieces)
    assert any(len(ids) > 1 for _, ids, _, _ in pieces)
    flat(told)


def test_an_image_is_one_piece_that_says_how_often():
    told = TokenView().told([image_segment("0.jpg", 280, 224)])
    part = told["parts"][1]
    assert [(text, special) for text, _, special, _ in part["pieces"]] == [
        ("<|begin_of_image|>", True), ("<|image|>", True), ("<|end_of_image|>", True),
    ]  # fmt: skip
    assert part["pieces"][1][3] == part["tokens"] - 2 == 80
    assert part["grid"] == [1, 16, 20]


def test_no_more_is_sent_or_counted_than_a_page_can_hold():
    told = TokenView().told([text_segment("a b c d " * 8_000, loss=True)])
    part = told["parts"][1]
    assert len(part["pieces"]) <= SHOWN
    assert (
        part["more"] + sum(len(ids) * times for _, ids, _, times in part["pieces"])
        == part["tokens"]
    )
    assert told["whole"]
    huge = TokenView().told([image_segment("0.jpg", 10_000, 10_000)] * 400)
    assert not huge["whole"]
    assert COUNTED < huge["tokens"] < COUNTED + 10_000


@pytest.mark.parametrize(
    "segment",
    [
        box_segment([0, 0, 5000, 1], loss=True),
        {**text_segment("", loss=True), "type": "sound"},
        {"type": "text"},
        image_segment("0.jpg", 0, 0),
        {**image_segment("0.jpg", 9, 9), "width": "wide"},
        {**text_segment("", loss=True), "text": 5},
    ],
)
def test_what_cannot_be_laid_out_is_one_line(segment):
    with pytest.raises(UsageError, match="segment 0 cannot be laid out"):
        TokenView().told([segment])


def test_a_checkpoints_tokenizer_and_budget_are_taken(tmp_path):
    vision = VisionSettings(image_max_pixels=28 * 28 * 2 * 40)
    save_processor(Processor(demo_tokenizer(), vision), tmp_path)
    told = TokenView(str(tmp_path)).told([image_segment("0.jpg", 2_000, 2_000)])
    assert told["parts"][1]["tokens"] <= 42
    assert told["tokenizer"] == str(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        TokenView(str(tmp_path / "none")).told([])


def test_a_sample_is_told_in_tokens_where_it_was_exported(tmp_path):
    app = viewer(view_of(hostile_corpus(tmp_path)))
    told = asked(app, "tokens?at=1")
    text = next(part for part in told["parts"] if part["type"] == "text")
    assert text["learnt"]
    assert "".join(piece[0] for piece in text["pieces"]).startswith("<script>window.hacked")
    assert not any(piece[2] for piece in text["pieces"])
    code, _, body = get(app, "/api/tokens?at=4")  # too small: dropped
    assert (code, b"not in the export" in body) == (400, True)
    assert asked(app, "sample?at=4")["training"] is None
