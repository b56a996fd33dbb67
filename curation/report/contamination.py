"""What of each benchmark stood in the corpus."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curation.io.corpus import Corpus
from curation.report.funnel import reason_meaning, stage_recipes
from curation.report.stage_tables import stage_table, stages_of
from curation.report.wording import display_safe

ITEMS = 8
"""Items of a benchmark that are named, those that most samples match."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way in which samples match."""

    reason: str
    meaning: str
    items: int
    samples: int
    """A sample counts once an item and way."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The matches of one benchmark."""

    name: str
    notes: dict[str, int]
    """What it holds, what of it could not be compared, samples that match."""
    ways: list[Way] = field(default_factory=list)
    items: list[tuple[str, str, int]] = field(default_factory=list)
    """Item, reason, samples."""
    more_items: int = 0


@dataclass(frozen=True, kw_only=True)
class Decontaminated:
    """One stage that holds the corpus against benchmarks."""

    stage: str
    dropped: int
    benchmarks: list[Benchmark]


def decontaminated(corpus: Corpus) -> list[Decontaminated]:
    """Of each stage that was given benchmarks."""
    recipe = stage_recipes(corpus.manifest.recipe)
    found = []
    for stage in stages_of(corpus, "Decontaminate"):
        matches = stage_table(corpus, stage, "matches")
        given = sorted(str(b["name"]) for b in recipe[stage.stage].get("benchmarks", []))
        if matches is None or not given:
            continue
        found.append(
            Decontaminated(
                stage=stage.stage,
                dropped=stage.dropped,
                benchmarks=[_benchmark(name, matches, stage.notes) for name in given],
            )
        )
    return found


def _benchmark(name: str, matches: pa.Table, notes: dict[str, int]) -> Benchmark:
    mine = matches.filter(pc.equal(matches["benchmark"], name))
    summed = mine.group_by("reason").aggregate([("samples", "sum"), ("item", "count")])
    ranked = mine.sort_by(
        [("samples", "descending"), ("item", "ascending"), ("reason", "ascending")]
    )
    return Benchmark(
        name=display_safe(name, 80),
        notes={
            k.removeprefix(f"{name}: "): v for k, v in notes.items() if k.startswith(f"{name}: ")
        },
        ways=[
            Way(
                reason=row["reason"],
                meaning=reason_meaning(row["reason"]),
                items=row["item_count"],
                samples=row["samples_sum"],
            )
            for row in summed.sort_by("reason").to_pylist()
        ],
        items=[
            (display_safe(row["item"] or "", 80), row["reason"], row["samples"])
            for row in ranked.slice(0, ITEMS).to_pylist()
        ],
        more_items=max(0, mine.num_rows - ITEMS),
    )
