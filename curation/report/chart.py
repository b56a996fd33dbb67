"""Where every mark of a funnel or a histogram lies, in the units of its SVG view box."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from curation.report.axis import Limit
from curation.report.funnel import Funnel, Loss, Stage
from curation.report.histogram import Histogram
from curation.report.wording import compact, number, percent

WIDTH = 340
"""Units a histogram is wide."""

LEFT, RIGHT = 38, 8
"""Units left free for tick labels, and on the other side."""

_PLOT, _LABEL, _FOOT = 104, 15, 22
TOP = 6.0 + _LABEL
GROUND = TOP + _PLOT
"""Where a plot with one line of labels above it begins and ends."""

_SLOT, _GAP = 12, 6
_LETTER, _TICK = 7.5, 12
"""Room that a letter of a tick label takes across, and a label takes up."""


Place = Callable[[float], float]
"""Where a value lies across a plot."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bin: all its samples, and from the ground up those kept."""

    x: float
    width: float
    y: float
    height: float
    kept_y: float
    kept_height: float
    title: str
    outside: bool = False
    """Counts what lies beyond the axis."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One threshold, and the side of it that fails."""

    x: float
    label: str
    label_x: float
    label_y: float
    anchor: str
    fail_x: float
    fail_width: float
    beyond: bool
    """It lies off the axis, in the direction of the arrow in its label."""


@dataclass(frozen=True, kw_only=True)
class HistogramChart:
    """A histogram to draw: `top` to `ground` is the plot."""

    height: float
    left: float
    right: float
    top: float
    ground: float
    bars: list[Bar]
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    log_counts: bool


def nice_step(span: float, ticks: int) -> float:
    """1, 2 or 5 times a power of ten: the smallest that gives at most `ticks` steps."""
    raw = span / max(1, ticks)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= raw * (1 - 1e-9))


def linear_ticks(low: float, high: float, ticks: int) -> list[float]:
    """Round numbers from `low` to `high`."""
    step = nice_step(high - low, ticks)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between where they are few, thinned where they are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    every = max(1, (last - first) // 6)
    found = [k * 10.0**p for p in range(first, last + 1, every) for k in steps]
    return [tick for tick in found if low <= tick <= high]


def histogram_chart(h: Histogram, unit: str = "samples") -> HistogramChart:
    """The geometry of one histogram; `unit` is what it counts."""
    rows = max(1, len(h.limits))
    top = 6.0 + _LABEL * rows
    ground = top + _PLOT
    left = LEFT + (_SLOT + _GAP if h.below else 0)
    right = WIDTH - RIGHT - (_SLOT + _GAP if h.above else 0)
    low, high = h.edges[0], h.edges[-1]

    def place(value: float) -> float:
        if h.log:
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return round(left + min(max(share, 0.0), 1.0) * (right - left), 2)

    counts = [*h.counts, h.below, h.above]
    log_counts = _skewed(counts)
    most = max(counts)

    def rise(count: int) -> float:
        if not count:
            return 0.0
        share = math.log1p(count) / math.log1p(most) if log_counts else count / most
        return round(max(1.0, share * _PLOT), 2)

    bars = [
        _bar(ground, rise, spot, unit)
        for spot in _spots(h, place, left - _SLOT - _GAP, right + _GAP)
        if spot[2]
    ]
    ticks = log_ticks(low, high) if h.log else linear_ticks(low, high, 6)
    if h.column.integer:
        ticks = [tick for tick in ticks if tick == int(tick)]
    heights = log_ticks(1, most) if log_counts else linear_ticks(0, most, 3)
    return HistogramChart(
        height=ground + _FOOT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=top,
        ground=ground,
        bars=bars,
        lines=[_line(h, limit, nth, place) for nth, limit in enumerate(h.limits)],
        x_ticks=thinned([(place(tick), compact(tick)) for tick in ticks], across=True),
        y_ticks=thinned(
            [(round(ground - rise(int(t)), 2), compact(t)) for t in heights if t == int(t)],
            across=False,
        ),
        log_counts=log_counts,
    )


def thinned(ticks: list[tuple[float, str]], *, across: bool) -> list[tuple[float, str]]:
    """Those ticks whose labels do not touch the one before."""
    found: list[tuple[float, str]] = []
    for at, label in ticks:
        room = _LETTER * (len(label) + len(found[-1][1])) / 2 if found and across else _TICK
        if not found or abs(at - found[-1][0]) >= room:
            found.append((at, label))
    return found


def _skewed(counts: list[int]) -> bool:
    """Whether the highest bin would hide the others."""
    filled = sorted(count for count in counts if count)
    return len(filled) > 1 and filled[-1] > 60 * filled[len(filled) // 2 - (len(filled) == 2)]


Spot = tuple[float, float, int, int | None, str, bool]


def _spots(h: Histogram, place: Place, below_x: float, above_x: float) -> Iterator[Spot]:
    """x, width, samples, kept samples, what the bin covers, whether it lies beyond the axis."""
    low, high = h.edges[0], h.edges[-1]
    if h.below:
        words = _values(h, h.minimum, low)
        kept = None if h.kept is None else h.kept_below
        yield below_x, _SLOT, h.below, kept, words, True
    for nth, count in enumerate(h.counts):
        start, stop = place(h.edges[nth]), place(h.edges[nth + 1])
        words = _values(h, h.edges[nth], h.edges[nth + 1])
        gap = 0.8 if stop - start > 3 else 0.2
        width = round(max(0.5, min(stop - start - gap, 48)), 2)
        start = start + (stop - start - width) / 2
        yield round(start, 2), width, count, h.kept[nth] if h.kept else None, words, False
    if h.above:
        words = _values(h, high, h.maximum)
        kept = None if h.kept is None else h.kept_above
        yield above_x, _SLOT, h.above, kept, words, True


def _values(h: Histogram, low: float, high: float) -> str:
    if not h.column.integer:
        return f"{number(low)} to {number(high)}"
    first, last = math.ceil(low), math.floor(high)
    return number(first) if first >= last else f"{number(first)} to {number(last)}"


def _bar(ground: float, rise: Callable[[int], float], spot: Spot, unit: str) -> Bar:
    x, width, count, kept, words, outside = spot
    height, kept_height = rise(count), rise(kept or 0)
    said = f"{words}: {count:,} {unit}"
    return Bar(
        x=x,
        width=width,
        y=round(ground - height, 2),
        height=height,
        kept_y=round(ground - kept_height, 2),
        kept_height=kept_height,
        title=said if kept is None else f"{said}, {kept:,} kept",
        outside=outside,
    )


def _line(h: Histogram, limit: Limit, nth: int, place: Place) -> Line:
    bound = limit.boundary(integer=h.column.integer)
    low, high = h.edges[0], h.edges[-1]
    x = place(bound)
    below, above = bound < low, bound > high
    sign = "≥" if limit.kind == "at_least" else "≤"
    assert not isinstance(limit.threshold, tuple)
    label = f"{limit.reason} {sign} {number(limit.threshold)}"
    label = f"← {label}" if below else f"{label} →" if above else label
    at_end = x > (LEFT + WIDTH) / 2
    fails_below = limit.kind == "at_least"
    right = WIDTH - RIGHT
    empty = (below and fails_below) or (above and not fails_below)
    return Line(
        x=x,
        label=label,
        label_x=x - 5 if at_end else x + 5,
        label_y=13.0 + _LABEL * nth,
        anchor="end" if at_end else "start",
        fail_x=LEFT if fails_below else x,
        fail_width=0 if empty else round(x - LEFT if fails_below else right - x, 2),
        beyond=below or above,
    )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a funnel's bar, in thousandths of what was ingested."""

    x: float
    width: float
    kind: str
    """kept, through (left by a stage), dropped or quarantined."""
    title: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bar of the funnel, its name on the left and its count on the right."""

    name: str
    count: int
    share: str
    lost: int
    off: bool
    """The stage was switched off."""
    segments: list[Segment]
    losses: list[Loss]
    """What labels the bar: the largest first, at most SHOWN of them."""
    title: str = ""
    """What it counts, or what the stage is for."""
    stage: bool = False
    """It is of a stage, and not of a total."""
    more: int = 0
    """Reasons that took something and are not in `losses`."""
    more_samples: int = 0


_TOTALS = {"ingested": "Went in", "kept": "Came out", "exported": "Written for training"}

FUNNEL_WIDTH = 1000
SHOWN = 8
"""Reasons named under a bar of the funnel."""


def funnel_rows(f: Funnel, exported: int | None = None) -> list[Row]:
    """The bars of a funnel: what was ingested, a bar a stage, what is left."""
    rows = [_plain_row("ingested", f.ingested, f.ingested)]
    rows += [_stage_row(stage, f.ingested) for stage in f.stages]
    if f.decided:
        rows.append(_plain_row("kept", f.kept, f.ingested))
    if exported is not None:
        rows.append(_plain_row("exported", exported, f.ingested))
    return rows


def _plain_row(name: str, count: int, whole: int) -> Row:
    return Row(
        name=name,
        title=_TOTALS[name],
        count=count,
        share=percent(count, whole),
        lost=0,
        off=False,
        segments=[_kept_segment(name, count, whole, "kept")],
        losses=[],
    )


def _kept_segment(name: str, count: int, whole: int, kind: str) -> Segment:
    width = round(count * _scale(whole), 2)
    return Segment(x=0, width=width, kind=kind, title=f"{name}: {count:,} samples")


def _scale(whole: int) -> float:
    return FUNNEL_WIDTH / whole if whole else 0.0


def _stage_row(stage: Stage, whole: int) -> Row:
    """What the stage left, then side by side what it took away."""
    scale = _scale(whole)
    segments = [_kept_segment(stage.name, stage.kept, whole, "through")]
    x = stage.kept * scale
    losses = stage.largest()
    for loss in losses:
        width = loss.count * scale
        gap = 1.0 if width > 3 else 0.0
        kind = "quarantined" if loss.quarantined else "dropped"
        segments.append(
            Segment(
                x=round(x + gap, 2),
                width=round(max(width - gap, 1.0), 2),
                kind=kind,
                title=f"{loss.reason}: {loss.count:,} {kind}",
            )
        )
        x += width
    return Row(
        name=stage.name,
        title=stage.words or stage.name,
        stage=True,
        count=stage.kept,
        share=percent(stage.kept, whole),
        lost=stage.lost,
        off=bool(stage.off),
        segments=segments,
        losses=losses[:SHOWN],
        more=len(losses[SHOWN:]),
        more_samples=sum(loss.count for loss in losses[SHOWN:]),
    )
