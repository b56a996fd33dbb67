"""What balance made of common and rare entries: concepts of a vocabulary, or visual clusters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.io.corpus import Corpus
from curation.report.funnel import stage_recipes
from curation.report.rank_chart import Counts, RankChart, rank_chart
from curation.report.stage_tables import stage_table, stages_of
from curation.report.wording import display_safe, percent
from schemas.manifest import StageSummary

HEAD, TAIL = 15, 15
"""Entries that are named: the most common, and the rarest."""
DRAWN = 4
"""Languages with a chart of their own, those with most matches; the others stand in a table."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry: samples that came, samples that stayed, and the chance of a draw."""

    name: str
    samples: int
    kept: int
    p: float


@dataclass(frozen=True, kw_only=True)
class Language:
    """Entries that are balanced among each other: of one language, or all clusters."""

    name: str
    entries: int
    """Those that a sample matches."""
    unseen: int | None
    """Entries of the vocabulary that no sample matches; null where it is not at hand."""
    matches: int
    kept: int
    """Matches that stayed."""
    t: int
    in_head: int
    """Entries on more than t samples."""
    head_before: str
    """Share of all matches that the head has."""
    head_after: str
    emptied: int
    """Entries of which nothing stayed."""
    head: list[Entry]
    tail: list[Entry]
    chart: RankChart


@dataclass(frozen=True, kw_only=True)
class Evened:
    """One stage that balances."""

    stage: str
    clusters: bool
    """It balances visual clusters, not concepts."""
    named: bool
    """Entries are shown by name, not by number."""
    entered: int
    left: int
    notes: dict[str, int]
    drawn: list[Language]
    others: list[Language]


def evened(corpus: Corpus, entries: Mapping[str, Mapping[str, int]]) -> list[Evened]:
    """Of each stage that balances something; `entries`: see vocabulary_entries."""
    return [
        _evened(stage, counts, thresholds, {} if by == "cluster" else entries, by == "cluster")
        for stage, counts, thresholds, by in balance_tables(corpus)
    ]


def balance_tables(corpus: Corpus) -> Iterator[tuple[StageSummary, pa.Table, pa.Table, str]]:
    """Each stage that balanced something: its counts, its thresholds, and what it balances by."""
    recipe = stage_recipes(corpus.manifest.recipe)
    for stage in stages_of(corpus, "Balance"):
        counts = stage_table(corpus, stage, "counts")
        thresholds = stage_table(corpus, stage, "thresholds")
        if counts is not None and thresholds is not None and counts.num_rows:
            yield stage, counts, thresholds, str(recipe[stage.stage].get("by"))


def _evened(
    stage: StageSummary,
    counts: pa.Table,
    thresholds: pa.Table,
    entries: Mapping[str, Mapping[str, int]],
    clusters: bool,
) -> Evened:
    t_of = {row["language"]: row["t"] for row in thresholds.to_pylist()}
    languages = [
        _language(name, t, counts.filter(pc.equal(counts["language"], name)), entries.get(name))
        for name, t in t_of.items()
    ]
    languages.sort(key=lambda language: (-language.matches, language.name))
    return Evened(
        stage=stage.stage,
        clusters=clusters,
        named=bool(entries),
        entered=stage.entered,
        left=stage.kept,
        notes=stage.notes,
        drawn=languages[:DRAWN],
        others=languages[DRAWN:],
    )


def _language(name: str, t: int, counts: pa.Table, known: Mapping[str, int] | None) -> Language:
    ids = counts["entry"].to_numpy()
    samples, kept = counts["samples"].to_numpy(), counts["kept"].to_numpy()
    p = counts["p"].to_numpy()
    order = np.lexsort((ids, -samples))
    common = samples > t
    names = {number: entry for entry, number in known.items()} if known else {}

    def named(places: Counts) -> list[Entry]:
        return [
            Entry(
                name=display_safe(names.get(int(ids[at]), f"{name}:{ids[at]}"), 60),
                samples=int(samples[at]),
                kept=int(kept[at]),
                p=float(p[at]),
            )
            for at in places
        ]

    return Language(
        name=display_safe(name, 40),
        entries=len(ids),
        unseen=len(known) - len(ids) if known else None,
        matches=int(samples.sum()),
        kept=int(kept.sum()),
        t=t,
        in_head=int(common.sum()),
        head_before=percent(int(samples[common].sum()), int(samples.sum())),
        head_after=percent(int(kept[common].sum()), int(kept.sum())),
        emptied=int(np.count_nonzero(kept == 0)),
        head=named(order[:HEAD]),
        tail=named(order[HEAD:][::-1][:TAIL]),
        chart=rank_chart(samples, kept, t),
    )
