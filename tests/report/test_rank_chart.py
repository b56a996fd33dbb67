"""Rank plots: what is drawn is what was counted, inside the plot, whatever the counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.report.rank_chart import POINTS, RankChart, rank_chart

COUNTS = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=400)


def points(said: str) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in said.split())
    return [(float(x), float(y)) for x, y in pairs]


def drawn(counts: list[tuple[int, int]], level: int | None = None) -> RankChart:
    before, after = np.array(counts, np.int64).T
    return rank_chart(before, np.minimum(before, after), level)


@given(COUNTS, st.none() | st.integers(1, 10**10))
def test_curves_fall_within_the_plot(counts, level):
    chart = drawn(counts, level)
    for said in (chart.before, chart.after):
        curve = points(said)
        assert len(curve) <= POINTS + 2
        assert curve == sorted(curve)
        assert [y for _, y in curve] == sorted(y for _, y in curve)
        assert all(chart.left <= x <= chart.right for x, _ in curve)
        assert all(chart.top <= y <= chart.ground for _, y in curve)
    assert all(chart.top <= y <= chart.ground for y, _ in chart.y_ticks)
    if chart.level is not None and not chart.level.beyond:
        assert chart.top <= chart.level.y <= chart.ground


def test_the_curve_starts_at_the_largest_and_ends_at_the_smallest():
    chart = drawn([(n, n // 10) for n in range(1, 1001)], 500)
    first, *_, last = points(chart.before)
    (x0, y0), (x1, y1) = first, last
    assert (x0, x1) == (chart.left, chart.right)
    heights = {label: y for y, label in chart.y_ticks}
    assert y0 == heights["1,000"]
    assert y1 == heights["1"] == chart.ground
    after = points(chart.after)
    assert after[0][1] == heights["100"]
    assert after[-1][0] < chart.right  # nine entries of which nothing stayed


def test_head_and_tail_part_between_ranks_above_and_not_above_the_level():
    chart = drawn([(100, 10)] * 10 + [(10, 10)] * 90, 50)
    ticks = {label: x for x, label in chart.x_ticks}
    assert chart.cut is not None
    assert ticks["10"] < chart.cut < ticks["20"]
    assert [word for *_, word in chart.parts] == ["head", "tail"]
    assert drawn([(100, 10)] * 5, 100).cut is None
    assert drawn([(100, 10)] * 5, 99).cut is None


def test_a_level_far_above_every_count_is_told_by_an_arrow():
    level = drawn([(3, 3), (1, 1)], 20_000).level
    assert level is not None
    assert (level.beyond, level.label) == (True, "t = 20,000 ↑")
    assert drawn([(3, 3)]).level is None


def test_nothing_stayed_and_one_entry():
    assert drawn([(5, 0), (3, 0)]).after == ""
    chart = drawn([(1, 1)])
    assert points(chart.before) == points(chart.after) == [(chart.left, chart.ground)] * 2
