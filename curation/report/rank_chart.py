"""Counts sorted by rank on logarithmic axes, before and after something was evened out."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.report.chart import LEFT, RIGHT, WIDTH, log_ticks, thinned
from curation.report.wording import compact, number

POINTS = 240
"""Ranks that a curve is drawn through at most."""

_TOP, _GROUND, _FOOT = 22.0, 158.0, 34.0
_ROOM = 1.25
"""What the axis of counts reaches above the largest."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Level:
    """A horizontal line: what a count is cut down to."""

    y: float
    label: str
    label_x: float
    label_y: float
    anchor: str
    beyond: bool
    """It lies above the plot."""


@dataclass(frozen=True, kw_only=True)
class RankChart:
    """A plot of two curves, in the units of its SVG view box."""

    height: float
    left: float
    right: float
    top: float
    ground: float
    before: str
    """Points of a polyline: the counts that came, from the largest to the smallest."""
    after: str
    """Those that stayed, sorted by themselves; without those of which nothing stayed."""
    level: Level | None
    cut: float | None
    """Where the head ends and the tail begins: between ranks above and not above the level."""
    parts: list[tuple[float, str, str]]
    """Where the words head and tail stand, their anchor and the word, where there is room."""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def rank_chart(before: Counts, after: Counts, level: int | None = None) -> RankChart:
    """The curves of at least one count, all of `before` above zero; `level` is drawn across."""
    first, then = np.sort(before)[::-1], np.sort(after[after > 0])[::-1]
    most = float(max(first[0], 2))
    beyond = level is not None and level > 10 * most
    top = _ROOM * max(most, level if level is not None and not beyond else 0)
    last = max(len(first), 2)

    def place(rank: float) -> float:
        return round(LEFT + math.log(rank) / math.log(last) * (WIDTH - RIGHT - LEFT), 2)

    def rise(count: float) -> float:
        return round(_GROUND - math.log(count) / math.log(top) * (_GROUND - _TOP), 2)

    def curve(counts: Counts) -> str:
        points = [(place(rank), rise(int(counts[rank - 1]))) for rank in _ranks(len(counts))]
        points *= 2 if len(points) == 1 else 1
        return " ".join(f"{x:g},{y:g}" for x, y in points)

    head = int(np.count_nonzero(first > level)) if level is not None else 0
    cut = place(math.sqrt(head * (head + 1))) if 0 < head < len(first) else None
    across = log_ticks(1, last)
    return RankChart(
        height=_GROUND + _FOOT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=_TOP,
        ground=_GROUND,
        before=curve(first),
        after=curve(then),
        level=_level(level, None if beyond else rise(level), head) if level is not None else None,
        cut=cut,
        parts=_parts(cut) if cut is not None else [],
        x_ticks=thinned([(place(t), compact(t)) for t in across], across=True),
        y_ticks=thinned([(rise(t), compact(t)) for t in log_ticks(1, top)], across=False),
    )


def _level(level: int, y: float | None, head: int) -> Level:
    """Its label stands where the curve of what came does not: below it on the left, or above."""
    label, right = f"t = {number(level)}", WIDTH - RIGHT
    if y is None:
        return Level(
            y=_TOP, label=f"{label} ↑", label_x=right, label_y=13.0, anchor="end", beyond=True
        )
    at_left = head > 0
    return Level(
        y=y,
        label=label,
        label_x=LEFT + 5 if at_left else right,
        label_y=round(y + 13 if at_left else y - 5, 2),
        anchor="start" if at_left else "end",
        beyond=False,
    )


def _parts(cut: float) -> list[tuple[float, str, str]]:
    room = 30
    head = [(cut - 5, "end", "head")] if cut - LEFT > room else []
    return head + ([(cut + 5, "start", "tail")] if WIDTH - RIGHT - cut > room else [])


def _ranks(count: int) -> list[int]:
    """The first and last rank and some between, evenly spread on a logarithmic axis."""
    if not count:
        return []
    spread: Any = np.geomspace(1, count, POINTS)
    return sorted({*np.round(spread).astype(int).tolist(), 1, count})
