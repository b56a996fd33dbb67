"""An operator over a table on each engine; a new engine is a line in `ENGINES`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from curation.core.operator import Operator
from curation.engines.local import LocalEngine
from curation.pipeline.measure_shard import careful
from schemas import SAMPLE


class Run(Protocol):
    """Measures `rows` (the operator's required columns) in batches of `batch_rows`."""

    def __call__(self, operator: Operator, rows: pa.Table, *, batch_rows: int = 64) -> pa.Table:
        """The operator's layer, in row order. Raises AssertionError if the operator failed."""


@dataclass(frozen=True)
class _Measure:
    """A task that travels to workers: one operator over one batch."""

    operator: Operator

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        said: list[str] = []
        measured = careful(self.operator, batch, (), said)
        assert not said, said
        return measured


def _batches(rows: pa.Table, size: int) -> Iterator[pa.RecordBatch]:
    """`rows` as samples of shard 0; a batch is a whole array each, as ingest reads them."""
    count = rows.num_rows
    place = {
        "shard": pa.array([0] * count, pa.int32()),
        "row": pa.array(range(count), pa.int32()),
        "uid": pa.array([f"{row:032x}" for row in range(count)], pa.string()),
    }
    for field in SAMPLE:
        rows = rows.append_column(field, place[field.name])
    return (batch for batch in rows.combine_chunks().to_batches(max_chunksize=size))


def _local(operator: Operator, rows: pa.Table, *, batch_rows: int = 64) -> pa.Table:
    with LocalEngine(workers=0) as engine:
        measured = list(engine.map(_Measure(operator), _batches(rows, batch_rows)))
    return pa.Table.from_batches(measured).sort_by("row")


ENGINES: dict[str, Run] = {"local": _local}
