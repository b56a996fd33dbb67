"""Who is still in: a shard's index, layers and earlier ledgers, zipped row by row."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.core.corpus import Layer, StageLedger, index_path
from curation.core.errors import CorpusError
from curation.core.funnel import INGEST
from curation.core.step import INDEX_COLUMNS
from curation.io.corpus import ShardRef
from curation.io.media import index_columns
from curation.io.store import Store
from curation.io.tables import read_table
from schemas import DROPPED, LEDGER, QUARANTINED

FALLEN = pa.schema([LEDGER.field(name) for name in ("shard", "row", "uid", "status", "stage")]
                   + [LEDGER.field(name) for name in ("reason", "detail", "error")])  # fmt: skip
"""Rows that a stage cannot look at: unreadable at ingest or in a layer, or blocked at ingest."""


@dataclass(frozen=True)
class Survivors:
    """What one stage reads of a shard."""

    store: Store
    layers: tuple[tuple[Layer, tuple[str, ...]], ...]
    """Layers and the columns wanted of each."""
    columns: tuple[str, ...]
    """Columns wanted of the index."""
    ledgers: tuple[StageLedger, ...]
    """Earlier stages of the recipe."""
    excused: tuple[str, ...] = ()
    """Operators whose errors are handed on in a column `<operator>_error`."""

    def read(self, shard: ShardRef) -> tuple[pa.Table, pa.Table]:
        """Survivors (shard, row, uid and the wanted columns), and FALLEN rows, both by row."""
        index = index_columns(read_table(self.store, index_path(shard.shard)))
        alive = self._alive(shard)
        rows = index.select(["shard", "row", "uid", *self.columns])
        readable = alive.copy()
        fallen: list[pa.Table] = []
        blocked = np.asarray(index["blocked"].is_valid()) & readable
        fallen.append(_fallen(index, blocked, INGEST, "blocked"))
        readable &= ~blocked
        failed = np.asarray(index["error"].is_valid()) & readable
        fallen.append(_fallen(index, failed, INGEST, "error"))
        readable &= ~failed
        for layer, columns in self.layers:
            table = self._layer(layer, shard, index)
            for name in columns:
                rows = rows.append_column(name, table[name])
            if layer.operator in self.excused:
                rows = rows.append_column(f"{layer.operator}_error", table["error"])
                continue
            failed = np.asarray(table["error"].is_valid()) & readable
            fallen.append(_fallen(table, failed, layer.operator, "error"))
            readable &= ~failed
        order = pa.concat_tables(fallen)
        return rows.filter(pa.array(readable)), order.sort_by("row")

    def _layer(self, layer: Layer, shard: ShardRef, index: pa.Table) -> pa.Table:
        table = read_table(self.store, layer.path(shard.shard))
        if not table["uid"].equals(index["uid"]):
            raise CorpusError(
                f"{self.store.path(layer.path(shard.shard))}: rows are not those of the shard's "
                "index; delete the file and run again"
            )
        return table

    def _alive(self, shard: ShardRef) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        alive = np.ones(shard.samples, bool)
        for ledger in self.ledgers:
            rows = read_table(self.store, ledger.path(shard.shard), ["row"])["row"].to_numpy()
            assert alive[rows].all(), f"{ledger.folder} decides a row that was decided before"
            alive[rows] = False
        return alive


def _fallen(
    table: pa.Table, mask: np.ndarray[tuple[int], np.dtype[np.bool_]], stage: str, why: str
) -> pa.Table:
    rows = table.filter(pa.array(mask))
    size = rows.num_rows
    blocked = why == "blocked"
    none = pa.nulls(size, pa.string())
    said = rows[why].combine_chunks() if size else none
    return pa.Table.from_arrays(
        [
            rows["shard"],
            rows["row"],
            rows["uid"],
            pa.array([DROPPED if blocked else QUARANTINED] * size, pa.string()),
            pa.array([stage] * size, pa.string()),
            pa.array(["blocked"] * size, pa.string()) if blocked else none,
            said if blocked else none,
            none if blocked else said,
        ],
        schema=FALLEN,
    )


def wanted_columns(
    names: Iterable[str], layers: dict[str, tuple[Layer, tuple[str, ...]]]
) -> tuple[tuple[str, ...], tuple[tuple[Layer, tuple[str, ...]], ...]]:
    """Splits required columns into those of the index and those of each layer that gives them.

    `layers` maps operator names to their layer and the columns it provides. Raises KeyError with
    the column that nothing gives.
    """
    index: list[str] = []
    taken: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if name in INDEX_COLUMNS.names:
            index.append(name)
            continue
        giver = next((o for o, (_, provided) in layers.items() if name in provided), None)
        if giver is None:
            raise KeyError(name)
        taken.setdefault(giver, []).append(name)
    return tuple(index), tuple(
        (layers[giver][0], tuple(columns)) for giver, columns in taken.items()
    )
