"""Thresholds out of labels: where they must be for the whole recipe to decide as the labels do.

A move is suggested only where what all rules and stages together keep agrees better with the
labels by it (curation.report.tune_ascent). Beside it stands how well each measure alone tells what
you keep from what you drop (curation.report.tune_curve).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.report.axis import Limit
from curation.report.labels import Label, Place, labels_here
from curation.report.tune_ascent import Ascent
from curation.report.tune_curve import Bools, Curve, Measured, Point, curve_of, point_of, roundest
from curation.report.viewer.fates import HIDDEN, Fates, fates_of
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.movable import (
    CLIP_FIELDS,
    Limits,
    Movable,
    idle_rules,
    rules_of,
)
from curation.report.viewer.whatif import WhatIf
from schemas import QUARANTINED


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One threshold of the recipe against the labels."""

    name: str
    """stage.reason"""
    column: str
    kind: str
    """at_least or at_most."""
    now: Point
    """The recipe's own threshold, alone."""
    suggested: Point
    """Where the whole recipe decides best, alone; `now` where it stays."""
    flag: str
    """What `curate select` and the others take to set it; empty where it stays."""
    share: float | None = None
    """What `flag` sets, where that is a top fraction: `suggested` has the score it comes to."""
    moved: int
    """Labelled samples that the whole recipe decides otherwise without this move, made with the
    others: what it rests on."""
    missing: int
    """Labelled samples without a value, which pass or fail whatever the threshold."""
    curve: Curve
    """Of the measure alone."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A recipe against one set of labels."""

    keeps: int
    drops: int
    strangers: int
    """Labels that name no sample of this corpus, or one that is not shown or was not readable."""
    fits: list[Fit]
    together_now: Point
    """The whole recipe, other rules and stages held as they are; its `threshold` is NaN."""
    together: Point
    """The same with the suggested thresholds; its F1 is never lower, and higher where one moved."""
    kept_now: int
    """Samples of the whole corpus that the recipe keeps."""
    kept: int
    """What the suggested thresholds would keep, with every other stage held as it is."""
    idle: list[str]
    """Stages that would hold a threshold and are off, and why."""

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
    ascent = Ascent(
        measures=measured,
        keeps=keeps,
        free=whatif.passing({rule.name: _loosest(rule) for rule in rules})[positions],
        thresholds=tuple(rule.threshold for rule in rules),
    )
    found = ascent.run()
    moved = {
        rule.name: roundest(held, threshold)
        for rule, held, threshold in zip(rules, measured, found, strict=True)
        if threshold != rule.threshold
    }
    settings = _settings(whatif, rules, moved)
    now, then = whatif.outcome({})[positions], whatif.outcome(settings)
    fits = [
        _fit(rule, held, keeps, (moved.get(rule.name), settings.get(rule.name)), ascent.resting(n))
        for n, (rule, held) in enumerate(zip(rules, measured, strict=True))
    ]
    return Tuning(
        keeps=count,
        drops=len(keeps) - count,
        strangers=len(labels) - len(keeps),
        fits=fits,
        together_now=point_of(math.nan, now, keeps),
        together=point_of(math.nan, then[positions], keeps),
        kept_now=whatif.kept,
        kept=int(np.count_nonzero(then)),
        idle=_idle(corpus),
    )


def _idle(corpus: Corpus) -> list[str]:
    lines = idle_rules(corpus.manifest).values()
    return list(dict.fromkeys(line for each in lines for line in each))


def _settings(whatif: WhatIf, rules: list[Movable], moved: Limits) -> dict[str, float]:
    """What sets the moved thresholds: of a top fraction the share of those that come to it then.

    It is set, too, where its line stays and another share of them has to.
    """
    settings = {rule.name: moved[rule.name] for rule in rules if rule.name in moved}
    for rule in rules:
        if rule.share is not None:
            goes = settings.pop(rule.name, rule.threshold)
            ranks = whatif.ranks(rule.name, whatif.limits(settings))
            share = ranks.share(goes)
            if ranks.cut(share) != ranks.cut(rule.share):
                settings[rule.name] = share
    return settings


def _loosest(rule: Movable) -> float:
    return -math.inf if rule.limit.kind == "at_least" else math.inf


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


def _measured(store: MeasureStore, rule: Limit, positions: npt.NDArray[np.int64]) -> Measured:
    column = store.number(rule.column)
    values = column.values[positions].astype(np.float64)
    fails = np.zeros(len(values), bool)
    if rule.drops_missing and rule.reason in CLIP_FIELDS:
        fails = np.isnan(values)
    elif rule.drops_missing and column.missing is not None:
        fails = np.array(column.missing[positions])
    return Measured(values=values, kind=rule.kind, unmeasured=fails)


Goes = tuple[float | None, float | None]
"""Where a threshold goes and what sets it, each null where it stays."""


def _fit(rule: Movable, held: Measured, keeps: Bools, to: Goes, moved: int) -> Fit:
    goes, setting = to if to[1] is not None else (None, None)
    now = point_of(rule.threshold, held.passes(rule.threshold), keeps)
    return Fit(
        name=rule.name,
        column=rule.limit.column,
        kind=rule.limit.kind,
        now=now,
        suggested=now if goes is None else point_of(goes, held.passes(goes), keeps),
        flag="" if setting is None else f"{rule.flag}={plain_number(setting)}",
        share=None if rule.share is None else setting,
        moved=moved,
        missing=int(np.count_nonzero(np.isnan(held.values))),
        curve=curve_of(held, keeps),
    )


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
