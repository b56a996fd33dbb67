"""clip_select against LAION's and DataComp's rules, written as they are published."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.errors import UsageError
from curation.relational.clip_select import ClipSelect
from tests.relational.sessions import EMBEDDED, OPENED, SESSIONS, dropped, survivors

HALVES = [float(np.float32(n / 7)) for n in range(-8, 9)] + [0.0, 1e-9, 1.5e-9, -1e-9, 1e-30]


def placed(scores):
    return [
        {"shard": n // 1000, "row": n % 1000, "uid": f"{n:032x}", "clip_skipped": False,
         "clip_score": None if score is None else float(np.float32(score))}
        for n, score in enumerate(scores)
    ]  # fmt: skip


def scored(rows):
    """Scores and rows of those that have one."""
    rows = [r for r in rows if r["clip_score"] is not None and not np.isnan(r["clip_score"])]
    return np.array([r["clip_score"] for r in rows]), rows


def laion(rows, threshold):
    """LAION-400M: "drop all samples with a similarity below" the threshold."""
    return [
        dropped(row, "clip_score", value=row["clip_score"], threshold=threshold)
        for row in scored(rows)[1]
        if row["clip_score"] < threshold
    ]


def datacomp_threshold(scores, fraction):
    """DataComp's get_threshold: n = int(len * fraction), the score there of all, sorted down."""
    n = int(len(scores) * fraction)
    return float(-np.sort(-scores)[min(n, len(scores) - 1)])


def datacomp(rows, fraction):
    scores, rows = scored(rows)
    if not rows:
        return []
    threshold = datacomp_threshold(scores, fraction)
    keep = scores >= threshold
    return [
        dropped(row, "not_in_top_fraction", value=row["clip_score"], threshold=threshold)
        for row, stays in zip(rows, keep, strict=True)
        if not stays
    ]


def corpus(seed, count=5000):
    """Scores as a CLIP gives them, a fifth of them tied."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.25, 0.08, count).clip(-1, 1)
    tied = rng.random(count) < 0.2
    scores[tied] = np.round(scores[tied], 2)
    return placed(scores.tolist())


@pytest.mark.parametrize("threshold", [0.3, 0.28, -1.0, 1.0])
def test_an_absolute_threshold_is_laions(decide, threshold):
    rows = corpus(1)
    said = decide(ClipSelect(name="c", threshold=threshold), rows)
    assert said == laion(rows, threshold)
    assert (len(said) > 1000) == (threshold > 0)


def test_a_score_at_the_threshold_stays(decide):
    rows = placed([0.25, np.nextafter(np.float32(0.25), np.float32(0)), 0.2500001])
    said = decide(ClipSelect(name="c", threshold=0.25), rows)
    assert said == [dropped(rows[1], "clip_score", value=rows[1]["clip_score"], threshold=0.25)]


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.0001, 0.9999, 1.0])
def test_a_top_fraction_is_datacomps(decide, fraction):
    rows = corpus(2)
    said = decide(ClipSelect(name="c", top_fraction=fraction), rows)
    assert said == datacomp(rows, fraction)
    assert 5000 - len(said) >= 5000 * fraction


def test_ties_at_the_last_score_of_the_fraction_stay(decide):
    rows = placed([0.1] * 50 + [0.2] * 30 + [0.3] * 20)
    for fraction, stay in ((0.1, 20), (0.19, 20), (0.2, 50), (0.3, 50), (0.49, 50), (0.5, 100)):
        said = decide(ClipSelect(name="c", top_fraction=fraction), rows)
        assert said == datacomp(rows, fraction)
        assert len(rows) - len(said) == stay


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(HALVES) | st.floats(-2.5, 2.5, width=32), min_size=1, max_size=60),
    st.floats(0.001, 1),
    st.randoms(),
)
def test_small_corpora_of_any_scores(decide, scores, fraction, shuffle):
    rows = placed(scores)
    step = ClipSelect(name="c", top_fraction=fraction)
    assert decide(step, shuffle.sample(rows, len(rows))) == datacomp(rows, fraction)


def test_scores_in_one_bucket_are_told_apart(decide):
    """Neighbours in float32, and numbers so small that any fixed grid has them all at zero."""
    near = np.float32(0.3).view(np.int32) + np.arange(200, dtype=np.int32)
    tiny = np.float32(1e-38) * np.arange(1, 200, dtype=np.float32)
    for scores in (near.view(np.float32), tiny, -tiny):
        rows = placed(scores.tolist())
        random.Random(3).shuffle(rows)
        said = decide(ClipSelect(name="c", top_fraction=0.37), rows)
        expected = datacomp(rows, 0.37)
        assert said == sorted(expected, key=lambda v: (v["shard"], v["row"]))
        assert len(rows) - len(said) == int(len(rows) * 0.37) + 1


def test_with_both_rules_a_sample_must_pass_both(decide):
    rows = corpus(3)
    for threshold, fraction in ((0.3, 0.5), (0.1, 0.3)):
        said = decide(ClipSelect(name="c", threshold=threshold, top_fraction=fraction), rows)
        absolute = {(v["shard"], v["row"]): v for v in laion(rows, threshold)}
        relative = {(v["shard"], v["row"]): v for v in datacomp(rows, fraction)}
        expected = {**relative, **absolute}  # the first rule that fails is the reason
        assert said == [expected[place] for place in sorted(expected)]
        assert (len(relative) > len(absolute)) == (threshold == 0.1)


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_samples_without_a_score(decide, missing):
    """They are no part of the fraction, and NaN is no score."""
    rows = placed([0.1, None, 0.2, float("nan"), 0.3, 0.4])
    for options in ({"threshold": 0.15}, {"top_fraction": 0.5}):
        said = decide(ClipSelect(name="c", missing=missing, **options), rows)
        rule = laion(rows, 0.15) if "threshold" in options else datacomp(rows, 0.5)
        gone = [dropped(rows[n], "no_clip_score") for n in (1, 3)] if missing == "drop" else []
        assert said == sorted([*rule, *gone], key=lambda v: v["row"])
        assert len(rule) == 1


@pytest.mark.parametrize("rows", [[], placed([None, float("nan")])])
def test_a_corpus_without_scores(decide, rows):
    step = ClipSelect(name="c", threshold=0.3, top_fraction=0.3, missing="keep")
    assert decide(step, rows) == []


def test_samples_below_the_floor_are_refused(decide):
    rows = placed([0.1, None, 0.3])
    rows[1]["clip_skipped"] = True
    with pytest.raises(UsageError, match=r"chosen: 1 samples .* loosen clip.floor .* heuristics"):
        decide(ClipSelect(name="chosen", threshold=0.2), rows)


def test_a_stage_without_a_rule_says_what_to_set(decide):
    with pytest.raises(UsageError, match=r"set c\.threshold or c\.top_fraction"):
        decide(ClipSelect(name="c"), placed([0.1]))


@EMBEDDED
def test_does_not_depend_on_row_order_or_threads(decide):
    rows = corpus(4)
    step = ClipSelect(name="c", threshold=0.2, top_fraction=0.4)
    said = [
        decide(step, random.Random(seed).sample(rows, len(rows)), threads=threads)
        for seed, threads in ((0, 1), (1, 2), (2, 4))
    ]
    assert said[0] == said[1] == said[2] != []


@pytest.mark.parametrize("opened", OPENED)
def test_keeps_its_cutoffs_and_a_histogram(opened):
    rows = placed([-0.25, -0.001, 0.0, 0.3, 0.3, 0.3, 0.5, None])
    step = ClipSelect(name="c", threshold=0.25, top_fraction=0.3, missing="keep")
    with SESSIONS[opened](survivors(step, rows)) as session:
        step.decide(session)
        tables = {name: session.rows(query).to_pylist() for name, query in step.tables().items()}
        notes = step.notes(session)
    third = float(np.float32(0.3))
    assert tables == {
        "cutoffs": [
            {"rule": "clip_score", "threshold": 0.25, "scored": 7, "below": 3, "tied": 0},
            {"rule": "not_in_top_fraction", "threshold": third, "scored": 7, "below": 3, "tied": 3},
        ],
        "histogram": [
            {"lower": -32 / 128, "samples": 1},
            {"lower": -1 / 128, "samples": 1},
            {"lower": 0.0, "samples": 1},
            {"lower": 38 / 128, "samples": 3},
            {"lower": 64 / 128, "samples": 1},
        ],
    }
    assert notes == {
        "without a CLIP score": 1,
        "kept at the lowest score of the top fraction": 3,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.5}, "threshold must be -1 to 1"),
        ({"threshold": float("nan")}, "threshold must be -1 to 1"),
        ({"top_fraction": 0.0}, "top_fraction must be above 0"),
        ({"top_fraction": 1.1}, "top_fraction must be above 0"),
        ({"threshold": 0.3, "missing": "maybe"}, "missing must be keep or drop"),
    ],
)
def test_what_has_no_meaning_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ClipSelect(name="c", **options)
