"""Axes: codes keep the order of values, thresholds are edges, long tails stay outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.axis import Limit, Summary, bin_edges, code_of, value_of
from curation.report.columns import Column

REALS = st.floats(-(2.0**100), 2.0**100, width=32)


def column(*, integer: bool = False) -> Column:
    return Column(name="measure", operator="op", folder="layers/op", words=False, integer=integer)


def limit(threshold: float, kind: str = "at_least") -> Limit:
    return Limit(
        stage="heuristics",
        reason="rule",
        column="measure",
        kind=kind,
        threshold=threshold,
        source="",
        drops_missing=False,
        dropped=0,
    )


def summary(values: np.ndarray, *, integer: bool = False) -> Summary:
    made = Summary(column=column(integer=integer))
    made.add(values.astype(np.float64), len(values))
    return made


@given(st.lists(REALS, min_size=2))
def test_codes_are_in_the_order_of_the_values(values):
    ordered = np.sort(np.array(values, np.float64) + 0.0)  # no -0.0, which equals 0.0
    assert (np.diff(code_of(ordered)) >= 0).all()


@given(REALS.filter(lambda x: abs(x) > 1e-30))
def test_a_code_stands_for_its_value_within_a_percent(value):
    (code,) = code_of(np.array([value], np.float64))
    assert value_of(int(code)) == pytest.approx(value, rel=0.01)


def test_zero_and_infinity_have_codes_of_their_own():
    (zero, minus, huge) = code_of(np.array([0.0, -0.0, 1e300]))
    assert value_of(int(zero)) == value_of(int(minus)) == 0.0
    assert value_of(int(huge)) == np.inf


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_a_value_of_that_rank_within_a_percent(values, share):
    ordered = sorted(values)
    rank = min(int(share * len(values)), len(values) - 1)
    neighbours = ordered[max(0, rank - 1) : rank + 2]
    found = summary(np.array(values)).quantile(share)
    assert any(found == pytest.approx(value, rel=0.01, abs=1e-30) for value in neighbours)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=100),
    st.lists(st.floats(-1e6, 1e6, width=32), max_size=3),
    st.booleans(),
)
def test_edges_ascend_and_are_few(values, thresholds, integer):
    array = np.round(values) if integer else np.array(values)
    edges, log = bin_edges(summary(array, integer=integer), [limit(t) for t in thresholds])
    assert (np.diff(edges) > 0).all()
    assert 2 <= len(edges) <= 400
    assert not log or edges[0] > 0


@pytest.mark.parametrize(("kind", "boundary"), [("at_least", 199.5), ("at_most", 200.5)])
def test_a_threshold_on_whole_numbers_lies_between_them(kind, boundary):
    array = np.arange(100, 400)
    edges, _ = bin_edges(summary(array, integer=True), [limit(200, kind)])
    assert limit(200, kind).boundary(integer=True) == boundary
    assert boundary in edges


def test_the_first_threshold_within_reach_is_an_edge():
    array = np.linspace(0, 1, 500)
    edges, _ = bin_edges(summary(array), [limit(0.37, "at_most"), limit(0.9, "at_most")])
    assert any(edge == pytest.approx(0.37, abs=1e-12) for edge in edges)
    assert edges[0] <= 0
    assert edges[-1] >= 1


def test_a_threshold_far_off_does_not_squeeze_the_values():
    array = np.linspace(0, 100, 500)
    edges, _ = bin_edges(summary(array), [limit(1e9, "at_most")])
    assert edges[-1] < 200


def test_a_long_tail_is_counted_outside_the_axis():
    array = np.concatenate([np.linspace(0, 1000, 999), [1e9]])
    edges, _ = bin_edges(summary(array), [])
    assert edges[-1] < 1e6


def test_values_over_many_powers_of_ten_get_a_logarithmic_axis():
    array = np.geomspace(1, 1e6, 1000)
    edges, log = bin_edges(summary(array), [limit(100)])
    assert log
    assert any(edge == pytest.approx(100, rel=1e-12) for edge in edges)
    assert not bin_edges(summary(np.linspace(1, 100, 1000)), [])[1]


def test_one_value_alone_has_an_axis():
    for value in (0.0, 5.0, -3.25):
        edges, _ = bin_edges(summary(np.full(10, value)), [])
        assert edges[0] <= value <= edges[-1]
        assert edges[0] < edges[-1]


def test_an_axis_of_zeros_with_a_threshold_has_no_negative_half():
    edges, _ = bin_edges(summary(np.zeros(10)), [limit(0.25, "at_most")])
    assert -0.01 < edges[0] <= 0
    assert 0.25 < edges[-1] < 0.4


def test_breaking_a_limit_is_what_select_calls_failing():
    values = np.array([1.0, 2.0, 3.0])
    assert limit(2, "at_least").count(values) == 1
    assert limit(2, "at_most").count(values) == 1
