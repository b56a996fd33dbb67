"""Rules, reasons and stages as somebody reads them who has never seen a column."""

import re

import pytest

from curation.core.errors import ERROR_CODES
from curation.report.funnel import _REASONS, stage_recipes
from curation.report.plain_words import noun, reason_title, rule_words, stage_words
from jobs.image_text import recipe

STAGES = stage_recipes(recipe().described())


def rule(column: str, kind: str, threshold: object) -> dict[str, object]:
    return {"column": column, "kind": kind, "threshold": threshold}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (rule("min_side", "at_least", 200), "the shorter side is under 200 pixels"),
        (rule("aspect_ratio", "at_most", 2.5), "one side is more than 2.5 times the other"),
        (rule("url_share", "at_most", 0.25), "more than 25% of the caption is web addresses"),
        (rule("border_share", "at_most", 0.875), "more than 87.5% of the image is plain border"),
        (rule("caption_chars", "at_least", 1), "there is no caption"),
        (rule("caption_chars", "at_least", 6), "the caption has fewer than 6 characters"),
        (rule("email_count", "at_most", 0), "the caption has an e-mail address in it"),
        (rule("email_count", "at_most", 2), "the caption has more than 2 e-mail addresses"),
        (rule("head", "at_least", 0.5), "asked for: head ≥ 0.5"),
        (rule("language", "one_of", ("en", "zh")), "language is not one of en, zh"),
        (rule("domain", "none_of", tuple("abcdefgh")), "domain is one of a, b, c, d, e, f, …"),
        (rule("language", "one_of", ()), ""),
    ],
)
def test_a_rule_says_what_it_takes_away(said, words):
    assert rule_words(said) == words


def test_every_rule_of_the_recipe_reads_without_a_column():
    heuristics = STAGES["heuristics"]["rules"]
    for one in heuristics:
        words = rule_words(one)
        assert "_" not in words
        assert not words.startswith("asked for")
    assert len({rule_words(one) for one in heuristics}) == len(heuristics)


def test_every_reason_stage_and_error_has_a_heading():
    reasons = [one["reason"] for one in STAGES["heuristics"]["rules"]]
    for name in (*reasons, *_REASONS, *ERROR_CODES):
        assert re.fullmatch(r"[A-Z][^_]+", reason_title(name)), name
    for name, stage in STAGES.items():
        assert re.fullmatch(r"[A-Z][^_]+", stage_words(name, stage)), name
    assert stage_words("ingest", {}) == "Reading the source"


def test_what_is_not_known_is_told_by_its_name():
    assert reason_title("image_probe: unsupported_format") == "Unsupported format"
    assert reason_title("my_own_rule") == "My own rule"
    assert reason_title("") == ""
    assert stage_words("mine", {"kind": "Mine"}) == ""


def test_samples_are_called_what_they_are():
    assert [noun("image-text", 1), noun("image-text", 0), noun("video", 2)] == [
        "pair", "pairs", "samples",
    ]  # fmt: skip
