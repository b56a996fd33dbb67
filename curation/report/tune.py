"""Thresholds out of labels: how well each measure alone tells what you keep from what you drop.

What passes a threshold is predicted to be kept. Precision is the share of keeps among the labelled
samples that pass, recall the share of the keeps that pass, F1 their harmonic mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.report.axis import Limit
from curation.report.labels import Label, Place, labels_here
from curation.report.viewer.fates import HIDDEN, Fates, fates_of
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.whatif import CLIP_RULE, Movable, WhatIf, rules_of
from schemas import QUARANTINED

Floats = npt.NDArray[np.float64]
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
class Fit:
    """One threshold of the recipe against the labels."""

    name: str
    """stage.reason"""
    column: str
    kind: str
    """at_least or at_most."""
    now: Point
    """The recipe's own threshold."""
    suggested: Point
    """The roundest threshold with the best F1; `now` where the recipe does as well."""
    flag: str
    """What `curate select` and the others take to set it; empty where it stays."""
    missing: int
    """Labelled samples without a value, which pass or fail whatever the threshold."""
    curve: Curve

    @property
    def moved(self) -> int:
        """Labelled samples on which the suggestion and the recipe differ: what it rests on."""
        now, then = self.now, self.suggested
        return abs(then.keeps - now.keeps) + abs(then.drops - now.drops)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """All thresholds against one set of labels."""

    keeps: int
    drops: int
    strangers: int
    """Labels that name no sample of this corpus, or one that is not shown or was not readable."""
    fits: list[Fit]
    together_now: Point
    """All thresholds at once; its `threshold` is NaN."""
    together: Point
    """All suggested thresholds at once."""
    kept_now: int
    """Samples of the whole corpus that the recipe keeps."""
    kept: int
    """What the suggested thresholds would keep, with every other stage held as it is."""

    @property
    def flags(self) -> list[str]:
        """`--set` and its value, in turn."""
        return [part for fit in self.fits if fit.flag for part in ("--set", fit.flag)]


def tune(corpus: Corpus, labels: Mapping[Place, Label]) -> Tuning:
    """Fits every numeric threshold of the corpus's recipe.

    Raises UsageError where the corpus is undecided, its recipe has no such threshold, or the
    labels do not hold both a keep and a drop of this corpus.
    """
    if corpus.manifest.ledger is None:
        raise UsageError(f"{corpus.store.path('')}: nothing is decided yet (curate decide)")
    fates = fates_of(corpus, None)
    store = MeasureStore(corpus, fates, [rule.column for rule in rules_of(corpus.manifest)])
    whatif = WhatIf(corpus, fates, store)
    rules = list(whatif.movable.values())
    if not rules:
        raise UsageError(f"{corpus.store.path('')}: the recipe has no threshold on a number")
    positions, keeps = _readable(fates, labels_here(corpus, dict(labels)))
    count = int(np.count_nonzero(keeps))
    if count in (0, len(keeps)):
        raise UsageError(
            f"{count:,} keeps and {len(keeps) - count:,} drops among the {len(labels):,} labels "
            "are of this corpus; it takes both"
        )
    store.prepare(whatif.columns)
    measured = [_measured(store, rule.limit, positions) for rule in rules]
    fits = [_fit(rule, held, keeps) for rule, held in zip(rules, measured, strict=True)]
    moved = {fit.name: fit.suggested.threshold for fit in fits if fit.flag}
    pairs = list(zip(rules, measured, strict=True))
    now = np.all([held.passes(rule.threshold) for rule, held in pairs], axis=0)
    then = np.all(
        [held.passes(moved.get(rule.name, rule.threshold)) for rule, held in pairs], axis=0
    )
    return Tuning(
        keeps=count,
        drops=len(keeps) - count,
        strangers=len(labels) - len(keeps),
        fits=fits,
        together_now=_point(math.nan, now, keeps),
        together=_point(math.nan, then, keeps),
        kept_now=whatif.kept,
        kept=int(np.count_nonzero(whatif.outcome(moved))),
    )


def _readable(fates: Fates, here: Mapping[Place, Label]) -> tuple[npt.NDArray[np.int64], Bools]:
    """Positions of the labelled samples that rules can look at, and which of them are keeps."""
    positions, keeps = [], []
    for place, label in here.items():
        at = fates.position(*place)
        if at is None or fates.seen(at) == HIDDEN or fates.group(at).status == QUARANTINED:
            continue
        positions.append(at)
        keeps.append(label.keep)
    return np.array(positions, np.int64), np.array(keeps, bool)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measure of the labelled samples."""

    values: Floats
    """NaN where there is none."""
    kind: str
    unmeasured: Bools
    """Of the samples without a number, those that fail for it; the others pass."""

    def passes(self, threshold: float) -> Bools:
        """As curation.relational.select decides."""
        low = self.kind == "at_least"
        fails: Bools = self.values < threshold if low else self.values > threshold
        return ~(fails | self.unmeasured)


def _measured(store: MeasureStore, rule: Limit, positions: npt.NDArray[np.int64]) -> Measured:
    column = store.number(rule.column)
    values = column.values[positions].astype(np.float64)
    fails = np.zeros(len(values), bool)
    if rule.drops_missing and rule.reason == CLIP_RULE:
        fails = np.isnan(values)
    elif rule.drops_missing and column.missing is not None:
        fails = np.array(column.missing[positions])
    return Measured(values=values, kind=rule.kind, unmeasured=fails)


def curve_of(held: Measured, keeps: Bools) -> Curve:
    """Every split of the labelled samples that a threshold can make, but the one that drops all."""
    side = 1 if held.kind == "at_least" else -1
    values = side * held.values
    free = int(np.count_nonzero(np.isnan(values) & ~held.unmeasured & keeps))
    free_drops = int(np.count_nonzero(np.isnan(values) & ~held.unmeasured & ~keeps))
    good = np.sort(values[keeps & ~np.isnan(values)])
    bad = np.sort(values[~keeps & ~np.isnan(values)])
    limits = np.unique(values[np.isfinite(values)])
    total = int(np.count_nonzero(keeps))
    passing = len(good) - np.searchsorted(good, limits) + free
    passing_drops = len(bad) - np.searchsorted(bad, limits) + free_drops
    return Curve(
        points=[
            _scored(float(side * limit), int(kept), int(wrong), total)
            for limit, kept, wrong in zip(limits, passing, passing_drops, strict=True)
        ]
    )


def _point(threshold: float, passes: Bools, keeps: Bools) -> Point:
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


def _fit(rule: Movable, held: Measured, keeps: Bools) -> Fit:
    now = _point(rule.threshold, held.passes(rule.threshold), keeps)
    curve = curve_of(held, keeps)
    best = curve.best()
    suggested = now
    if best is not None and (best.keeps, best.drops) != (now.keeps, now.drops):
        threshold = roundest(held, best.threshold)
        suggested = _point(threshold, held.passes(threshold), keeps)
    return Fit(
        name=rule.name,
        column=rule.limit.column,
        kind=rule.limit.kind,
        now=now,
        suggested=suggested,
        flag=f"{rule.flag}={plain_number(suggested.threshold)}" if suggested is not now else "",
        missing=int(np.count_nonzero(np.isnan(held.values))),
        curve=curve,
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


def plain_number(value: float) -> str:
    """A number as `--set` takes it, that reads back as the very same."""
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)


def told(found: Tuning) -> dict[str, Any]:
    """As JSON types; a threshold that is no finite number is null."""

    return {
        "labels": {"keep": found.keeps, "drop": found.drops, "not_used": found.strangers},
        "thresholds": [
            {
                "name": fit.name,
                "column": fit.column,
                "kind": fit.kind,
                "missing": fit.missing,
                "now": _told_point(fit.now),
                "suggested": _told_point(fit.suggested),
                "set": fit.flag or None,
                "labels_moved": fit.moved,
                "curve": [_told_point(each) for each in fit.curve.points],
            }
            for fit in found.fits
        ],
        "together": {
            "now": _told_point(found.together_now),
            "suggested": _told_point(found.together),
        },
        "kept": {"now": found.kept_now, "suggested": found.kept},
        "flags": found.flags,
    }


def _told_point(point: Point) -> dict[str, Any]:
    finite = math.isfinite(point.threshold)
    return {**vars(point), "threshold": point.threshold if finite else None}
