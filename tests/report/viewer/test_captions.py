"""An original and a new caption side by side."""

import pyarrow as pa
import pytest

from curation.operators.text.caption_facts import CaptionFacts
from curation.report.viewer.captions import compared
from schemas.choice import ORIGINAL, REPAIRED

OLD = "Anna Keller paints 14 boats in Lisbon 🛶"
NEW = "A woman, Anna Keller, paints boats 🛶🛶 in Porto. Here is the caption."


def measured(old: str, new: str) -> dict:
    batch = pa.RecordBatch.from_pydict({"text": [old], "recaption": [new]})
    return CaptionFacts().open()(batch).to_pylist()[0]


def text(runs) -> str:
    return "".join(run["text"] for run in runs)


def marked(runs, supported: bool) -> list[str]:
    """Facts of one kind, each whole."""
    found: list[str] = []
    before = None
    for run in runs:
        if run["fact"] is not None and run["fact"]["supported"] is supported:
            if run["fact"] is before:
                found[-1] += run["text"]
            else:
                found.append(run["text"])
        before = run["fact"]
    return found


def test_both_captions_are_whole_and_what_they_share_is_in_the_same_order():
    said = compared(OLD, measured(OLD, NEW))
    assert text(said["old"]) == OLD
    assert text(said["new"]) == NEW
    for side in ("old", "new"):
        shared = " ".join(run["text"] for run in said[side] if run["both"])
        assert shared.split() == ["Anna", "Keller", "paints", "boats", "🛶"]


def test_facts_are_marked_where_they_stand_by_characters_not_bytes():
    said = compared(OLD, measured(OLD, NEW))
    assert marked(said["new"], True) == ["Anna Keller"]
    assert marked(said["new"], False) == ["Porto"]
    assert marked(said["old"], True) == ["Anna Keller"]
    assert marked(said["old"], False) == ["14", "Lisbon"]


def test_each_sentence_carries_all_that_was_said_of_it():
    facts = measured(OLD, NEW)
    (first, second) = facts["recaption_sentences"]
    places = [{"start": one["start"], "end": one["end"]} for one in (first, second)]
    facts["claims_checked"] = [{**places[0], "p_yes": 0.75, "p_no": 0.25}]
    facts["recaption_clip"] = [{**places[0], "score": 0.31, "planted": None}]
    failed = {"sentence": 1, **places[1], "reason": "talk", "value": 1.0, "threshold": 0.0}
    choice = {"choice": REPAIRED, "reason": "talk", "value": 1.0, "threshold": 0.0,
              "detail": None, "failed": [failed], "repaired": "A woman."}  # fmt: skip
    said = compared(OLD, facts, choice)
    one, two = said["sentences"]
    assert (one["yes"], one["no"], one["clip"], one["flags"]) == (0.75, 0.25, 0.31, [])
    assert two["text"] == "Here is the caption."
    assert two["flags"] == ["talk"]
    assert two["failed"] == {"reason": "talk", "value": 1.0, "threshold": 0.0}
    assert said["choice"]["repaired"] == "A woman."


def test_a_choice_of_the_original_has_no_repaired_text():
    choice = {"choice": ORIGINAL, "reason": "error", "value": None, "threshold": None,
              "detail": "refused_by_server", "failed": None, "repaired": None}  # fmt: skip
    said = compared(OLD, {"recaption": NEW}, choice)
    assert said["choice"]["repaired"] == ""
    assert said["sentences"] == []
    assert all(run["fact"] is None for run in said["new"])


@pytest.mark.parametrize("new", [None, ""])
def test_without_a_new_caption_there_is_nothing_to_compare(new):
    assert compared(OLD, {"recaption": new}) is None
    assert compared(OLD, {}) is None


def test_places_outside_a_caption_mark_nothing():
    facts = [{"start": -3, "end": 2, "kind": "name", "supported": True},
             {"start": 5, "end": 99_999, "kind": "name", "supported": False}]  # fmt: skip
    said = compared("", {"recaption": NEW, "facts": facts, "facts_original": None})
    assert [run["fact"] for run in said["new"]] == [None]
    assert said["old"] == []


def test_captions_of_a_megabyte_take_no_longer_than_long_ones():
    said = compared("a b " * 250_000, {"recaption": "b a " * 250_000})
    assert len(text(said["old"])) == len(text(said["new"])) == 4_000
    assert said["cut"] == 996_000
