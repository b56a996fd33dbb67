"""How a run did on the demo corpus: of each planted defect how many were caught, and what was lost.

Only this module reads the truth table, and only after a run has decided.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.core.corpus import StageLedger, index_path
from curation.core.errors import CorpusError
from curation.demo.defects import DEFECTS
from curation.demo.generate import TRUTH_FILE, seed_of
from curation.demo.score_captions import Worth, worth
from curation.io.corpus import Corpus, open_corpus
from curation.io.store import Store
from curation.io.tables import read_table
from schemas import KEPT

RESAMPLING = ("balance", "cluster_balance", "water_fill")
"""Stages that judge no sample: what they give up is not caught, nor wrongly dropped."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What a run made of one pair."""

    kept: bool
    stage: str = ""
    reason: str = ""
    """Reason of a drop, or error code."""


@dataclass(kw_only=True)
class Tally:
    """One kind of defect."""

    planted: int = 0
    caught: int = 0
    """Not kept; of a group of duplicates all but one."""
    by: Counter[str] = field(default_factory=Counter)
    """Caught, by reason."""
    missed: Counter[str] = field(default_factory=Counter)
    """Kept, by variant of the defect; an empty name where it has none."""


HEAD = 10
"""Concepts whose share tells the skew."""


@dataclass(frozen=True, kw_only=True)
class Skew:
    """How much of all mentions falls to the HEAD most named concepts."""

    concepts: int
    """Named at least once."""
    most_before: int
    """Samples that name the most named concept, before balance."""
    most_after: int
    head_before: float
    """Share of mentions, 0-1."""
    head_after: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """A whole run against the truth."""

    tallies: dict[str, Tally]
    """Defect to tally, in the order of DEFECTS."""
    clean: int
    """Pairs without a defect."""
    wrong: Counter[str]
    """Clean pairs that were lost, by reason."""
    wrong_rows: dict[int, str]
    """Line of each of them in `pairs.jsonl`, and its reason."""
    resampled: int = 0
    """Pairs that balance gave up: nothing is wrong with them, they count as kept above."""
    skew: Skew | None = None
    """Null where nothing was balanced."""
    worth: Worth | None = None
    """Null where no new caption was written."""

    def wrong_of(self, defect: str) -> int:
        """Clean pairs lost by a reason that is meant for that defect."""
        return sum(self.wrong[reason] for reason in DEFECTS[defect].reasons)


def score(out: Path, run: Path) -> Score:
    """Scores `run` over the source of `out`. Raises CorpusError where they do not match."""
    truth = read_table(Store(str(out)), TRUTH_FILE).to_pylist()
    corpus = open_corpus(str(run))
    made = tally(truth, fates(corpus))
    return replace(made, skew=skew(corpus), worth=worth(corpus, truth, seed_of(out)))


def skew(corpus: Corpus) -> Skew | None:
    """The concept skew before and after the first stage that balanced concepts."""
    stages = (stage for stage in corpus.manifest.stages if stage.stage == "balance")
    ref = next((stage.tables["counts"] for stage in stages if "counts" in stage.tables), None)
    counts = read_table(corpus.store, ref.path, ["samples", "kept"]) if ref else None
    if counts is None or not counts.num_rows:
        return None
    before = sorted(counts["samples"].to_pylist(), reverse=True)
    after = sorted(counts["kept"].to_pylist(), reverse=True)
    return Skew(
        concepts=len(before),
        most_before=before[0],
        most_after=after[0],
        head_before=sum(before[:HEAD]) / sum(before),
        head_after=sum(after[:HEAD]) / max(1, sum(after)),
    )


def fates(corpus: Corpus) -> dict[int, Fate]:
    """What became of each line of `pairs.jsonl`. Raises CorpusError for an undecided corpus."""
    if corpus.manifest.ledger is None:
        raise CorpusError(f"{corpus.store.path('')}: nothing is decided yet; finish the run first")
    final = StageLedger("final", corpus.manifest.ledger)
    found = {}
    for ref in corpus.shards:
        source = read_table(corpus.store, index_path(ref.shard), ["source"])["source"]
        columns = ["status", "stage", "reason", "error"]
        verdicts: pa.Table = read_table(corpus.store, final.path(ref.shard), columns)
        for told, verdict in zip(source.to_pylist(), verdicts.to_pylist(), strict=True):
            found[int(json.loads(told)["row"])] = Fate(
                kept=verdict["status"] == KEPT or verdict["stage"] in RESAMPLING,
                stage=verdict["stage"] or "",
                reason=verdict["reason"] or verdict["error"] or "",
            )
    return found


def tally(truth: list[dict[str, Any]], found: dict[int, Fate]) -> Score:
    """Holds every fate against the truth. Raises CorpusError where a pair has none, or too many."""
    if {row["row"] for row in truth} != set(found):
        raise CorpusError(
            f"a run of {len(found):,} samples, a truth table of {len(truth):,}: not of one corpus"
        )
    tallies = {name: Tally() for name in DEFECTS}
    staying = _staying(truth, found)
    wrong: Counter[str] = Counter()
    wrong_rows: dict[int, str] = {}
    clean = 0
    resampled = sum(fate.kept and fate.stage in RESAMPLING for fate in found.values())
    for row in truth:
        n, fate = row["row"], found[row["row"]]
        if row["defect"] is None:
            clean += 1
            excused = fate.stage.endswith("dedup") and n in staying
            if not fate.kept and not excused:
                wrong[fate.reason] += 1
                wrong_rows[n] = fate.reason
            continue
        one = tallies[row["defect"]]
        one.planted += 1
        if not fate.kept:
            one.caught += 1
            one.by[fate.reason] += 1
        elif staying.get(row["original"]) == n:
            one.caught += 1  # it stays for its group, the original went
            one.by["original dropped"] += 1
        else:
            one.missed[row["detail"] or ""] += 1
    return Score(
        tallies=tallies, clean=clean, wrong=wrong, wrong_rows=wrong_rows, resampled=resampled
    )


def _staying(truth: list[dict[str, Any]], found: dict[int, Fate]) -> dict[int, int]:
    """Of each group of duplicates, by its original: the member that may stay, the first kept."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row in truth:
        if row["original"] is not None:
            groups[row["original"]].append(row["row"])
    staying = {}
    for original, copies in groups.items():
        kept = [n for n in (original, *sorted(copies)) if found[n].kept]
        if kept:
            staying[original] = kept[0]
    return staying
