"""Histograms of every measure, with the thresholds held against it: two passes, bounded memory.

The first pass counts values by the upper 16 bits of their float32 form, which is enough for
quantiles within a percent; edges are chosen from those; the second pass counts exactly.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation.io.corpus import Corpus
from curation.report.axis import Counts, Limit, Summary, bin_edges
from curation.report.columns import Column, Floats, Mask, measured_columns, stream
from curation.report.funnel import stage_recipes, stage_rules
from schemas.manifest import CorpusManifest

MANY_WORDS = 1_000
"""Distinct values above which a column of words is not counted further."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of one measure: `below` edges[0], in each [edge, next edge), `above` edges[-1].

    The last bin holds its upper edge, as numpy.histogram's does.
    """

    column: Column
    edges: list[float]
    log: bool
    """The axis is logarithmic."""
    counts: list[int]
    below: int
    above: int
    kept: list[int] | None
    """Of `counts`, samples that are kept; null while nothing has been decided."""
    kept_below: int
    kept_above: int
    measured: int
    missing: int
    minimum: float
    maximum: float
    limits: list[Limit]


@dataclass(frozen=True, kw_only=True)
class WordCount:
    """Counts of one column of words, the most frequent first."""

    column: Column
    top: list[tuple[str, int, int | None]]
    """Value, samples, kept samples."""
    distinct: int
    others: int
    """Samples with another value."""
    missing: int
    limits: list[Limit]


@dataclass(frozen=True)
class Measures:
    """All that was measured, in the order of operators and columns."""

    numbers: list[Histogram]
    constant: list[Histogram]
    """Numbers that are the same for every sample and that no rule looks at."""
    words: list[WordCount]

    def limits(self) -> dict[tuple[str, str], Limit]:
        """Every counted threshold by stage and reason."""
        said = [m.limits for m in self.numbers] + [m.limits for m in self.words]
        return {(limit.stage, limit.reason): limit for group in said for limit in group}


@dataclass
class _Words:
    column: Column
    all: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    missing: int = 0

    def add(self, array: Any, kept: Mask | None) -> None:
        if len(self.all) > MANY_WORDS:
            return
        self.missing += array.null_count
        for pair in array.drop_null().value_counts().to_pylist():
            self.all[pair["values"]] += pair["counts"]
        if kept is not None:
            for pair in array.filter(kept).drop_null().value_counts().to_pylist():
                self.kept[pair["values"]] += pair["counts"]


def measures(corpus: Corpus, limits: list[Limit]) -> Measures:
    """Counts every measured column of a corpus; fills in `fails` of each limit it can count."""
    columns = measured_columns(corpus, [limit.column for limit in limits])
    decided = corpus.manifest.ledger is not None
    held = {c.name: [x for x in limits if x.column == c.name] for c in columns}
    summaries = {c.name: Summary(column=c) for c in columns if not c.words}
    words = {c.name: _Words(c) for c in columns if c.words}
    for part in stream(corpus, columns):
        name = part.column.name
        if part.column.words:
            words[name].add(part.array, part.kept)
            continue
        values, _ = part.numbers()
        summaries[name].add(values, len(part.array))
        for limit in _on_numbers(held[name]):
            missing = len(part.array) - len(values) if limit.drops_missing else 0
            limit.fails += limit.count(values) + missing
    there = [s for s in summaries.values() if s.measured]
    counted = _count(corpus, there, held, decided)
    flat = [h for h in counted if h.minimum == h.maximum and not h.limits]
    return Measures(
        numbers=[h for h in counted if h not in flat],
        constant=flat,
        words=[
            _word_count(w, held[w.column.name], decided)
            for w in words.values()
            if w.all and len(w.all) <= MANY_WORDS
        ],
    )


def _on_numbers(limits: list[Limit]) -> list[Limit]:
    return [limit for limit in limits if not isinstance(limit.threshold, tuple)]


def _count(
    corpus: Corpus, summaries: list[Summary], held: dict[str, list[Limit]], decided: bool
) -> list[Histogram]:
    """The second pass."""
    plans = {s.column.name: bin_edges(s, _on_numbers(held[s.column.name])) for s in summaries}
    every = {name: np.zeros(len(edges) + 1, np.int64) for name, (edges, _) in plans.items()}
    kept = {name: np.zeros(len(edges) + 1, np.int64) for name, (edges, _) in plans.items()}
    for part in stream(corpus, [s.column for s in summaries]):
        name = part.column.name
        values, mask = part.numbers()
        every[name] += count_values(values, plans[name][0])
        if mask is not None:
            kept[name] += count_values(values[mask], plans[name][0])
    return [
        Histogram(
            column=s.column,
            edges=plans[s.column.name][0],
            log=plans[s.column.name][1],
            counts=every[s.column.name][1:-1].tolist(),
            below=int(every[s.column.name][0]),
            above=int(every[s.column.name][-1]),
            kept=kept[s.column.name][1:-1].tolist() if decided else None,
            kept_below=int(kept[s.column.name][0]),
            kept_above=int(kept[s.column.name][-1]),
            measured=s.measured,
            missing=s.missing,
            minimum=s.minimum,
            maximum=s.maximum,
            limits=_on_numbers(held[s.column.name]),
        )
        for s in summaries
    ]


def count_values(values: Floats, edges: list[float]) -> Counts:
    """Values below the first edge, in each bin, and above the last."""
    inside, _ = np.histogram(values, edges)
    below = np.count_nonzero(values < edges[0])
    above = np.count_nonzero(values > edges[-1])
    return np.concatenate([[below], inside, [above]]).astype(np.int64)


def _word_count(words: _Words, limits: list[Limit], decided: bool) -> WordCount:
    ranked = sorted(words.all.items(), key=lambda item: (-item[1], item[0]))
    for limit in limits:
        if isinstance(limit.threshold, tuple) and limit.threshold:
            inside = sum(words.all[word] for word in set(limit.threshold))
            total = sum(words.all.values())
            limit.fails = inside if limit.kind == "none_of" else total - inside
            limit.fails += words.missing if limit.drops_missing else 0
    return WordCount(
        column=words.column,
        top=[(w, n, words.kept[w] if decided else None) for w, n in ranked[:12]],
        distinct=len(ranked),
        others=sum(n for _, n in ranked[12:]),
        missing=words.missing,
        limits=[limit for limit in limits if isinstance(limit.threshold, tuple)],
    )


def limits_of(manifest: CorpusManifest) -> list[Limit]:
    """Every threshold of the recipe's select stages, in order."""
    dropped = {stage.stage: stage.reasons for stage in manifest.stages}
    return [
        _limit(name, rule, dropped.get(name, {}))
        for name, stage in stage_recipes(manifest.recipe).items()
        for rule in stage_rules(stage).values()
    ]


def _limit(stage: str, rule: Mapping[str, Any], dropped: Mapping[str, int]) -> Limit:
    threshold = rule["threshold"]
    return Limit(
        stage=stage,
        reason=str(rule["reason"]),
        column=str(rule["column"]),
        kind=str(rule["kind"]),
        threshold=tuple(threshold) if isinstance(threshold, list) else float(threshold),
        source=str(rule.get("source", "")),
        drops_missing=rule.get("missing") == "drop",
        dropped=dropped.get(str(rule["reason"]), 0),
    )
