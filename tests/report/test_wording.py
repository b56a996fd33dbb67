"""Strangers' text made safe to display, numbers that do not lie."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.risks import unmeasured
from curation.report.wording import (
    GLOSSARY,
    apart,
    byte_size,
    compact,
    display_safe,
    duration,
    figures,
    masked,
    number,
    percent,
    rule_text,
    settings_text,
    shown_caption,
    verdict_text,
)
from jobs.image_text import recipe

TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text(max_size=2000), st.integers(1, 300))
def test_text_is_one_short_line_without_control_characters(text, limit):
    line = display_safe(text, limit)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in line)
    assert not set(line) & set(TURNING)
    assert line == " ".join(line.split())
    assert len(line) <= limit + len(f"… ({len(text):,} characters)")


def test_what_is_cut_is_told():
    assert display_safe("abc def", 40) == "abc def"
    assert display_safe("x" * 5000, 10) == "xxxxxxxxxx… (5,000 characters)"
    assert display_safe("a\x00b\u202ec\nd\te") == "abc d e"


def test_stacked_marks_do_not_cover_the_lines_around_them():
    assert display_safe("Z" + "\u0351" * 40 + "algo") == "Z\u0351\u0351algo"
    assert display_safe("Vi\u1ec7t e\u0323\u0302") == "Vi\u1ec7t e\u0323\u0302"


def test_a_caption_tells_the_length_of_the_whole():
    assert shown_caption("x" * 1000, 1_000_000, personal=False).endswith("… (1,000,000 characters)")
    assert shown_caption("a cat", 5, personal=False) == "a cat"


@pytest.mark.parametrize(
    ("text", "hidden", "left"),
    [
        ("write to ann.lee@example.com now", "ann.lee@example.com", "write to •••@••• now"),
        ("call +44 20 7946 0958 today", "7946", "call +•• •• •••• •••• today"),
        ("card 4111-1111-1111-1111", "4111", "card ••••-••••-••••-••••"),
        ("an\u200en@example.org", "example", "•••@•••"),
    ],
)
def test_personal_data_is_unreadable_in_every_caption(text, hidden, left):
    assert shown_caption(text, len(text), personal=False) == left
    assert hidden not in shown_caption(text, len(text), personal=True)


def test_a_date_and_a_count_stay_readable():
    text = "A tower of 1,234 bricks on 2019-04-15"
    assert shown_caption(text, len(text), personal=False) == text


@given(st.text(max_size=300))
def test_masked_text_has_no_digits(text):
    assert not any(c.isdecimal() for c in masked(text))


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 10, "0%"), (10, 10, "100%"), (1, 10**6, "<0.1%"), (10**6 - 1, 10**6, ">99.9%"),
     (1, 8, "12.5%"), (0, 0, "\N{EN DASH}")],
)  # fmt: skip
def test_a_share_never_rounds_something_to_nothing(part, whole, said):
    assert percent(part, whole) == said


def test_numbers_are_short():
    assert [number(x) for x in (0, 200, 1234567, 0.25, 3.14159, 1234.5, 1e99, float("inf"))] == [
        "0", "200", "1,234,567", "0.25", "3.142", "1,234", "1e+99", "inf",
    ]  # fmt: skip
    assert [compact(x) for x in (0.5, 1500, 15000, 2e6, 3e9)] == ["0.5", "1,500", "15k", "2M", "3G"]
    assert [byte_size(x) for x in (1, 1500, 69_938_455)] == ["1 bytes", "1.5 kB", "69.9 MB"]


def test_times_and_estimates_have_two_parts_at_most():
    assert [duration(x) for x in (0, 0.04, 9.96, 59.4, 59.6, 60, 250, 3599.7, 11_520, 1e6)] == [
        "0.0 s", "0.0 s", "10 s", "59 s", "1 min", "1 min", "4 min 10 s", "1 h", "3 h 12 min",
        "277 h 47 min",
    ]  # fmt: skip
    assert [figures(x) for x in (0.00783, 0.5, 9.94, 13.8, 1234.5)] == [
        "0.0078", "0.5", "9.9", "14", "1,234",
    ]  # fmt: skip


@given(st.floats(0, 1e6, width=32), st.floats(0, 1e6, width=32))
def test_two_numbers_that_differ_are_told_apart(value, limit):
    said, asked = apart(value, limit)
    assert (said == asked) == (number(value) == number(limit) and value == limit)


def test_rules_and_settings_read_as_a_sentence():
    rule = {"column": "min_side", "kind": "at_least", "threshold": 200, "reason": "min_side"}
    assert rule_text(rule) == "min_side ≥ 200"
    assert rule_text({**rule, "kind": "none_of", "threshold": ["a", "b"]}) == "min_side not in a, b"
    assert rule_text({**rule, "kind": "one_of", "threshold": []}) == "min_side: off"
    stage = {"kind": "NearDedup", "name": "near", "distance": 3, "keep_best": ["area"]}
    assert settings_text(stage) == "distance 3; keep_best area"


def verdict(**row):
    return {"value": None, "threshold": None, "detail": None, "reason": "r", **row}


def test_a_verdict_holds_what_was_measured_against_what_was_asked():
    rule = {"column": "min_side", "kind": "at_least", "threshold": 200}
    assert verdict_text(verdict(value=93.0, threshold=200.0), rule, "Select") == "min_side 93 < 200"
    words = {"column": "language", "kind": "one_of", "threshold": ["en"]}
    assert verdict_text(verdict(detail="f\u202er"), words, "Select") == "language: fr"
    assert verdict_text(verdict(), rule, "Select") == "min_side: not measured"
    near = verdict_text(verdict(value=2.0, threshold=3.0), None, "NearDedup")
    assert near == "2 of 64 bits differ (limit 3)"
    assert verdict_text(verdict(value=4.0), None, "ExactDedup") == "1 of 4 alike"
    many = verdict_text(verdict(value=37.0, threshold=10.0), None, "CaptionFrequency")
    assert many == "caption on 37 images > 10"


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("ClipSelect", {"reason": "clip_score", "value": 0.213, "threshold": 0.3},
         "CLIP score 0.213 < 0.3"),
        ("ClipSelect", {"reason": "no_clip_score"}, "no CLIP score: the pair could not be scored"),
        ("SemanticDedup", {"reason": "semantic_twin", "value": 0.98, "threshold": 0.95,
                           "detail": "nearest: ab"}, "cosine 0.98 > 0.95"),
        ("Decontaminate", {"reason": "benchmark_phash", "value": 2.0, "threshold": 3.0,
                           "detail": "coco\u202e"}, "coco: 2 of 64 bits differ (limit 3)"),
        ("Decontaminate", {"reason": "benchmark_ngram", "value": 1.0, "threshold": 1.0,
                           "detail": "vqa"}, "vqa: 1 word sequence in common"),
        ("Decontaminate", {"reason": "benchmark_clip", "value": 0.97, "threshold": 0.9,
                           "detail": "vqa"}, "vqa: cosine 0.97 ≥ 0.9"),
        ("Balance", {"reason": "balanced_out", "value": 0.1, "threshold": 0.7,
                     "detail": "en:7"}, "<dog>: drew 0.7 ≥ 0.1"),
        ("Balance", {"reason": "balanced_out", "value": 0.1, "threshold": 0.7,
                     "detail": "cluster:3"}, "cluster:3: drew 0.7 ≥ 0.1"),
        ("Balance", {"reason": "unmatched"}, "matches nothing that is balanced"),
        ("WaterFill", {"reason": "over_allotment", "value": 12.0, "threshold": 8.0,
                       "detail": "cluster=3"}, "place 12 > 8 allotted to cluster=3"),
    ],
)  # fmt: skip
def test_a_verdict_of_selection_reads_as_a_sentence(kind, row, said):
    assert verdict_text(verdict(**row), None, kind, {"en:7": "<dog>"}) == said


def test_what_nobody_measured_is_named():
    said = unmeasured([])
    assert "NSFW and other unsafe content" in said
    assert "NSFW and other unsafe content" not in unmeasured(["nsfw_score"])
    assert len(unmeasured(["nsfw_score", "clip_score"])) == len(said) - 2


def test_every_measure_of_the_recipe_is_explained():
    plain = {
        field.name
        for operator in recipe().with_settings(("recaption.model=some",)).operators
        for field in operator.provides
        if not field.name.endswith("hash")
        and not pa.types.is_nested(field.type)
        and not pa.types.is_fixed_size_binary(field.type)
    }
    assert plain <= set(GLOSSARY)
