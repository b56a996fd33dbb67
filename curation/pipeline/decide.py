"""Decides: runs a recipe's stages in order, each over the survivors of the one before."""

import bisect
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.core.corpus import Layer, StageLedger
from curation.core.engine import Engine
from curation.core.errors import LedgerError, UsageError
from curation.core.fingerprint import canonical, digest
from curation.core.manifest import decode_summary
from curation.core.progress import Progress
from curation.core.step import VERDICT_COLUMNS, RelationalStep, SelectStep, Step
from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import write_table
from curation.pipeline.decide_shard import (
    NO_VERDICTS,
    CloseShard,
    CommitShard,
    ProjectShard,
    SelectShard,
)
from curation.pipeline.survivors import Survivors, wanted_columns
from schemas import DROPPED, KEPT, QUARANTINED
from schemas.manifest import LayerRef, StageSummary, TableRef, Totals

MANY_LICENSES = 10_000
"""Distinct licence texts above which the manifest counts them together."""


@dataclass(frozen=True)
class Decision:
    """What the stages made of a corpus."""

    stages: list[StageSummary]
    final: StageLedger
    totals: Totals
    licenses: dict[str, list[int]]
    sources: list[list[int]]
    languages: dict[str, int]


@dataclass
class _Chain:
    """The stages so far."""

    corpus: Corpus
    layers: dict[str, tuple[Layer, tuple[str, ...]]]
    engine: Engine
    progress: Progress
    ledgers: list[StageLedger] = field(default_factory=list)

    def ledger(self, step: Step, reads: dict[str, str]) -> StageLedger:
        before = self.ledgers[-1].fingerprint if self.ledgers else ""
        parts = {
            "step": type(step).__name__,
            "version": step.version,
            "parameters": step,
            "reads": reads,
            "before": before,
            "shards": self.corpus.shards_sha256,
        }
        return StageLedger(step.name, digest(parts))

    def survivors(self, step: Step) -> Survivors:
        if step.off:
            return Survivors(self.corpus.store, (), (), tuple(self.ledgers))
        try:
            index, layers = wanted_columns(step.requires.names, self.layers)
        except KeyError as missing:
            column = missing.args[0]
            raise UsageError(
                f"stage {step.name} needs {column}, which is not measured yet; "
                "run `curate measure all CORPUS` first"
            ) from missing
        return Survivors(self.corpus.store, layers, index, tuple(self.ledgers), step.excuses)


def decide(
    corpus: Corpus,
    steps: tuple[Step, ...],
    layers: list[LayerRef],
    engine: Engine,
    progress: Progress,
) -> Decision:
    """Runs the stages, reusing ledgers that are already there, and closes the final ledger.

    Raises LedgerError if kept + dropped + quarantined is not what was ingested, at any stage.
    """
    given = {
        ref.operator: (Layer(ref.operator, ref.fingerprint), tuple(ref.columns)) for ref in layers
    }
    chain = _Chain(corpus, given, engine, progress)
    summaries: list[StageSummary] = []
    entering = corpus.samples
    for step in steps:
        summary = _stage(chain, step)
        if summary.choices and sum(summary.choices.values()) != summary.kept:
            raise LedgerError(f"stage {step.name}: does not choose for each sample that it keeps")
        if summary.entered != entering or summary.kept < 0:
            raise LedgerError(
                f"stage {step.name}: {summary.entered} samples entered, {entering} were left"
            )
        summaries.append(summary)
        entering = summary.kept
    return _close(chain, summaries)


def _stage(chain: _Chain, step: Step) -> StageSummary:
    survivors = chain.survivors(step)
    reads = {layer.operator: layer.fingerprint for layer, _ in survivors.layers}
    ledger = chain.ledger(step, reads)
    store = chain.corpus.store
    if store.exists(ledger.done):
        chain.ledgers.append(ledger)
        return decode_summary(store.read(ledger.done), store.path(ledger.done))
    notes: dict[str, int] = {}
    tables: dict[str, TableRef] = {}
    if step.off or isinstance(step, SelectStep):
        counted = _select(chain, step, survivors, ledger)
    elif isinstance(step, RelationalStep):
        counted, notes, tables = _relate(chain, step, survivors, ledger)
    else:
        raise UsageError(f"{step.name}: neither a select nor a relational step")
    reasons, errors = Counter(counted["reasons"]), Counter(counted["errors"])
    entered = counted["entered"]
    dropped, quarantined = sum(reasons.values()), sum(errors.values())
    summary = StageSummary(
        stage=step.name,
        fingerprint=ledger.fingerprint,
        entered=entered,
        kept=entered - dropped - quarantined,
        dropped=dropped,
        quarantined=quarantined,
        reasons=dict(sorted(reasons.items())),
        errors=dict(sorted(errors.items())),
        notes=notes,
        tables=tables,
        off=step.off,
        choices=dict(sorted(counted["choices"].items())),
    )
    store.settle(ledger.folder)
    store.write(ledger.done, canonical(summary).encode())
    chain.ledgers.append(ledger)
    return summary


def _select(chain: _Chain, step: Step, survivors: Survivors, ledger: StageLedger) -> dict[str, Any]:
    task = SelectShard(survivors, step, ledger)
    total = _Sum()
    with chain.progress.track(step.name, chain.corpus.samples, "samples") as tracker:
        for result in chain.engine.at(step.name).map(task, chain.corpus.shards):
            tracker.advance(result["samples"])
            total.add(result)
    return total.value()


class _Sum:
    def __init__(self) -> None:
        self.entered = 0
        self.reasons: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.choices: Counter[str] = Counter()

    def add(self, part: dict[str, Any]) -> None:
        self.entered += part["entered"]
        self.reasons.update(part["reasons"])
        self.errors.update(part["errors"])
        self.choices.update(part.get("choices", {}))

    def value(self) -> dict[str, Any]:
        return {
            "entered": self.entered,
            "reasons": self.reasons,
            "errors": self.errors,
            "choices": self.choices,
        }


def _relate(
    chain: _Chain, step: RelationalStep, survivors: Survivors, ledger: StageLedger
) -> tuple[dict[str, Any], dict[str, int], dict[str, TableRef]]:
    """Projects the survivors, runs the step in SQL, and commits its ledger shard by shard."""
    corpus, engine = chain.corpus, chain.engine.at(step.name)
    total = _Sum()
    with engine.folder() as folder:
        task = ProjectShard(survivors, folder, step.requires)
        with chain.progress.track(f"{step.name}: read", corpus.samples, "samples") as tracker:
            for result in engine.map(task, corpus.shards):
                tracker.advance(result["samples"])
        with (
            chain.progress.track(step.name, corpus.samples, "samples") as tracker,
            engine.session() as session,
        ):
            files = [f"{folder}/{shard.shard:09d}.parquet" for shard in corpus.shards]
            session.read_files("survivors", files)
            step.decide(session)
            notes = step.notes(session)
            tables = {
                name: _keep(corpus.store, ledger, name, session.rows(query))
                for name, query in step.tables().items()
            }
            query = f"SELECT shard, row, {', '.join(VERDICT_COLUMNS.names)} FROM verdicts"
            commit = CommitShard(corpus.store, ledger, folder)
            for done in session.each(query, NO_VERDICTS.schema, corpus.shards, commit):
                total.add(done)
                tracker.advance(done["samples"])
    return total.value(), notes, tables


def _keep(store: Store, ledger: StageLedger, name: str, table: pa.Table) -> TableRef:
    """Commits a table that explains a stage, beside its ledger."""
    path = ledger.table(name)
    sha256 = write_table(store, path, table, table.schema, {"fingerprint": ledger.fingerprint})
    return TableRef(path=path, sha256=sha256, rows=table.num_rows)


def _close(chain: _Chain, summaries: list[StageSummary]) -> Decision:
    corpus = chain.corpus
    final = StageLedger(
        "final",
        digest(
            {
                "stages": [ledger.fingerprint for ledger in chain.ledgers],
                "shards": corpus.shards_sha256,
            }
        ),
    )
    language = next(
        (layer for layer, columns in chain.layers.values() if "language" in columns), None
    )
    template = f"{language.folder}/{{shard}}.parquet" if language else None
    task = CloseShard(corpus.store, tuple(chain.ledgers), final, template)
    statuses: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    licenses: dict[str, list[int]] = {}
    sources = [[0, 0] for _ in corpus.manifest.inputs]
    with chain.progress.track("final ledger", corpus.samples, "samples") as tracker:
        for result in chain.engine.map(task, corpus.shards):
            statuses.update(result["statuses"])
            languages.update(result["languages"])
            _merge_licenses(licenses, result["licenses"])
            pair = sources[_input_of(corpus, result["shard"])] if sources else [0, 0]
            pair[0] += result["samples"]
            pair[1] += result["statuses"].get(KEPT, 0)
            tracker.advance(result["samples"])
    totals = Totals(
        ingested=corpus.samples,
        kept=statuses[KEPT],
        dropped=statuses[DROPPED],
        quarantined=statuses[QUARANTINED],
    )
    if totals.kept + totals.dropped + totals.quarantined != totals.ingested:
        raise LedgerError(f"the ledger does not balance: {totals}")
    corpus.store.settle(final.folder)
    corpus.store.write(final.done, json.dumps(vars(totals), sort_keys=True).encode())
    return Decision(
        summaries,
        final,
        totals,
        dict(sorted(licenses.items())),
        sources,
        dict(sorted(languages.items())),
    )


def _input_of(corpus: Corpus, shard: int) -> int:
    """Position of the input that a shard was made from."""
    stops = [made.stop_shard for made in corpus.manifest.inputs]
    return bisect.bisect_right(stops, shard)


def _merge_licenses(into: dict[str, list[int]], part: dict[str, list[int]]) -> None:
    """Adds counts; above MANY_LICENSES distinct texts they are all counted as one."""
    many = f"(more than {MANY_LICENSES} different texts)"
    for stated, (ingested, kept) in part.items():
        pair = into.setdefault(many if many in into else stated, [0, 0])
        pair[0] += ingested
        pair[1] += kept
    if len(into) > MANY_LICENSES:
        pairs = list(into.values())
        into.clear()
        into[many] = [sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)]
