"""A stage's work on one shard: select, hand to a relational step, or close the final ledger."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.core.corpus import StageLedger, index_path
from curation.core.errors import LedgerError
from curation.core.step import VERDICT_COLUMNS, ChoiceStep, SelectStep, Step
from curation.io.corpus import ShardRef
from curation.io.store import Store
from curation.io.tables import encode_table, read_footer, read_table, write_table
from curation.pipeline.survivors import FALLEN, Survivors
from schemas import CHOICE, DROPPED, KEPT, LEDGER, QUARANTINED

NO_LICENSE = "(none stated)"

NO_VERDICTS = pa.schema(
    [("shard", pa.int32()), ("row", pa.int32()), *VERDICT_COLUMNS]
).empty_table()


def ledger_table(verdicts: pa.Table, uids: pa.Table, stage: str, fallen: pa.Table) -> pa.Table:
    """Rows of a stage ledger: what the step drops, and what it could not look at, by row.

    `verdicts` has shard, row and VERDICT_COLUMNS; `uids` row and uid of the same shard.
    """
    size = verdicts.num_rows
    names = dict(zip(uids["row"].to_pylist(), uids["uid"].to_pylist(), strict=True))
    dropped = {name: verdicts[name] for name in ["shard", "row", *VERDICT_COLUMNS.names]}
    dropped["uid"] = pa.array([names[row] for row in verdicts["row"].to_pylist()], pa.string())
    dropped["status"] = pa.array([DROPPED] * size, pa.string())
    dropped["stage"] = pa.array([stage] * size, pa.string())
    dropped["error"] = pa.nulls(size, pa.string())
    parts = [_in_ledger_types(dropped, size)]
    if fallen.num_rows:
        said = {name: fallen[name] for name in fallen.column_names}
        parts.append(_in_ledger_types(said, fallen.num_rows))
    return pa.concat_tables(parts).sort_by("row")


def _in_ledger_types(columns: dict[str, Any], size: int) -> pa.Table:
    arrays = [
        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(size, f.type)
        for f in LEDGER
    ]
    return pa.Table.from_arrays(arrays, schema=LEDGER)


def counts(ledger: pa.Table) -> dict[str, Any]:
    """Rows of a stage ledger by what became of them."""
    reasons: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for status, stage, reason, error in zip(
        *(ledger[name].to_pylist() for name in ("status", "stage", "reason", "error")), strict=True
    ):
        if status == QUARANTINED:
            errors[f"{stage}: {error}"] += 1
        else:
            reasons[reason] += 1
    return {"reasons": dict(sorted(reasons.items())), "errors": dict(sorted(errors.items()))}


def commit_ledger(
    store: Store, ledger: StageLedger, shard: ShardRef, table: pa.Table, entered: int, **more: Any
) -> dict[str, Any]:
    """Writes one shard of a stage ledger; returns `entered`, `reasons`, `errors` and `more`."""
    rows = table["row"].to_pylist()
    if len(set(rows)) != len(rows):
        raise LedgerError(f"{ledger.folder}: shard {shard.shard} decides a sample twice")
    said = {"entered": entered, **counts(table), **more}
    footer = {
        "fingerprint": ledger.fingerprint,
        "index": shard.index_sha256,
        "counts": json.dumps(said, sort_keys=True),
    }
    write_table(store, ledger.path(shard.shard), table, LEDGER, footer)
    return said


def committed(store: Store, ledger: StageLedger, shard: ShardRef) -> dict[str, Any] | None:
    """Counts of a shard that is already in the ledger."""
    footer = read_footer(store, ledger.path(shard.shard))
    if footer is None or footer.get("index") != shard.index_sha256:
        return None
    said: dict[str, Any] = json.loads(footer["counts"])
    return said


@dataclass(frozen=True)
class SelectShard:
    """A task: one shard of the ledger of a select stage, or of any stage that is off."""

    survivors: Survivors
    step: Step
    ledger: StageLedger

    def __call__(self, shard: ShardRef) -> dict[str, Any]:
        store = self.survivors.store
        done = committed(store, self.ledger, shard)
        if done is None:
            rows, fallen = self.survivors.read(shard)
            verdicts = NO_VERDICTS
            more: dict[str, Any] = {}
            if isinstance(self.step, SelectStep) and not self.step.off:
                verdicts = self.step.decide(rows)
            if isinstance(self.step, ChoiceStep) and not self.step.off:
                more["choices"] = self._choose(self.step, shard, rows)
            table = ledger_table(verdicts, rows.select(["row", "uid"]), self.step.name, fallen)
            entered = rows.num_rows + fallen.num_rows
            done = commit_ledger(store, self.ledger, shard, table, entered, **more)
        return {"samples": shard.samples, **done}

    def _choose(self, step: ChoiceStep, shard: ShardRef, rows: pa.Table) -> dict[str, int]:
        """Writes what is chosen for each sample, and nulls for those that are out already."""
        store = self.survivors.store
        index = read_table(store, index_path(shard.shard), ["shard", "row", "uid"])
        chosen = step.choose(rows).select(CHOICE.names).cast(CHOICE)
        places = np.full(shard.samples, -1, np.int64)
        places[chosen["row"].to_numpy()] = np.arange(chosen.num_rows)
        table = chosen.take(pa.array(places, mask=places < 0))
        for at, name in enumerate(index.column_names):
            table = table.set_column(at, CHOICE.field(name), index[name])
        footer = {"fingerprint": self.ledger.fingerprint, "index": shard.index_sha256}
        write_table(store, self.ledger.choices(shard.shard), table, CHOICE, footer)
        return _counted(chosen)


def _counted(chosen: pa.Table) -> dict[str, int]:
    pairs = zip(chosen["choice"].to_pylist(), chosen["reason"].to_pylist(), strict=True)
    said = Counter(f"{choice}: {reason}" if reason else choice for choice, reason in pairs)
    return dict(sorted(said.items()))


@dataclass(frozen=True)
class ProjectShard:
    """A task: hands a shard's survivors to a relational step, as Parquet in a scratch folder."""

    survivors: Survivors
    folder: str
    schema: pa.Schema

    def __call__(self, shard: ShardRef) -> dict[str, Any]:
        rows, fallen = self.survivors.read(shard)
        scratch = Store(self.folder)
        scratch.scratch(f"{shard.shard:09d}.parquet", encode_table(rows, rows.schema, {}))
        if fallen.num_rows:
            name = f"fallen-{shard.shard:09d}.parquet"
            scratch.scratch(name, encode_table(fallen, fallen.schema, {}))
        return {"samples": shard.samples, "entered": rows.num_rows + fallen.num_rows}


@dataclass(frozen=True)
class CommitShard:
    """A task: one shard of the ledger of a relational step, out of its verdicts."""

    store: Store
    ledger: StageLedger
    folder: str
    """Where ProjectShard put what the step read."""

    def __call__(self, shard: ShardRef, verdicts: pa.Table) -> dict[str, Any]:
        done = committed(self.store, self.ledger, shard)
        if done is None:
            scratch = Store(self.folder)
            uids = read_table(scratch, f"{shard.shard:09d}.parquet", ["row", "uid"])
            name = f"fallen-{shard.shard:09d}.parquet"
            fallen = read_table(scratch, name) if scratch.exists(name) else FALLEN.empty_table()
            table = ledger_table(verdicts, uids, self.ledger.stage, fallen)
            entered = uids.num_rows + fallen.num_rows
            done = commit_ledger(self.store, self.ledger, shard, table, entered)
        return {"samples": shard.samples, **done}


@dataclass(frozen=True)
class CloseShard:
    """A task: the final ledger of a shard, a row a sample, from the stages' ledgers."""

    store: Store
    stages: tuple[StageLedger, ...]
    final: StageLedger
    language: str | None
    """Path template of the layer that holds `language`, if the recipe measures it."""

    def __call__(self, shard: ShardRef) -> dict[str, Any]:
        footer = read_footer(self.store, self.final.path(shard.shard))
        if footer and footer.get("index") == shard.index_sha256:
            done: dict[str, Any] = json.loads(footer["counts"])
            return done
        index = read_table(self.store, index_path(shard.shard), ["shard", "row", "uid", "license"])
        parts = [read_table(self.store, ledger.path(shard.shard)) for ledger in self.stages]
        decided = pa.concat_tables([LEDGER.empty_table(), *parts])
        rows = decided["row"].to_pylist()
        if len(set(rows)) != len(rows):
            raise LedgerError(f"shard {shard.shard}: a sample was decided by two stages")
        open_rows = sorted(set(range(index.num_rows)) - set(rows))
        kept = index.take(pa.array(open_rows, pa.int64()))
        columns = {name: kept[name] for name in ("shard", "row", "uid")}
        columns["status"] = pa.array([KEPT] * kept.num_rows, pa.string())
        table = pa.concat_tables([decided, _in_ledger_types(columns, kept.num_rows)]).sort_by("row")
        if table["row"].to_pylist() != list(range(index.num_rows)):
            raise LedgerError(f"shard {shard.shard}: ledger rows are not the shard's rows")
        if not table["uid"].equals(index["uid"]):
            raise LedgerError(f"shard {shard.shard}: ledger rows name other samples")
        said = self._summary(shard, table, index)
        footer = {
            "fingerprint": self.final.fingerprint,
            "index": shard.index_sha256,
            "counts": json.dumps(said, sort_keys=True),
        }
        write_table(self.store, self.final.path(shard.shard), table, LEDGER, footer)
        return said

    def _summary(self, shard: ShardRef, table: pa.Table, index: pa.Table) -> dict[str, Any]:
        statuses = table["status"].to_pylist()
        licenses: dict[str, list[int]] = {}
        for status, stated in zip(statuses, index["license"].to_pylist(), strict=True):
            pair = licenses.setdefault((stated or NO_LICENSE)[:200], [0, 0])
            pair[0] += 1
            pair[1] += status == KEPT
        languages: Counter[str] = Counter()
        if self.language is not None:
            path = self.language.format(shard=f"{shard.shard:09d}")
            found = read_table(self.store, path, ["language"])["language"].to_pylist()
            pairs = zip(statuses, found, strict=True)
            languages.update(code or "(unknown)" for status, code in pairs if status == KEPT)
        return {
            "shard": shard.shard,
            "samples": index.num_rows,
            "statuses": dict(sorted(Counter(statuses).items())),
            "licenses": licenses,
            "languages": dict(sorted(languages.items())),
        }
