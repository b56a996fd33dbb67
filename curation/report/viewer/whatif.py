"""What if a threshold were another: how many samples would be kept, recounted and not rescored.

Exact for stages that look at one sample at a time: `Select`, and `ClipSelect`, whose top fraction
is taken anew of those that would come to it. What every other stage took away stays away, and a
sample that a looser threshold lets in counts as kept: de-duplication and balance have not looked
at it.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.io.corpus import Corpus
from curation.report.axis import Limit, Summary, bin_edges
from curation.report.funnel import stage_recipes
from curation.report.viewer.fates import Bools, Fates, Positions
from curation.report.viewer.kept import Kept
from curation.report.viewer.measures import MeasureStore, NumberColumn
from curation.report.viewer.movable import (
    CLIP_FIELDS,
    TOP_RULE,
    Limits,
    Movable,
    Settings,
    flag_of,
    is_unscored,
    name_of,
    recorded_cuts,
    rules_of,
)
from curation.report.viewer.top_share import Ranks
from schemas import DROPPED, KEPT, QUARANTINED

_MASKS = 6
"""Sets of thresholds whose outcome is kept at hand, a byte a sample each."""
_HISTOGRAMS = 200
_COUNTED = 1 << 20
"""Values that are binned at once."""
_RANKED = 4
"""Sets of sorted scores that are kept at hand, four bytes a sample each."""


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
    cuts: dict[str, float]
    """Lowest score that stays by each top fraction."""
    share: float | None = None
    """The top fraction that is looked at."""


class WhatIf:
    """Recounts one corpus; safe to ask from many threads."""

    def __init__(self, corpus: Corpus, fates: Fates, store: MeasureStore) -> None:
        self._fates, self._store = fates, store
        recipe = stage_recipes(corpus.manifest.recipe)
        self._order = {name: nth for nth, name in enumerate(recipe)}
        self._rules = [r for r in rules_of(corpus.manifest) if r.column in store.columns]
        self._shares = {
            name_of(rule): float(recipe[rule.stage][CLIP_FIELDS[TOP_RULE]])
            for rule in self._rules
            if rule.reason == TOP_RULE
        }
        self._recorded = recorded_cuts(corpus) if self._shares else {}
        self._sorted: Kept[tuple[Any, ...], Ranks] = Kept(_RANKED)
        stages = {rule.stage for rule in self._rules}
        reasons = {(rule.stage, rule.reason) for rule in self._rules}
        free = [
            g.status == KEPT
            or (g.stage, g.cause) in reasons
            or is_unscored(g.stage, g.cause, stages)
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

    @cached_property
    def movable(self) -> dict[str, Movable]:
        """Thresholds on numbers by name."""
        known = self._shares.keys() <= self._recorded.keys()  # spares reading measures at the start
        cuts = self._recorded if known else self.limits({})
        numbers = {
            name_of(rule): rule for rule in self._rules if not isinstance(rule.threshold, tuple)
        }
        found = [
            Movable(
                limit=replace(rule, threshold=cuts[name]) if name in self._shares else rule,
                flag=flag_of(rule),
                share=self._shares.get(name),
            )
            for name, rule in numbers.items()
        ]
        return {one.name: one for one in found if math.isfinite(one.threshold) or not one.share}

    def limits(self, settings: Settings) -> dict[str, float]:
        """Where thresholds stand with `settings`; of those that are no top fraction the moved."""
        found = {name: value for name, value in settings.items() if name not in self._shares}
        for name, share in self._shares.items():
            found[name] = self.ranks(name, found).cut(settings.get(name, share))
        return found

    def ranks(self, name: str, limits: Limits) -> Ranks:
        """Scores that come to the stage of a top fraction where earlier thresholds are `limits`."""
        (rule,) = (rule for rule in self._rules if name_of(rule) == name)
        nth = self._order[rule.stage]
        before = [r for r in self._rules if self._order[r.stage] < nth]
        moved = tuple((name_of(r), limits[name_of(r)]) for r in before if name_of(r) in limits)
        return self._sorted.get((name, *moved), lambda: self._rank(rule, before, limits))

    def _rank(self, rule: Limit, before: list[Limit], limits: Limits) -> Ranks:
        reasons = {(r.stage, r.reason) for r in before}
        stages = {r.stage for r in before}
        come = [
            g.status == KEPT
            or (g.status == DROPPED and self._order.get(g.stage, -1) >= self._order[rule.stage])
            or (g.stage, g.cause) in reasons
            or is_unscored(g.stage, g.cause, stages)
            for g in self._fates.groups
        ]
        mask = self._fates.of_groups(np.array(come, bool))
        self._store.prepare(self.columns)
        for one in before:
            mask &= ~self._stands(one, limits)
        values = self._store.number(rule.column).values[mask]
        return Ranks(np.sort(values[~np.isnan(values)]))

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

    def recount(self, moved: str, settings: Settings, at: float | None = None) -> Recount:
        """With the thresholds of `settings`; `moved` is the one that is looked at.

        `at` is where it is dragged to, in the measure's unit: of a top fraction the share is found
        that comes nearest. Raises KeyError for a threshold that the recipe does not have.
        """
        settings = self.dragged(moved, settings, at)
        limits = self.limits(settings)
        rule = self.movable[moved]
        fails = self._fails(rule.limit, limits.get(moved, rule.threshold))
        others = self._others(moved, limits)
        alive = others & ~fails
        kept = int(np.count_nonzero(alive))
        both = int(np.count_nonzero(alive & self._kept))
        return Recount(
            kept=kept,
            newly_kept=kept - both,
            newly_dropped=self.kept - both,
            fails=int(np.count_nonzero(fails & self._readable)),
            only=int(np.count_nonzero(others)) - kept,
            cuts={name: limits[name] for name in self._shares},
            share=None if rule.share is None else settings.get(moved, rule.share),
        )

    def dragged(self, moved: str, settings: Settings, at: float | None) -> Settings:
        """`settings` with one threshold dragged to `at`, in the measure's unit."""
        if at is None:
            return settings
        if moved not in self._shares:
            return {**settings, moved: at}
        return {**settings, moved: self.ranks(moved, self.limits(settings)).share(at)}

    def outcome(self, settings: Settings) -> Bools:
        """Positions that these thresholds would keep."""
        return self._others("", self.limits(settings))

    def passing(self, limits: Limits) -> Bools:
        """The same, with thresholds in the measures' units."""
        return self._others("", {**self.limits({}), **limits})

    def beside(self, moved: str, settings: Settings, listed: Bools, count: int) -> Any:
        """Positions just on the failing side of the line, and just on the passing one.

        The nearest first, of samples that no other threshold or stage stands against.
        """
        rule = self.movable[moved].limit
        limits = self.limits(settings)
        threshold = limits.get(moved, self.movable[moved].threshold)
        places = np.flatnonzero(self._others(moved, limits) & listed)
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
        limits = [m.limit for m in self.movable.values() if m.limit.column == column.column.name]
        summary = Summary(column=column.column)
        parts = range(0, self._fates.size, _COUNTED)
        for start in parts:
            values = column.values[start : start + _COUNTED].astype(np.float64)
            summary.add(values[np.isfinite(values)], len(values))
        if not summary.measured:
            return {"edges": [], "measured": 0, "missing": summary.missing}
        edges, log = bin_edges(summary, limits)
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

    def _others(self, moved: str, limits: Limits) -> Bools:
        """Positions against which nothing stands but, perhaps, the rule `moved`."""
        key = (moved, *sorted((k, v) for k, v in limits.items() if k != moved))
        return self._masks.get(key, lambda: self._without(moved, limits))

    def _without(self, moved: str, limits: Limits) -> Bools:
        self._store.prepare(self.columns)
        mask = self._free.copy()
        for rule in self._rules:
            if name_of(rule) != moved:
                mask &= ~self._stands(rule, limits)
        return mask

    def _stands(self, rule: Limit, limits: Limits) -> Bools:
        """What a rule stands against, with its threshold of `limits` or its own."""
        moved = limits.get(name_of(rule))
        return self._fails(rule, rule.threshold if moved is None else moved)

    def _fails(self, rule: Limit, threshold: float | tuple[str, ...]) -> Bools:
        """As curation.relational.select decides."""
        if isinstance(threshold, tuple):
            return self._fails_words(rule, threshold)
        column = self._store.number(rule.column)
        limit = column.limit(threshold, rule.kind)
        fails: Bools = column.values < limit if rule.kind == "at_least" else column.values > limit
        if rule.drops_missing and rule.reason in CLIP_FIELDS:
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
