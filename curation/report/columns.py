"""Measured columns of a corpus, streamed a shard and a file at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.core.corpus import Layer, StageLedger, index_path
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from schemas import DROPPED, KEPT, QUARANTINED

INGESTED = "ingested"
"""Status of a readable sample while nothing has been decided."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_INDEX_COLUMNS = ("width", "height", "license", "domain")
"""Columns of the index that are measures too, where a rule asks for them."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A measure and where it lies."""

    name: str
    operator: str
    """Empty for a column of the index."""
    folder: str
    """Of its Parquet files, one a shard."""
    words: bool
    """Text, counted by value, and no number."""
    integer: bool
    """Whole numbers."""

    def path(self, shard: int) -> str:
        return f"{self.folder}/{shard:09d}.parquet"


def measured_columns(corpus: Corpus, ruled: list[str]) -> list[Column]:
    """Every number and word that was measured, and columns of the index that rules name.

    Hashes, uids, numbers of clusters, lists and binary columns are no measures to draw and are
    left out.
    """
    if not corpus.shards:
        return []
    first = corpus.shards[0].shard
    found: list[Column] = []
    wanted = [name for name in _INDEX_COLUMNS if name in ruled]
    found += _columns(corpus, "", index_path(first), wanted)
    for ref in corpus.manifest.layers:
        path = Layer(ref.operator, ref.fingerprint).path(first)
        names = [n for n in ref.columns if not n.endswith("hash") and n != "cluster"]
        found += _columns(corpus, ref.operator, path, names)
    return found


def _columns(corpus: Corpus, operator: str, path: str, names: list[str]) -> list[Column]:
    with corpus.store.open(path) as file:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(f"{corpus.store.path(path)}: damaged file ({error})") from error
    columns = []
    for name in names:
        kind = schema.field(name).type
        words = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        if words or whole or pa.types.is_floating(kind):
            folder = path.rpartition("/")[0]
            columns.append(
                Column(name=name, operator=operator, folder=folder, words=words, integer=whole)
            )
    return columns


def final_ledger(corpus: Corpus) -> StageLedger | None:
    """The ledger with a row a sample, once decided."""
    ledger = corpus.manifest.ledger
    return StageLedger("final", ledger) if ledger is not None else None


def statuses(corpus: Corpus, columns: list[str]) -> Iterator[pa.Table]:
    """Of each shard, `columns` of its final ledger, or of what ingest alone knows of its rows.

    In the second case `status` is `ingested`, quarantined (`error`) or dropped (`detail` names
    the blocklist), as `ledger_of_index` makes it.
    """
    ledger = final_ledger(corpus)
    for shard in corpus.shards:
        if ledger is not None:
            yield read_table(corpus.store, ledger.path(shard.shard), columns)
        else:
            path = index_path(shard.shard)
            index = read_table(corpus.store, path, ["shard", "row", "uid", "error", "blocked"])
            yield ledger_of_index(index).select(columns)


def ledger_of_index(index: pa.Table) -> pa.Table:
    """A ledger in place of one that has not been made: what ingest says of each row."""
    blocked, failed = index["blocked"].is_valid(), index["error"].is_valid()
    size = index.num_rows
    status = pc.if_else(blocked, DROPPED, pc.if_else(failed, QUARANTINED, INGESTED))
    stage = pc.if_else(pc.or_(blocked, failed), "ingest", pa.scalar(None, pa.string()))
    return pa.table(
        {
            "shard": index["shard"],
            "row": index["row"],
            "uid": index["uid"],
            "status": status,
            "stage": stage,
            "reason": pc.if_else(blocked, "blocked", pa.scalar(None, pa.string())),
            "value": pa.nulls(size, pa.float64()),
            "threshold": pa.nulls(size, pa.float64()),
            "detail": index["blocked"],
            "kept_by": pa.nulls(size, pa.string()),
            "kept_by_shard": pa.nulls(size, pa.int32()),
            "kept_by_row": pa.nulls(size, pa.int32()),
            "error": pc.if_else(blocked, pa.scalar(None, pa.string()), index["error"]),
        }
    )


@dataclass(frozen=True)
class Values:
    """One column of one shard."""

    column: Column
    array: pa.ChunkedArray
    kept: Mask | None
    """Which rows are kept; null while nothing has been decided."""

    def numbers(self) -> tuple[Floats, Mask | None]:
        """The finite numbers, as float64, and which of them are kept."""
        there = np.asarray(self.array.is_valid())
        values: Any = self.array.cast(pa.float64()).to_numpy()
        there &= np.isfinite(values)
        return values[there], None if self.kept is None else self.kept[there]


def stream(corpus: Corpus, columns: list[Column]) -> Iterator[Values]:
    """`columns` shard by shard: in memory is one file of one shard, never a corpus."""
    by_folder: dict[str, list[Column]] = {}
    for column in columns:
        by_folder.setdefault(column.folder, []).append(column)
    ledger = final_ledger(corpus)
    for shard in corpus.shards:
        kept: Mask | None = None
        if ledger is not None:
            status = read_table(corpus.store, ledger.path(shard.shard), ["status"])["status"]
            kept = np.asarray(pc.equal(status, KEPT))
        for group in by_folder.values():
            path = group[0].path(shard.shard)
            table = read_table(corpus.store, path, [column.name for column in group])
            if table.num_rows != shard.samples:
                raise CorpusError(
                    f"{corpus.store.path(path)}: {table.num_rows:,} rows for a shard of "
                    f"{shard.samples:,} samples; delete the file and measure again"
                )
            for column in group:
                yield Values(column, table[column.name], kept)
