"""One measure of the labelled samples against what their labels say.

What passes a threshold is predicted to be kept. Precision is the share of keeps among the labelled
samples that pass, recall the share of the keeps that pass, F1 their harmonic mean.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One threshold against the labels."""

    threshold: float
    keeps: int
    """Samples labelled keep that pass."""
    drops: int
    """Samples labelled drop that pass."""
    precision: float | None
    """Null where nothing passes."""
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one measure, from the loosest threshold to the tightest."""

    points: list[Point]
    """One for each distinct value of a labelled sample; none where nothing was measured."""

    def best(self) -> Point | None:
        """The highest F1; of equals the loosest. Null where there are no points."""
        return max(self.points, key=lambda point: point.f1, default=None)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measure of the labelled samples."""

    values: Floats
    """NaN where there is none."""
    kind: str
    """at_least or at_most."""
    unmeasured: Bools
    """Of the samples without a number, those that fail for it; the others pass."""

    def passes(self, threshold: float) -> Bools:
        """As curation.relational.select decides."""
        low = self.kind == "at_least"
        fails: Bools = self.values < threshold if low else self.values > threshold
        return ~(fails | self.unmeasured)


def splits(held: Measured, keeps: Bools, among: Bools) -> tuple[Floats, Counts, Counts]:
    """Thresholds from loosest to tightest, and the keeps and drops of `among` that pass each.

    The thresholds are the values of all samples, of `among` or not: every split that one can make
    but the one that drops all.
    """
    side = 1 if held.kind == "at_least" else -1
    values, keep = side * held.values[among], keeps[among]
    there = ~np.isnan(values)
    free = ~there & ~held.unmeasured[among]
    limits = np.unique(side * held.values[np.isfinite(held.values)])
    passing = [
        np.count_nonzero(free & one)
        + np.count_nonzero(there & one)
        - np.searchsorted(np.sort(values[there & one]), limits)
        for one in (keep, ~keep)
    ]
    return side * limits, passing[0], passing[1]


def curve_of(held: Measured, keeps: Bools) -> Curve:
    """Every split of the labelled samples that a threshold can make, but the one that drops all."""
    total = int(np.count_nonzero(keeps))
    found = splits(held, keeps, np.ones(len(keeps), bool))
    return Curve(
        points=[
            _scored(float(limit), int(kept), int(wrong), total)
            for limit, kept, wrong in zip(*found, strict=True)
        ]
    )


def point_of(threshold: float, passes: Bools, keeps: Bools) -> Point:
    """What passes against the labels, of which one at least is a keep."""
    kept, wrong = np.count_nonzero(passes & keeps), np.count_nonzero(passes & ~keeps)
    return _scored(threshold, int(kept), int(wrong), int(np.count_nonzero(keeps)))


def _scored(threshold: float, keeps: int, drops: int, total: int) -> Point:
    """`total`: samples labelled keep, of which there is one at least."""
    return Point(
        threshold=threshold,
        keeps=keeps,
        drops=drops,
        precision=keeps / (keeps + drops) if keeps + drops else None,
        recall=keeps / total,
        f1=2 * keeps / (keeps + drops + total),
    )


def roundest(held: Measured, limit: float) -> float:
    """The number with the fewest digits that splits the values as `limit` does, one of them."""
    low = held.kind == "at_least"
    with np.errstate(invalid="ignore"):
        beyond = held.values[held.values < limit] if low else held.values[held.values > limit]
    nearest = (beyond.max() if low else beyond.min()) if len(beyond) else None
    exact = Decimal(limit)
    for digits in range(1, 18):
        unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
        tried = float(exact.quantize(unit, ROUND_FLOOR if low else ROUND_CEILING))
        inside = tried <= limit if low else tried >= limit
        if inside and (nearest is None or (tried > nearest if low else tried < nearest)):
            return tried
    return limit
