"""What if a threshold were another: how many samples would be kept, recounted and not rescored.

Exact for stages that look at one sample at a time: `Select`, and the threshold of `ClipSelect`.
What every other stage took away stays away, and a sample that a looser threshold lets in counts as
kept: de-duplication and balance have not looked at it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.io.corpus import Corpus
from curation.report.axis import Limit, Summary, bin_edges
from curation.report.funnel import stage_recipes
from curation.report.histogram import limits_of
from curation.report.viewer.fates import Bools, Fates, Positions
from curation.report.viewer.kept import Kept
from curation.report.viewer.measures import MeasureStore, NumberColumn
from schemas import KEPT, QUARANTINED
from schemas.manifest import CorpusManifest

CLIP_RULE = "clip_score"
"""Reason of a drop by the threshold of ClipSelect; `--set` calls it `threshold`."""

_MASKS = 6
"""Sets of thresholds whose outcome is kept at hand, a byte a sample each."""
_HISTOGRAMS = 200
_COUNTED = 1 << 20
"""Values that are binned at once."""

Settings = Mapping[str, float]
"""Thresholds that differ from the recipe, by `stage.reason`."""


@dataclass(frozen=True, kw_only=True)
class Movable:
    """One threshold that can be moved."""

    limit: Limit
    flag: str
    """What `--set` calls it."""

    @property
    def name(self) -> str:
        return f"{self.limit.stage}.{self.limit.reason}"

    @property
    def threshold(self) -> float:
        """As the recipe has it."""
        assert not isinstance(self.limit.threshold, tuple)
        return self.limit.threshold


def rules_of(manifest: CorpusManifest) -> list[Limit]:
    """Every rule that looks at one sample alone, of the stages that ran, in order."""
    recipe = stage_recipes(manifest.recipe)
    ran = [limit for limit in limits_of(manifest) if not recipe[limit.stage].get("off")]
    clip = [_clip(name, stage) for name, stage in recipe.items() if _has_clip_threshold(stage)]
    order = list(recipe)
    return sorted(ran + clip, key=lambda limit: order.index(limit.stage))


def _has_clip_threshold(stage: Mapping[str, Any]) -> bool:
    there = stage.get("kind") == "ClipSelect" and not stage.get("off")
    return there and stage.get("threshold") is not None


def _clip(name: str, stage: Mapping[str, Any]) -> Limit:
    return Limit(
        stage=name,
        reason=CLIP_RULE,
        column="clip_score",
        kind="at_least",
        threshold=float(stage["threshold"]),
        source="",
        drops_missing=stage.get("missing") == "drop",
        dropped=0,
    )


@dataclass(frozen=True, kw_only=True)
class Recount:
    """What one set of thresholds makes of the corpus."""

    kept: int
    newly_kept: int
    """Of `kept`, those that the recipe drops."""
    newly_dropped: int
    """Kept by the recipe, and not by these thresholds."""
    fails: int
    """Readable samples that break the rule which is moved, whatever else they break."""
    only: int
    """Samples that this rule alone stands against."""


class WhatIf:
    """Recounts one corpus; safe to ask from many threads."""

    def __init__(self, corpus: Corpus, fates: Fates, store: MeasureStore) -> None:
        self._fates, self._store = fates, store
        self._rules = [r for r in rules_of(corpus.manifest) if r.column in store.columns]
        self.movable = {
            m.name: m
            for m in (
                Movable(limit=rule, flag=_flag(rule))
                for rule in self._rules
                if not isinstance(rule.threshold, tuple)
            )
        }
        stages = {rule.stage for rule in self._rules}
        reasons = {(rule.stage, rule.reason) for rule in self._rules}
        free = [
            g.status == KEPT or (g.stage, g.cause) in reasons or _unscored(g.stage, g.cause, stages)
            for g in fates.groups
        ]
        readable = [
            g.status != QUARANTINED and not (g.stage == "ingest" and g.cause == "blocked")
            for g in fates.groups
        ]
        self._free = fates.of_groups(np.array(free, bool))
        self._readable = fates.of_groups(np.array(readable, bool))
        self._kept = fates.kept()
        self._masks: Kept[tuple[Any, ...], Bools] = Kept(_MASKS)
        self._histograms: Kept[str, dict[str, Any]] = Kept(_HISTOGRAMS)

    @property
    def columns(self) -> list[str]:
        """Measures that rules look at."""
        return list(dict.fromkeys(rule.column for rule in self._rules))

    @property
    def readable(self) -> int:
        """Samples that rules can look at."""
        return int(np.count_nonzero(self._readable))

    @property
    def kept(self) -> int:
        """Samples that the recipe keeps."""
        return int(np.count_nonzero(self._kept))

    def recount(self, moved: str, settings: Settings) -> Recount:
        """With the thresholds of `settings`; `moved` is the one that is looked at.

        Raises KeyError for a threshold that the recipe does not have.
        """
        rule = self.movable[moved].limit
        fails = self._fails(rule, settings.get(moved, self.movable[moved].threshold))
        others = self._others(moved, settings)
        alive = others & ~fails
        kept = int(np.count_nonzero(alive))
        both = int(np.count_nonzero(alive & self._kept))
        return Recount(
            kept=kept,
            newly_kept=kept - both,
            newly_dropped=self.kept - both,
            fails=int(np.count_nonzero(fails & self._readable)),
            only=int(np.count_nonzero(others)) - kept,
        )

    def outcome(self, settings: Settings) -> Bools:
        """Positions that these thresholds would keep."""
        return self._others("", settings)

    def beside(self, moved: str, settings: Settings, listed: Bools, count: int) -> Any:
        """Positions just on the failing side of the line, and just on the passing one.

        The nearest first, of samples that no other threshold or stage stands against.
        """
        rule = self.movable[moved].limit
        threshold = settings.get(moved, self.movable[moved].threshold)
        places = np.flatnonzero(self._others(moved, settings) & listed)
        column = self._store.number(rule.column)
        values = column.values[places]
        there = ~np.isnan(values)
        places, values = places[there], values[there]
        limit = column.limit(threshold, rule.kind)
        failing = values < limit if rule.kind == "at_least" else values > limit
        return tuple(
            _nearest(places[side], values[side], threshold, count) for side in (failing, ~failing)
        )

    def histogram(self, name: str) -> dict[str, Any]:
        """Bins of a measure: all samples and those kept. Raises KeyError for no such measure."""
        return self._histograms.get(name, lambda: self._count(self._store.number(name)))

    def _count(self, column: NumberColumn) -> dict[str, Any]:
        limits = [rule for rule in self._rules if rule.column == column.column.name]
        summary = Summary(column=column.column)
        parts = range(0, self._fates.size, _COUNTED)
        for start in parts:
            values = column.values[start : start + _COUNTED].astype(np.float64)
            summary.add(values[np.isfinite(values)], len(values))
        if not summary.measured:
            return {"edges": [], "measured": 0, "missing": summary.missing}
        edges, log = bin_edges(summary, [x for x in limits if not isinstance(x.threshold, tuple)])
        every, kept = np.zeros(len(edges) + 1, np.int64), np.zeros(len(edges) + 1, np.int64)
        for start in parts:
            values = column.values[start : start + _COUNTED].astype(np.float64)
            there = np.isfinite(values)
            every += _binned(values[there], edges)
            kept += _binned(values[there & self._kept[start : start + _COUNTED]], edges)
        return {
            "edges": edges,
            "log": log,
            "integer": column.column.integer,
            "counts": every[1:-1].tolist(),
            "kept": kept[1:-1].tolist(),
            "below": int(every[0]),
            "above": int(every[-1]),
            "measured": summary.measured,
            "missing": summary.missing,
            "minimum": summary.minimum,
            "maximum": summary.maximum,
        }

    def _others(self, moved: str, settings: Settings) -> Bools:
        """Positions against which nothing stands but, perhaps, the rule `moved`."""
        key = (moved, *sorted((k, v) for k, v in settings.items() if k != moved))
        return self._masks.get(key, lambda: self._without(moved, settings))

    def _without(self, moved: str, settings: Settings) -> Bools:
        self._store.prepare(self.columns)
        mask = self._free.copy()
        for rule in self._rules:
            name = f"{rule.stage}.{rule.reason}"
            if name != moved:
                mask &= ~self._fails(rule, settings.get(name, rule.threshold))
        return mask

    def _fails(self, rule: Limit, threshold: float | tuple[str, ...]) -> Bools:
        """As curation.relational.select decides."""
        if isinstance(threshold, tuple):
            return self._fails_words(rule, threshold)
        column = self._store.number(rule.column)
        limit = column.limit(threshold, rule.kind)
        fails: Bools = column.values < limit if rule.kind == "at_least" else column.values > limit
        if rule.drops_missing and rule.reason == CLIP_RULE:
            fails |= np.isnan(column.values)
        elif rule.drops_missing and column.missing is not None:
            fails |= column.missing
        return fails

    def _fails_words(self, rule: Limit, words: tuple[str, ...]) -> Bools:
        column = self._store.word(rule.column)
        if not words:
            fails = np.zeros(self._fates.size, bool)
        else:
            inside = column.among(list(words))
            fails = inside if rule.kind == "none_of" else ~inside & ~column.missing()
        return fails | column.missing() if rule.drops_missing else fails


def _flag(rule: Limit) -> str:
    return f"{rule.stage}.{'threshold' if rule.reason == CLIP_RULE else rule.reason}"


def _unscored(stage: str, cause: str, stages: set[str]) -> bool:
    return cause == "no_clip_score" and stage in stages


def _nearest(places: Positions, values: Any, threshold: float, count: int) -> Positions:
    distance = np.abs(values.astype(np.float64) - threshold)
    if len(places) > count:
        chosen = np.argpartition(distance, count)[:count]
        places, distance = places[chosen], distance[chosen]
    return places[np.lexsort((places, distance))]


def _binned(values: npt.NDArray[np.float64], edges: list[float]) -> npt.NDArray[np.int64]:
    inside, _ = np.histogram(values, edges)
    outside = [np.count_nonzero(values < edges[0]), np.count_nonzero(values > edges[-1])]
    return np.concatenate([outside[:1], inside, outside[1:]]).astype(np.int64)
