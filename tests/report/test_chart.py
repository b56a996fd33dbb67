"""Marks of charts: inside the view box, in proportion, labels apart."""

import dataclasses
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.axis import Limit, Summary, bin_edges
from curation.report.chart import (
    FUNNEL_WIDTH,
    SHOWN,
    WIDTH,
    funnel_rows,
    histogram_chart,
    linear_ticks,
    log_ticks,
    nice_step,
)
from curation.report.columns import Column
from curation.report.funnel import Funnel, funnel
from curation.report.histogram import Histogram, count_values
from schemas.manifest import StageSummary, Totals


def histogram(values: np.ndarray, *limits: Limit, integer: bool = False) -> Histogram:
    """Of `values`, every second of which is kept."""
    column = Column(name="m", operator="op", folder="f", words=False, integer=integer)
    values = values.astype(np.float64)
    summary = Summary(column=column)
    summary.add(values, len(values))
    edges, log = bin_edges(summary, list(limits))
    every, kept = count_values(values, edges), count_values(values[::2], edges)
    return Histogram(
        column=column,
        edges=edges,
        log=log,
        counts=every[1:-1].tolist(),
        below=int(every[0]),
        above=int(every[-1]),
        kept=kept[1:-1].tolist(),
        kept_below=int(kept[0]),
        kept_above=int(kept[-1]),
        measured=len(values),
        missing=0,
        minimum=float(values.min()),
        maximum=float(values.max()),
        limits=list(limits),
    )


def limit(threshold: float, kind: str) -> Limit:
    return Limit(
        stage="s", reason="rule", column="m", kind=kind, threshold=threshold, source="",
        drops_missing=False, dropped=0,
    )  # fmt: skip


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=80), st.floats(-1e6, 1e6))
def test_every_mark_lies_in_the_view_box(values, threshold):
    chart = histogram_chart(histogram(np.array(values), limit(threshold, "at_most")))
    assert chart.bars
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH + 0.5
        assert chart.top - 0.01 <= bar.y <= bar.kept_y <= chart.ground
    for line in chart.lines:
        assert chart.left - 0.01 <= line.x <= WIDTH
        assert line.fail_x + line.fail_width <= WIDTH
    for x, _ in chart.x_ticks:
        assert chart.left <= x <= WIDTH
    for y, _ in chart.y_ticks:
        assert chart.top - 0.01 <= y <= chart.ground


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=80))
def test_bars_add_up_to_all_samples(values):
    chart = histogram_chart(histogram(np.array(values), integer=True))
    said = [re.search(r": ([\d,]+) samples, ([\d,]+) kept$", bar.title) for bar in chart.bars]
    counts = [tuple(int(n.replace(",", "")) for n in found.groups()) for found in said if found]
    assert sum(n for n, _ in counts) == len(values)
    assert sum(k for _, k in counts) == len(values[::2])


def test_the_side_that_fails_is_shaded():
    values = np.linspace(0, 100, 201)
    low = histogram_chart(histogram(values, limit(40, "at_least"))).lines[0]
    high = histogram_chart(histogram(values, limit(40, "at_most"))).lines[0]
    assert low.label == "rule ≥ 40"
    assert high.label == "rule ≤ 40"
    assert low.fail_x + low.fail_width == pytest.approx(low.x)
    assert high.fail_x == pytest.approx(high.x)
    assert low.fail_width + high.fail_width == pytest.approx(WIDTH - 38 - 8, abs=0.02)


def test_a_threshold_off_the_axis_points_there_and_shades_what_fails():
    values = np.linspace(100, 200, 201)
    below = histogram_chart(histogram(values, limit(-1e9, "at_least"))).lines[0]
    above = histogram_chart(histogram(values, limit(1e9, "at_least"))).lines[0]
    assert (below.label, below.fail_width) == ("← rule ≥ -1,000,000,000", 0)
    assert above.label.endswith("→")
    assert above.fail_width == pytest.approx(WIDTH - 38 - 8, abs=0.02)


def test_no_bin_lies_on_both_sides_of_the_threshold():
    chart = histogram_chart(histogram(np.linspace(0, 1, 999), limit(0.37, "at_least")))
    x = chart.lines[0].x
    assert not [bar for bar in chart.bars if bar.x < x - 0.5 and bar.x + bar.width > x + 0.5]


def test_one_tall_bin_does_not_hide_the_others():
    values = np.concatenate([np.zeros(5000), np.arange(1, 40)])
    chart = histogram_chart(histogram(values, integer=True))
    assert chart.log_counts
    assert min(bar.height for bar in chart.bars) > 5


@given(st.floats(1e-6, 1e9), st.integers(1, 12))
def test_steps_are_round_and_few(span, ticks):
    step = nice_step(span, ticks)
    assert span / step <= ticks + 1e-6
    assert f"{step:.6e}"[0] in "125"
    assert len(linear_ticks(0, span, ticks)) <= ticks + 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1, 100, [1, 2, 5, 10, 20, 50, 100]), (1, 10**6, [1, 10, 100, 1000, 10**4, 10**5, 10**6])],
)
def test_logarithmic_ticks_are_powers_of_ten(low, high, ticks):
    assert log_ticks(low, high) == ticks


@given(st.lists(st.floats(2.0**-10, 2.0**30, width=32), min_size=2, max_size=80))
def test_labels_of_ticks_do_not_touch(values):
    chart = histogram_chart(histogram(np.array(values)))
    places = [(x, len(label)) for x, label in chart.x_ticks]
    for (x, letters), (next_x, more) in pairwise(places):
        assert next_x - x >= 6.5 * (letters + more) / 2


def decided(reasons: dict[str, int], errors: dict[str, int], kept: int) -> Funnel:
    dropped, lost = sum(reasons.values()), sum(errors.values())
    ingested = kept + dropped + lost
    stage = StageSummary(
        stage="heuristics", fingerprint="", entered=ingested, kept=kept, dropped=dropped,
        quarantined=lost, reasons=reasons, errors=errors,
    )  # fmt: skip
    totals = Totals(ingested=ingested, kept=kept, dropped=dropped, quarantined=lost)
    return funnel(totals, [stage], {})


@given(
    st.dictionaries(st.text("abc_", min_size=1, max_size=60), st.integers(1, 10**9), max_size=30),
    st.integers(0, 10**9),
)
def test_a_stage_bar_is_what_entered_it(reasons, kept):
    made = decided(reasons, {"ingest: empty_file": 3}, kept)
    ingested, unread, stage, left = funnel_rows(made)
    names = [ingested.name, unread.name, stage.name, left.name]
    assert names == ["ingested", "ingest", "heuristics", "kept"]
    assert ingested.segments[0].width == FUNNEL_WIDTH
    assert [s.kind for s in unread.segments] == ["through", "quarantined"]
    last = unread.segments[-1]
    assert last.x + last.width == pytest.approx(FUNNEL_WIDTH, abs=2.1)
    assert stage.segments[0].width == left.segments[0].width
    assert stage.lost == made.ingested - 3 - kept
    last = stage.segments[-1]
    assert last.x + last.width == pytest.approx(unread.segments[0].width, abs=2.1)
    assert [s.kind for s in stage.segments].count("dropped") == len(reasons)
    assert len(stage.losses) + stage.more == len(reasons)
    assert sum(loss.count for loss in stage.losses) + stage.more_samples == stage.lost
    assert len(stage.losses) <= SHOWN


def test_an_empty_funnel_can_be_drawn():
    rows = funnel_rows(decided({}, {}, 0), exported=0)
    assert [row.segments[0].width for row in rows] == [0, 0, 0, 0]
    undecided = dataclasses.replace(decided({}, {}, 5), decided=False)
    assert [row.name for row in funnel_rows(undecided)] == ["ingested", "heuristics"]
