"""Where every mark of a funnel or a histogram lies, in the units of its SVG view box."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from curation.report.axis import Limit
from curation.report.funnel import Funnel, Loss, Stage
from curation.report.histogram import Histogram
from curation.report.wording import compact, number, percent

WIDTH = 440
"""Units a histogram is wide."""

_LEFT, _RIGHT, _PLOT, _LABEL, _FOOT = 40, 8, 116, 15, 22
_SLOT, _GAP = 14, 7


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


def histogram_chart(h: Histogram) -> HistogramChart:
    """The geometry of one histogram."""
    rows = max(1, len(h.limits))
    top = 6.0 + _LABEL * rows
    ground = top + _PLOT
    left = _LEFT + (_SLOT + _GAP if h.below else 0)
    right = WIDTH - _RIGHT - (_SLOT + _GAP if h.above else 0)
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
        _bar(ground, rise, *spot)
        for spot in _spots(h, place, left - _SLOT - _GAP, right + _GAP)
        if spot[2]
    ]
    ticks = log_ticks(low, high) if h.log else linear_ticks(low, high, 6)
    if h.column.integer:
        ticks = [tick for tick in ticks if tick == int(tick)]
    heights = log_ticks(1, most) if log_counts else linear_ticks(0, most, 3)
    return HistogramChart(
        height=ground + _FOOT,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=top,
        ground=ground,
        bars=bars,
        lines=[_line(h, limit, nth, place) for nth, limit in enumerate(h.limits)],
        x_ticks=[(place(tick), compact(tick)) for tick in ticks],
        y_ticks=[(round(ground - rise(int(t)), 2), compact(t)) for t in heights if t == int(t)],
        log_counts=log_counts,
    )


def _skewed(counts: list[int]) -> bool:
    """Whether the highest bin would hide the others."""
    filled = sorted(count for count in counts if count)
    return len(filled) > 1 and filled[-1] > 60 * filled[len(filled) // 2 - (len(filled) == 2)]


Place = Callable[[float], float]
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


def _bar(ground: float, rise: Callable[[int], float], spot: Spot) -> Bar:
    x, width, count, kept, words, outside = spot
    height, kept_height = rise(count), rise(kept or 0)
    said = f"{words}: {count:,} samples"
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
    at_end = x > (_LEFT + WIDTH) / 2
    fails_below = limit.kind == "at_least"
    right = WIDTH - _RIGHT
    empty = (below and fails_below) or (above and not fails_below)
    return Line(
        x=x,
        label=label,
        label_x=x - 5 if at_end else x + 5,
        label_y=13.0 + _LABEL * nth,
        anchor="end" if at_end else "start",
        fail_x=_LEFT if fails_below else x,
        fail_width=0 if empty else round(x - _LEFT if fails_below else right - x, 2),
        beyond=below or above,
    )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a funnel's bar."""

    x: float
    width: float
    kind: str
    """kept, dropped or quarantined."""
    title: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bar of the funnel, its name on the left and its count on the right."""

    y: float
    name: str
    count: str
    share: str
    segments: list[Segment]
    reasons: list[str]
    """Lines under the bar that label what was lost, the largest first."""
    drop_x: float
    """Where what is kept ends: a guide leads from there to the next bar."""
    drop_y: float
    """Where the next bar begins."""


@dataclass(frozen=True)
class FunnelChart:
    """A funnel to draw."""

    height: float
    rows: list[Row]


FUNNEL_WIDTH = 960
BAR_LEFT, BAR_WIDTH, BAR_HEIGHT = 168, 610, 26
_LINE = 16
_LINE_LETTERS = 104
_MAX_LINES = 3


def funnel_chart(f: Funnel, exported: int | None = None) -> FunnelChart:
    """The geometry of a funnel: what was ingested, a bar a stage, what is left."""
    rows: list[Row] = []
    y = 4.0
    plain = [("ingested", f.ingested, None)]
    plain += [(stage.name, stage.kept, stage) for stage in f.stages]
    if f.decided:
        plain.append(("kept", f.kept, None))
    if exported is not None:
        plain.append(("exported", exported, None))
    for name, count, stage in plain:
        segments = _segments(name, count, stage, f.ingested)
        reasons = _reason_lines(stage) if stage else []
        next_y = y + BAR_HEIGHT + _LINE * len(reasons) + (14 if reasons else 9)
        kept = segments[0]
        rows.append(
            Row(
                y=y,
                name=name if len(name) <= 22 else f"{name[:21]}…",
                count=f"{count:,}",
                share=percent(count, f.ingested),
                segments=segments,
                reasons=reasons,
                drop_x=round(kept.x + kept.width, 2),
                drop_y=next_y,
            )
        )
        y = next_y
    return FunnelChart(height=y, rows=rows)


def _segments(name: str, count: int, stage: Stage | None, whole: int) -> list[Segment]:
    scale = BAR_WIDTH / whole if whole else 0.0
    kind = "through" if stage else "kept"
    segments = [
        Segment(
            x=BAR_LEFT, width=round(count * scale, 2), kind=kind, title=f"{name}: {count:,} samples"
        )
    ]
    if stage is None:
        return segments
    x = BAR_LEFT + count * scale
    for loss in stage.largest():
        width = loss.count * scale
        kind = "quarantined" if loss.quarantined else "dropped"
        title = f"{loss.reason}: {loss.count:,} {kind}"
        gap = 1.0 if width > 3 else 0.0
        shown = round(max(width - gap, 0.4), 2)
        segments.append(Segment(x=round(x + gap, 2), width=shown, kind=kind, title=title))
        x += width
    return segments


def _reason_lines(stage: Stage) -> list[str]:
    """`− 183: min_side 105, blur 17, ...` in lines that fit under a bar."""
    losses = stage.largest()
    if not losses:
        return []
    lines = [f"{_MINUS}{stage.lost:,}: "]
    for nth, loss in enumerate(losses):
        last = nth == len(losses) - 1
        piece = f"{_short(loss)}{'' if last else ', '}"
        if len(lines[-1]) + len(piece) > _LINE_LETTERS:
            if len(lines) == _MAX_LINES:
                rest = losses[nth:]
                lines[-1] += f"{len(rest)} more ({sum(x.count for x in rest):,})"
                break
            lines.append("")
        lines[-1] += piece
    return lines


_MINUS = "\N{MINUS SIGN}"


def _short(loss: Loss) -> str:
    reason = loss.reason if len(loss.reason) <= 40 else f"{loss.reason[:39]}…"
    return f"{reason} {loss.count:,}"
