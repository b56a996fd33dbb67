"""Thresholds move only where all of them together decide more as the labels do."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.report.tune_ascent import Ascent
from curation.report.tune_curve import Measured, splits

NUMBERS = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]), st.floats(0, 3, width=16))


def ascent(columns, keeps, thresholds, *, kinds=None, free=None) -> Ascent:
    """Of measures given by column; all `at_least` unless `kinds` says otherwise."""
    kinds = kinds or ["at_least"] * len(columns)
    none = np.zeros(len(keeps), bool)
    return Ascent(
        measures=[
            Measured(values=np.array(column, float), kind=kind, unmeasured=none)
            for column, kind in zip(columns, kinds, strict=True)
        ],
        keeps=np.array(keeps, bool),
        free=~none if free is None else np.array(free, bool),
        thresholds=tuple(thresholds),
    )


def kept(of: Ascent, thresholds) -> np.ndarray:
    """What is kept, counted anew."""
    pairs = zip(of.measures, thresholds, strict=True)
    return np.all([held.passes(limit) for held, limit in pairs], axis=0) & of.free


def f1(of: Ascent, thresholds) -> float:
    here = kept(of, thresholds)
    good, wrong = (here & of.keeps).sum(), (here & ~of.keeps).sum()
    return 2 * good / (good + wrong + of.keeps.sum())


@st.composite
def labelled(draw) -> Ascent:
    size = draw(st.integers(1, 14))
    width = draw(st.integers(1, 4))
    columns = [draw(st.lists(NUMBERS, min_size=size, max_size=size)) for _ in range(width)]
    keeps = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    free = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=size, max_size=size))
    kinds = [draw(st.sampled_from(["at_least", "at_most"])) for _ in range(width)]
    thresholds = [draw(st.floats(0, 3)) for _ in range(width)]
    keeps[0] = True
    return ascent(columns, keeps, thresholds, kinds=kinds, free=free)


@given(labelled())
def test_the_whole_never_gets_worse_and_what_moved_is_needed(made):
    before = made.thresholds
    start = f1(made, before)
    found = made.run()
    assert f1(made, found) == made.f1 >= start
    if found != before:
        assert made.f1 > start
    for n, threshold in enumerate(found):
        put_back = (*found[:n], before[n], *found[n + 1 :])
        assert made.resting(n) == (kept(made, found) != kept(made, put_back)).sum()
        if threshold != before[n]:
            assert f1(made, put_back) < made.f1


@given(labelled())
@example(  # only the value of a sample that is lost anyway splits off those without one
    ascent(
        [[math.nan, 0, 0, 1]], [True, False, False, False], [0.0], free=[True, True, True, False]
    )
)
def test_at_the_end_no_threshold_alone_does_better(made):
    found = made.run()
    for n, held in enumerate(made.measures):
        limits, _, _ = splits(held, made.keeps, np.ones(len(made.keeps), bool))
        for limit in limits:
            assert f1(made, (*found[:n], limit, *found[n + 1 :])) <= made.f1


@given(labelled())
def test_labels_that_are_what_the_recipe_decides_move_nothing(made):
    before = made.thresholds
    decided = kept(made, before)
    if decided.any():
        made = Ascent(
            measures=made.measures, keeps=decided, free=made.free, thresholds=made.thresholds
        )
        assert made.f1 == 1
        assert made.run() == before


@given(labelled())
@example(ascent([[0, 1]], [True, False], [2.0]))
def test_the_same_labels_give_the_same_thresholds(made):
    again = Ascent(
        measures=made.measures, keeps=made.keeps, free=made.free, thresholds=made.thresholds
    )
    assert made.run() == again.run()


SMALL, DARK = [100, 300, 300, 300], [5, 50, 50, 1]


def test_two_thresholds_that_keep_one_sample_out_move_together():
    """Sample 0 is labelled keep and fails both; neither move alone lets it in."""
    made = ascent([SMALL, DARK], [True, True, True, False], [200, 10])
    assert f1(made, (100, 10)) == f1(made, (200, 5)) == made.f1
    assert made.run() == (100, 5)
    assert made.f1 == 1
    assert [made.resting(n) for n in (0, 1)] == [1, 1]


def test_a_drop_that_another_rule_catches_moves_nothing():
    """Alone, size would gain by 250, which costs a keep: sample 2 is dropped for its light."""
    size, light = [300, 220, 210, 230], [50, 50, 1, 1]
    made = ascent([size, light], [True, True, False, False], [200, 10])
    assert made.run() == (200, 10)


def test_what_another_stage_took_is_no_reason_to_move():
    made = ascent([[300, 100, 90]], [True, False, False], [50], free=[True, False, False])
    assert made.run() == (50,)
    made = ascent([[300, 100, 90]], [True, False, False], [50])
    assert made.run() == (300,)


def test_of_two_thresholds_that_would_do_one_moves():
    made = ascent([[9, 9, 1], [9, 9, 1]], [True, True, False], [0, 0])
    assert made.run() == (9, 0)


@pytest.mark.parametrize(("low", "high"), list(product([True, False], repeat=2)))
def test_a_sample_without_a_number_passes_and_is_no_way_in(low, high):
    """It fails another rule for good: nothing is loosened for it."""
    nan = math.nan
    values = [[nan if low else 1, 9], [nan if high else 1, 9]]
    made = ascent(values, [True, True], [5, 5], free=[False, True])
    assert made.run() == (5, 5)
