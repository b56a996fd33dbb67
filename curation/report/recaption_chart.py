"""Two histograms on one axis, originals above and new captions below, ready to draw."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curation.report.chart import linear_ticks, log_ticks, thinned
from curation.report.recaption_tally import MOST, Distribution, Tally
from curation.report.wording import compact, number

WIDTH, HEIGHT = 480, 172
"""Units of the view box."""
_LEFT, _RIGHT = 4, 476
_ROW, _FIRST, _SECOND = 52, 68, 146
"""Height of a row, and the ground of either."""
_BINS = 56
_TAIL = 0.01
"""Share of the captions at each end that the outermost bins may hold."""
_LOG_RATIO = 20
"""Between the ends of an axis, above which it is logarithmic."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bin of one row."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One histogram."""

    name: str
    label: str
    ground: float
    bars: list[Bar]
    median: float
    """Where the median lies across."""
    top: float


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """A chart: the second row and the axis below it."""

    name: str
    meaning: str
    captions: int
    log: bool
    rows: list[Row]
    ticks: list[tuple[float, str]]
    described: str
    """The chart in one sentence, for those who do not see it."""


def before_after(distribution: Distribution) -> BeforeAfter:
    """The chart of a distribution that has captions on both sides."""
    before, after = distribution.before, distribution.after
    edges, log = _edges(before, after)
    low, high = edges[0], edges[-1]

    def place(value: float) -> float:
        inside = min(max(value, low), high)
        share = (
            math.log(inside / low) / math.log(high / low) if log else (inside - low) / (high - low)
        )
        return round(_LEFT + share * (_RIGHT - _LEFT), 2)

    counted = [_binned(tally, edges) for tally in (before, after)]
    most = max(max(counts) for counts in counted)
    rows = [
        _row(name, tally, counts, most, edges, place, ground)
        for name, tally, counts, ground in (
            ("original", before, counted[0], _FIRST),
            ("new", after, counted[1], _SECOND),
        )
    ]
    ticks = log_ticks(low, high) if log else linear_ticks(low, high, 6)
    if before.steps == 1:
        ticks = [tick for tick in ticks if tick == int(tick)]
    return BeforeAfter(
        name=distribution.name,
        meaning=distribution.meaning,
        captions=after.number,
        log=log,
        rows=rows,
        ticks=thinned([(place(tick), compact(tick)) for tick in ticks], across=True),
        described=f"{distribution.name} {distribution.meaning}: {rows[0].label}; {rows[1].label}",
    )


def _edges(before: Tally, after: Tally) -> tuple[list[float], bool]:
    """Bin edges that both rows share, between whole steps; whether the axis is logarithmic."""
    steps = before.steps
    both = Tally(steps, before.counts + after.counts)
    low, high = both.quantile(_TAIL) or 0.0, both.quantile(1 - _TAIL) or 0.0
    half = 0.5 / steps
    log = low > 0 and high > _LOG_RATIO * low
    if log:
        found = np.geomspace(low - half, high + half, _BINS + 1)
        halves = {(math.floor(edge * steps) + 0.5) / steps for edge in found}
        return sorted(halves), True
    # Whole values stand in the middle of their bins; densities crowd on few fractions.
    least = 1.0 if steps == 1 else 0.25
    step = least * max(1, math.ceil((high - low) / _BINS / least))
    count = math.floor((high - low) / step + 0.5) + 1
    start = low - (0.5 if steps == 1 else step / 2)
    return [start + step * nth for nth in range(count + 1)], False


def _binned(tally: Tally, edges: list[float]) -> list[int]:
    """Captions in each bin; the outermost hold what lies beyond them."""
    values = np.arange(MOST + 1) / tally.steps
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    found = np.bincount(at, tally.counts, minlength=len(edges) - 1)
    return [int(count) for count in found]


def _row(
    name: str,
    tally: Tally,
    counts: list[int],
    most: int,
    edges: list[float],
    place: Callable[[float], float],
    ground: float,
) -> Row:
    bars = []
    for nth, count in enumerate(counts):
        if not count:
            continue
        start, stop = place(edges[nth]), place(edges[nth + 1])
        height = round(max(1.0, _ROW * count / most), 2)
        ends = f"{number(edges[nth])} to {number(edges[nth + 1])}"
        if nth == len(counts) - 1:
            ends = f"from {number(edges[nth])}"
        bars.append(
            Bar(
                x=start,
                y=round(ground - height, 2),
                width=round(max(0.5, stop - start - 0.6), 2),
                height=height,
                title=f"{ends}: {count:,} captions",
            )
        )
    median = tally.quantile(0.5) or 0.0
    return Row(
        name=name,
        label=f"{name}, median {number(median)}",
        ground=ground,
        bars=bars,
        median=place(median),
        top=ground - _ROW,
    )
