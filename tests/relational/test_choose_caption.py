"""Which caption goes on: each check by itself, their order, repairs, and what is recorded."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from curation.relational.choose_caption import CHECKS, ChooseCaption
from schemas import CHOICE

STEP = ChooseCaption(name="choose_caption", checks=tuple(CHECKS), clip=0.2, clip_auc=0.9)
CAPTION = "Ann Lee rides a horse. Two dogs run. It is 1999."
SPANS = [(0, 22), (23, 36), (37, 48)]
GOOD: dict[str, Any] = {
    "shard": 3,
    "row": 0,
    "uid": "ab" * 16,
    "recaption": CAPTION,
    "recaption_skipped": False,
    "recaption_error": None,
    "facts_original": [
        {"kept": True, "sentences": [0]},
        {"kept": True, "sentences": [2]},
    ],
    "facts_precision": 1.0,
    "facts_retention": 1.0,
    "recaption_repetition": 0.0,
    "recaption_truncated": False,
    "recaption_language": "en",
    "recaption_language_score": 0.99,
    "recaption_language_told": True,
    "recaption_language_differs": False,
    "original_language_score": 0.95,
    "recaption_length_ratio": 2.0,
    "recaption_content": 0.75,
    "recaption_prompt_share": 0.0,
    "caption_facts_error": None,
    "claim_check_error": None,
    "caption_clip_error": None,
}


def sentence(number: int, **said: Any) -> dict[str, Any]:
    start, end = SPANS[number]
    plain = {"unsupported": 0, "residue": None, "repeats": False, "content": 0.25}
    return {"start": start, "end": end, **plain, **said}


def row(sentences: dict[int, dict[str, Any]] | None = None, **said: Any) -> dict[str, Any]:
    """A caption of three sentences of which all is well, but for what is said."""
    changed = sentences or {}
    parts = [sentence(n, **changed.get(n, {}).get("facts", {})) for n in range(3)]
    claims = [
        {"start": s, "end": e, "p_yes": 0.9, "p_no": 0.05, **changed.get(n, {}).get("claim", {})}
        for n, (s, e) in enumerate(SPANS)
    ]
    scores = [
        {"start": s, "end": e, "score": 0.3, **changed.get(n, {}).get("clip", {})}
        for n, (s, e) in enumerate(SPANS)
    ]
    columns = {
        "recaption_sentences": parts, "claims_checked": claims, "recaption_clip": scores,
    }  # fmt: skip
    return {**GOOD, **columns, **said}


def chosen(step: ChooseCaption, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    errors = [(f"{name}_error", pa.string()) for name in step.excuses]
    schema = pa.schema([*list(CHOICE)[:3], *step.requires, *errors])
    table = pa.Table.from_pylist([{f.name: r.get(f.name) for f in schema} for r in rows], schema)
    found = step.choose(table)
    assert found.schema.equals(CHOICE)
    return found.to_pylist()


def one(step: ChooseCaption, said: dict[str, Any]) -> dict[str, Any]:
    (found,) = chosen(step, said)
    return found


def test_a_caption_that_passes_everything_goes_on_as_it_was_written():
    assert one(STEP, row()) == {
        **dict.fromkeys(CHOICE.names),
        "shard": 3, "row": 0, "uid": "ab" * 16, "choice": "new", "sentences": 3, "failed": [],
        "verdicts": ["supported"] * 3,
    }  # fmt: skip


WRONG = [sentence(0), sentence(1, unsupported=2), sentence(2, unsupported=1)]
"""Two of three sentences have claims that the original does not support."""

CAPTIONS = [
    ({"recaption": "x" * 4001}, "too_long", 4001, 4000),
    ({"recaption_prompt_share": 0.25}, "copied_prompt", 0.25, 0.2),
    ({"recaption_repetition": 0.75}, "repetition", 0.75, 0.5),
    ({"recaption_length_ratio": 0.0625}, "short", 0.0625, 0.1),
    ({"recaption_length_ratio": 64.0}, "long", 64, 50),
    ({"recaption_content": 0.0625}, "content", 0.0625, 0.1),
    ({"facts_precision": 0.25, "recaption_sentences": WRONG}, "precision", 0.25, 0.5),
    ({"facts_retention": 0.25}, "retention", 0.25, 0.5),
    ({"recaption_language_differs": True, "recaption_language": "de"}, "language", 0.95, 0.8),
]


@pytest.mark.parametrize(("said", "reason", "value", "threshold"), CAPTIONS)
def test_what_the_whole_caption_fails_makes_it_the_original(said, reason, value, threshold):
    found = one(STEP, row(**said))
    assert (found["choice"], found["reason"], found["threshold"]) == ("original", reason, threshold)
    assert found["value"] == pytest.approx(value)
    assert found["repaired"] is None


@pytest.mark.parametrize(
    "said",
    [
        {"recaption_prompt_share": 0.125},
        {"recaption_repetition": 0.5},
        {"recaption_length_ratio": 50.0},
        {"recaption_content": 0.125},
        {"recaption_content": None},
        {"facts_precision": 0.5},
        {"facts_precision": None},
        {"facts_retention": 0.5},
        {"facts_retention": None, "facts_original": []},
        {"recaption_length_ratio": None},
        {"recaption_language_differs": None, "recaption_language_score": None},
        {"recaption_language_differs": True, "recaption_language_score": 0.75},
        {"recaption_language_differs": True, "original_language_score": 0.75},
        {"recaption_clip": None},
    ],
)
def test_what_equals_its_limit_or_was_not_there_to_measure_passes(said):
    assert one(STEP, row(**said))["choice"] == "new"


SENTENCES = [
    ({"facts": {"residue": "talk"}}, "talk", 1, 0),
    ({"facts": {"residue": "task"}}, "task", 1, 0),
    ({"facts": {"repeats": True}}, "repeats", 1, 0),
    ({"facts": {"unsupported": 2}}, "unsupported", 2, 0),
    ({"claim": {"p_no": 0.5}}, "contradicted", 0.5, 0.5),
    ({"claim": {"p_yes": 0.25, "p_no": 0.25}}, "unverifiable", 0.25, 0.3),
    ({"clip": {"score": 0.125}}, "clip", 0.125, 0.2),
]


@pytest.mark.parametrize(("said", "reason", "value", "threshold"), SENTENCES)
def test_a_sentence_that_fails_is_left_out(said, reason, value, threshold):
    found = one(STEP, row({1: said}))
    start, end = SPANS[1]
    assert found["choice"] == "repaired"
    assert found["repaired"] == "Ann Lee rides a horse. It is 1999."
    assert (found["reason"], found["value"], found["threshold"]) == (reason, value, threshold)
    assert found["failed"] == [
        {
            "sentence": 1, "start": start, "end": end, "reason": reason, "value": value,
            "threshold": threshold,
        }
    ]  # fmt: skip


def test_the_last_of_several_sentences_is_left_out_where_it_was_cut():
    found = one(STEP, row(recaption_truncated=True, recaption=CAPTION[:-1]))
    assert (found["choice"], found["reason"]) == ("repaired", "truncated")
    assert [entry["sentence"] for entry in found["failed"]] == [2]


def test_a_phrase_without_a_full_stop_is_whole():
    part = {"start": 0, "end": 9, "unsupported": 0, "residue": None, "repeats": False,
            "content": None}  # fmt: skip
    span = {"start": 0, "end": 9}
    said = row(
        recaption="a red car", recaption_truncated=True, recaption_sentences=[part],
        claims_checked=[{**span, "p_yes": 0.9, "p_no": 0.1}], recaption_clip=[],
    )  # fmt: skip
    assert one(STEP, said)["choice"] == "new"


def test_a_refusal_costs_the_caption_and_not_its_sentence_alone():
    found = one(STEP, row({1: {"facts": {"residue": "refusal"}}}))
    assert (found["choice"], found["reason"], found["value"]) == ("original", "refusal", 1)


def test_where_every_sentence_fails_it_is_the_original_for_the_first_ones_reason():
    every = {0: {"claim": {"p_no": 0.75}}, 1: {"facts": {"unsupported": 1}}}
    found = one(STEP, row({**every, 2: {"facts": {"residue": "talk"}}}))
    assert (found["choice"], found["reason"], found["value"]) == ("original", "contradicted", 0.75)
    assert [entry["reason"] for entry in found["failed"]] == ["contradicted", "unsupported", "talk"]
    assert found["repaired"] is None


def test_a_repair_that_loses_facts_is_none():
    facts = [{"kept": True, "sentences": [1]}, {"kept": True, "sentences": [1, 2]},
             {"kept": False, "sentences": []}]  # fmt: skip
    said = row({1: {"claim": {"p_no": 1.0}}}, facts_original=facts, facts_retention=2 / 3)
    found = one(STEP, said)
    assert (found["choice"], found["reason"]) == ("original", "repair_loses_facts")
    assert (found["value"], found["threshold"]) == (pytest.approx(1 / 3), 0.5)
    assert len(found["failed"]) == 1
    assert one(replace(STEP, retention=0.25), said)["choice"] == "repaired"
    assert one(replace(STEP, retention=None), said)["choice"] == "repaired"


def test_a_repair_of_which_only_other_things_are_left_is_none():
    said = {0: {"facts": {"content": 0.0}}, 1: {"claim": {"p_no": 1.0}}}
    left = one(STEP, row({**said, 2: {"facts": {"content": 0.0625}}}))
    assert (left["choice"], left["reason"]) == ("original", "repair_loses_content")
    assert (left["value"], left["threshold"]) == (0.0625, 0.1)
    assert one(STEP, row({**said, 2: {"facts": {"content": 0.125}}}))["choice"] == "repaired"
    nothing = {n: {"facts": {"content": None}} for n in (0, 2)}
    assert one(STEP, row({**said, **nothing}))["choice"] == "repaired"


def test_a_fact_that_no_single_sentence_holds_counts_as_lost_by_a_repair():
    said = row({1: {"claim": {"p_no": 1.0}}}, facts_original=[{"kept": True, "sentences": []}])
    assert one(STEP, said)["reason"] == "repair_loses_facts"


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        ({"recaption": None}, "no_new_caption", None),
        ({"recaption": None, "recaption_skipped": True}, "no_new_caption", None),
        ({"recaption": None, "recaption_error": "cut_answer"}, "error", "cut_answer"),
        (
            {"claims_checked": None, "claim_check_error": "failed_by_server"},
            "unchecked", "claim_check: failed_by_server",
        ),
        ({"claims_checked": None}, "unchecked", "claim_check: nothing to look at"),
        (
            {"recaption_sentences": None, "caption_facts_error": "crashed"},
            "unchecked", "caption_facts: crashed",
        ),
    ],
)  # fmt: skip
def test_without_a_caption_or_a_check_of_it_it_is_the_original(said, reason, detail):
    found = one(STEP, row(**said))
    assert (found["choice"], found["reason"], found["detail"]) == ("original", reason, detail)
    assert found["value"] is None


def test_a_sentence_that_nobody_was_asked_about_is_unverifiable():
    claims = [{"start": 0, "end": 22, "p_yes": 0.9, "p_no": 0.0}]
    found = one(STEP, row(claims_checked=claims, facts_original=[]))
    assert (found["choice"], found["reason"]) == ("repaired", "unverifiable")
    assert found["repaired"] == "Ann Lee rides a horse."
    assert one(replace(STEP, unverifiable=None), row(claims_checked=claims))["choice"] == "new"


@pytest.mark.parametrize("changed", [{"clip_auc": 0.79}, {"clip_auc": None}, {"clip": None}])
def test_clip_drops_nothing_where_it_cannot_tell_planted_errors(changed):
    said = row({n: {"clip": {"score": -1.0}} for n in range(3)})
    assert one(STEP, said)["choice"] == "original"
    assert one(replace(STEP, **changed), said)["choice"] == "new"


OFF = {
    "copied_prompt": "copied", "short": "min_length", "long": "max_length", "refusal": "refusals",
    "talk": "residue", "task": "residue", "too_long": "max_chars",
}  # fmt: skip


@pytest.mark.parametrize(("said", "reason", "value", "threshold"), CAPTIONS[1:])
def test_every_check_of_a_caption_can_be_switched_off(said, reason, value, threshold):
    step = replace(STEP, **{OFF.get(reason, reason): None, "languages": None})
    left = one(step, row(**said))
    assert left["reason"] != reason and left["choice"] != "original"


@pytest.mark.parametrize(("said", "reason", "value", "threshold"), SENTENCES)
def test_every_check_of_a_sentence_can_be_switched_off(said, reason, value, threshold):
    step = replace(STEP, **{OFF.get(reason, reason): None})
    assert one(step, row({1: said}))["choice"] == "new"


def test_nothing_goes_on_that_the_checks_did_not_see():
    step = replace(STEP, max_chars=None)
    assert one(step, row(recaption="x" * 10_001))["reason"] == "too_long"
    assert one(step, row(recaption="x" * 10_000))["choice"] == "new"


def test_a_step_asks_only_for_what_was_measured():
    step = replace(STEP, checks=("caption_facts",))
    assert {"claims_checked", "recaption_clip"}.isdisjoint(step.requires.names)
    said = {k: v for k, v in row().items() if k not in ("claims_checked", "recaption_clip")}
    assert one(step, said)["choice"] == "new"


def test_rows_do_not_depend_on_each_other():
    rows = [row(row=n, **said) for n, (said, *_) in enumerate(CAPTIONS)]
    together = chosen(STEP, *rows)
    assert [entry["row"] for entry in together] == list(range(len(rows)))
    assert together == [one(STEP, said) for said in rows]


def test_it_drops_no_sample():
    assert STEP.decide(pa.table({})).num_rows == 0


@pytest.mark.parametrize(
    "changed",
    [{"contradicted": 1.5}, {"retention": -0.1}, {"max_chars": -1}, {"clip": 2}, {"copied": 7},
     {"unsupported": float("nan")}, {"languages": ("EN",)}, {"languages": ("english",)}],
)  # fmt: skip
def test_a_threshold_out_of_range_is_refused(changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        replace(STEP, **changed)


def test_what_the_checker_sees_needs_no_text():
    """A chart's printed numbers: one sentence of the three has both claims that no text states."""
    sure = {2: {"facts": {"unsupported": 2}, "claim": {"p_yes": 0.95}}}
    unsure = {2: {"facts": {"unsupported": 2}, "claim": {"p_yes": 0.5}}}
    seeing = replace(STEP, seen=0.9)
    assert one(STEP, row(sure))["choice"] == "repaired"
    assert one(seeing, row(sure))["choice"] == "new"
    assert one(seeing, row(unsure))["choice"] == "repaired"
    assert one(seeing, row(sure, claims_checked=None))["reason"] == "unchecked"
    assert one(replace(seeing, checks=("caption_facts",)), row(sure))["choice"] == "repaired"


def test_one_wrong_sentence_of_several_costs_itself_alone():
    """Nothing else of the caption is a claim, so none of its claims is supported."""
    mixed = {2: {"facts": {"unsupported": 1}}}
    found = one(STEP, row(mixed, facts_precision=0.0, facts_original=[], facts_retention=None))
    assert (found["choice"], found["reason"]) == ("repaired", "unsupported")
    assert found["repaired"] == "Ann Lee rides a horse. Two dogs run."


@pytest.mark.parametrize("unsupported", [None, 5])
def test_a_wrong_sentence_that_would_stay_costs_the_caption(unsupported):
    said = row({2: {"facts": {"unsupported": 5}}}, facts_precision=0.0)
    assert one(replace(STEP, unsupported=unsupported), said)["reason"] == "precision"


def test_a_caption_in_a_language_that_is_not_checked_is_no_checked_one():
    other = {"recaption_language": "zh"}
    found = one(STEP, row(**other))
    assert (found["choice"], found["reason"]) == ("original", "unchecked")
    assert found["detail"] == "language: zh"
    assert one(replace(STEP, languages=("en", "zh")), row(**other))["choice"] == "new"
    assert one(replace(STEP, languages=None), row(**other))["choice"] == "new"
    assert one(replace(STEP, language=None), row(**other))["reason"] == "unchecked"
    for unsure in ({"recaption_language_told": False}, {"recaption_language_score": 0.5}):
        assert one(STEP, row(**other, **unsure))["choice"] == "new"


def test_the_checkers_verdict_on_each_sentence_is_recorded():
    said = {1: {"claim": {"p_no": 0.75}}, 2: {"claim": {"p_yes": 0.1, "p_no": 0.2}}}
    assert one(STEP, row(said))["verdicts"] == ["supported", "contradicted", "unverifiable"]
    assert (
        one(replace(STEP, checks=("caption_facts",)), row(claims_checked=None))["verdicts"] is None
    )


def test_precision_counts_what_is_seen_as_supported():
    """Of five claims four are unsupported; two of these are seen."""
    mixed = {
        0: {"facts": {"unsupported": 1}, "claim": {"p_yes": 0.5}},
        1: {"facts": {"unsupported": 2}, "claim": {"p_yes": 0.95}},
        2: {"facts": {"unsupported": 1}, "claim": {"p_yes": 0.5}},
    }
    said = row(mixed, facts_precision=0.2, facts_original=[], facts_retention=None)
    found = one(replace(STEP, seen=0.9, repaired_words=3), said)
    assert (found["choice"], found["reason"]) == ("repaired", "unsupported")
    assert found["repaired"] == "Two dogs run."
    found = one(replace(STEP, seen=0.9), said)
    assert (found["reason"], found["value"], found["threshold"]) == ("repair_short", 3, 4)
    found = one(replace(STEP, seen=0.9, precision=0.7), said)
    assert (found["choice"], found["reason"]) == ("original", "precision")
    assert found["value"] == pytest.approx(0.6)
    assert one(STEP, said)["value"] == pytest.approx(0.2)


def test_what_refers_to_dropped_sentences_goes_with_them():
    """Each begins with a word for what stood before; the last one with one for what is left."""
    texts = ("Ann Lee rides a horse.", "He is 90 years old.", "A dog runs by here.", "It is red.")
    caption, spans, at = " ".join(texts), [], 0
    for text in texts:
        spans.append((at, at + len(text)))
        at += len(text) + 1
    parts = [{**sentence(0), "start": s, "end": e} for s, e in spans]
    parts[0]["unsupported"] = 1
    said = row(recaption=caption, recaption_sentences=parts, facts_original=[])
    step = replace(STEP, checks=("caption_facts",))
    found = one(step, said)
    assert [(f["sentence"], f["reason"]) for f in found["failed"]] == [
        (0, "unsupported"),
        (1, "refers"),
    ]
    assert found["repaired"] == "A dog runs by here. It is red."
    assert one(replace(step, refers=None), said)["repaired"].startswith("He is 90")


@pytest.mark.parametrize("caption", ["\u200b", "......", "!"])
def test_a_caption_without_a_word_is_none(caption):
    assert one(STEP, row(recaption=caption))["reason"] == "no_new_caption"
