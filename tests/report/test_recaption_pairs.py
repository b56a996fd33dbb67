"""One pair as it is shown: marks, verdicts, what a model said of each sentence."""

from typing import Any

import pyarrow as pa
import pytest

from curation.report.pictures import Picture
from curation.report.recaption_columns import Part
from curation.report.recaption_counts import Counts
from curation.report.recaption_draw import PLAIN, TALKING
from curation.report.recaption_pairs import Pair, pair_of
from curation.report.recaption_taken import Taking
from curation.report.recaption_text import LONGEST, Sentence
from curation.report.recaption_wording import drawn_text, keys_text, outcome, why
from schemas import NEW, ORIGINAL, REPAIRED

NEW_CAPTION = "A red boat in Oslo. Sure, here it is. It has two masts."
ENDS = (19, 37, 55)


def row(**columns: Any) -> dict[str, Any]:
    """A row as it is drawn: captions with the lengths that they had."""
    made = {"uid": "0" * 32, "text": "boat, Oslo 1987", "recaption": NEW_CAPTION, **columns}
    return made | {f"{name}_length": len(made[name]) for name in ("text", "recaption")}


def spans(**of_each: list[Any]) -> list[dict[str, Any]]:
    """The three sentences, each with its own values."""
    starts = (0, ENDS[0] + 1, ENDS[1] + 1)
    return [
        {"start": start, "end": end, **{name: values[nth] for name, values in of_each.items()}}
        for nth, (start, end) in enumerate(zip(starts, ENDS, strict=True))
    ]


def shown(kind: str, **columns: Any) -> Pair:
    return pair_of((kind, columns.get("reason") or ""), row(**columns), Picture(), "")


def said(sentence: Sentence) -> str:
    return "".join(piece.text for piece in sentence.pieces)


FACTS: dict[str, Any] = {
    "recaption_sentences": spans(
        residue=[None, "talk", None], repeats=[False, False, True], unsupported=[0, 0, 0]
    ),
    "facts": [{"start": 14, "end": 18, "kind": "name", "supported": True}],
    "facts_original": [
        {"kind": "name", "claim": "Oslo", "kept": True},
        {"kind": "date", "claim": "1987", "kept": False},
        {"kind": "name", "claim": "B & O", "kept": False},
    ],
}


def test_a_new_caption_alone_is_shown_as_one_sentence():
    pair = shown(PLAIN)
    assert [said(sentence) for sentence in pair.new] == [NEW_CAPTION]
    assert pair.figures == ["15 → 55 characters"]
    assert pair.goes_on == ""


def test_sentences_say_what_was_found_in_them():
    pair = shown(TALKING, **FACTS)
    assert [said(sentence) for sentence in pair.new] == [
        "A red boat in Oslo.", "Sure, here it is.", "It has two masts.",
    ]  # fmt: skip
    assert [sentence.flags for sentence in pair.new] == [
        [], ["talk, not caption"], ["says again what was said"],
    ]  # fmt: skip
    assert pair.figures[:2] == ["1 of 3 facts kept", "1 of 1 claims supported"]


def test_facts_that_cannot_be_pointed_at_are_listed():
    pair = shown(PLAIN, **FACTS)
    assert [(p.text, p.kind) for p in pair.original if p.kind] == [
        ("Oslo", "held"), ("1987", "lost"),
    ]  # fmt: skip
    assert [(p.text, p.kind, p.what) for p in pair.unplaced] == [("B & O", "lost", "name")]


def test_what_models_said_of_a_sentence_stands_behind_it():
    asked = spans(p_yes=[0.9, 0.2, None], p_no=[0.05, 0.7, None])
    scores = spans(score=[0.3125, None, 0.25])
    pair = shown(PLAIN, **FACTS, claims_checked=asked[:2], recaption_clip=scores)
    assert [sentence.scores for sentence in pair.new] == [
        ["P(yes) 0.90, P(no) 0.05", "CLIP 0.3125"], ["P(yes) 0.20, P(no) 0.70"], ["CLIP 0.25"],
    ]  # fmt: skip


def test_a_repaired_caption_says_what_was_left_out_and_why():
    fault = {"start": 20, "end": 37, "sentence": 1, "reason": "contradicted", "value": 0.7,
             "threshold": 0.5}  # fmt: skip
    pair = shown(REPAIRED, reason="contradicted", **FACTS, failed=[fault], repaired="...")
    assert (pair.goes_on, pair.why) == ("new", "1 of 3 sentences dropped")
    assert [sentence.dropped for sentence in pair.new] == [
        "", "not true of the picture: P(no) 0.70, from 0.5", "",
    ]  # fmt: skip
    assert pair.new[1].flags == []


def test_a_fallback_says_what_was_measured_against_what_was_asked():
    chosen = {"reason": "retention", "value": 1 / 3, "threshold": 0.5, "failed": []}
    pair = shown(ORIGINAL, **FACTS, **chosen)
    assert pair.goes_on == "original"
    assert pair.why == "loses too many of the original's facts: retention 0.33 < 0.5"


@pytest.mark.parametrize(
    ("reason", "value", "threshold", "detail", "words"),
    [
        ("too_long", 5000.0, 4000.0, None, "too long: 5,000 characters, at most 4,000"),
        ("talk", 1.0, 0.0, None, "talk, no caption"),
        ("language", 0.93, 0.8, "fr", "another language (fr): probability 0.93, from 0.8"),
        ("precision", 0.4999, 0.5, None,
         "states too much that the original does not: precision 0.4999 < 0.5"),
        ("error", None, None, "cut_answer",
         "the new caption could not be made (the model's answer reached its bound on tokens "
         "before its end)"),
        ("<b>new</b>", 2.0, 1.0, None, "<b>new</b>: 2 against 1"),
        ("unverifiable", None, 0.3, None, "cannot be seen in the picture"),
    ],
)  # fmt: skip
def test_reasons_are_told_in_words(reason, value, threshold, detail, words):
    row = {"reason": reason, "value": value, "threshold": threshold, "detail": detail}
    assert why(row) == words


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((3, 3, 2, 1), "All are shown."),
        ((3, 40, 0, 1), "3 of 40 shown, drawn by a hash of their place."),
        ((3, 40, 40, 1), "3 of 40 shown, drawn by a hash of their place."),
        ((3, 40, 0, 2), "3 of 40 shown, drawn by a hash of their place, each reason as often as "
         "the others."),
        ((7, 4000, 1000, 1), "7 of 4,000 shown, drawn by a hash of their place; 4 of 5 are drawn "
         "from the 1,000 that have a fact or a claim to mark, though only 25.0% have one."),
        ((7, 4000, 2, 1), "7 of 4,000 shown, drawn by a hash of their place; those that have a "
         "fact or a claim to mark (2) come first."),
    ],
)  # fmt: skip
def test_a_list_of_pairs_says_how_it_was_drawn(numbers, words):
    shown, total, marked, reasons = numbers
    assert drawn_text(shown, total, marked, reasons) == words


def test_small_print_is_explained_as_far_as_there_is_any():
    judged = Taking(share=0.0, seed=0, stopped=0)
    whole = Taking(share=1.0, seed=0, stopped=0)
    assert keys_text(outcome(None, 0, 5), []) == ""
    assert keys_text(outcome(whole, 5, 5), []) == "Goes on: is exported."
    scores = ["P(yes) 0.90, P(no) 0.05", "CLIP 0.31"]
    assert keys_text(outcome(judged, 0, 5), scores) == (
        "Goes on: is exported; would go on: is taken where the export draws new captions. "
        "P(yes), P(no): what a model gives for the sentence being true of the picture. "
        "CLIP: cosine of sentence and picture, higher where they agree."
    )


def test_long_captions_are_cut_and_say_so():
    long = "word " * 500
    pair = shown(NEW, text=long, recaption=long)
    assert "".join(p.text for p in pair.original) == long[:LONGEST]
    assert said(pair.new[0]) == long[:LONGEST]
    assert (pair.original_more, pair.new_more) == (2500, 2500)


def test_sentences_that_a_model_was_asked_about_are_counted():
    asked = [[{"p_yes": 0.9, "p_no": 0.1}, {"p_yes": 0.2, "p_no": 0.7}], None, []]
    claim = pa.list_(pa.struct([("p_yes", pa.float32()), ("p_no", pa.float32())]))
    rows = pa.table(
        {
            "shard": pa.array([0] * 3, pa.int32()),
            "row": pa.array(range(3), pa.int32()),
            "text": ["a boat"] * 3,
            "recaption": [NEW_CAPTION] * 3,
            "recaption_prompt": ["p@1:0"] * 3,
            "recaption_skipped": pa.nulls(3, pa.bool_()),
            "recaption_error": pa.nulls(3, pa.string()),
            "claims_checked": pa.array(asked, claim),
        }
    )
    counts = Counts(share=1.0)
    counts.add(Part(rows, 2))
    assert (counts.captioned, counts.others, counts.asked, counts.yes) == (3, 2, 2, 1)
    assert [d.name for d in counts.distributions] == ["characters", "words", "content words"]
