"""Runs operators over one shard: one read of the bytes, a layer each."""

import functools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.corpus import Layer
from curation.core.operator import ERROR, IMAGE, BatchFn, Operator
from curation.io.corpus import ShardRef
from curation.io.media import batches
from curation.io.store import Store
from curation.io.tables import read_footer, read_table, write_table
from schemas import SAMPLE


def layer_schema(operator: Operator) -> pa.Schema:
    """Columns of an operator's layer: the sample, what it provides, and why it could not."""
    return pa.schema([*SAMPLE, *operator.provides, ERROR])


@functools.lru_cache(maxsize=32)
def _opened(operator: Operator) -> BatchFn:
    """Weights are loaded once a worker, whatever the number of shards."""
    return operator.open()


@dataclass(frozen=True)
class ShardItem:
    """A shard to measure; rows in `skip` have crashed a worker and are not touched again."""

    shard: ShardRef
    skip: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"shard {self.shard.shard}"


@dataclass(frozen=True)
class MeasureShard:
    """A task: commits each missing layer of a shard."""

    store: Store
    operators: tuple[Operator, ...]
    layers: tuple[Layer, ...]
    """Where each operator's columns go."""
    other: tuple[tuple[Operator, Layer], ...]
    """Layers at hand that these operators may read."""

    def __call__(self, item: ShardItem) -> dict[str, Any]:
        """`samples`, `errors` by operator, and `said` by operators that failed on a row."""
        shard = item.shard
        errors: dict[str, dict[str, int]] = {}
        todo: list[tuple[Operator, Layer]] = []
        for operator, layer in zip(self.operators, self.layers, strict=True):
            footer = read_footer(self.store, layer.path(shard.shard))
            if footer and footer.get("index") == shard.index_sha256:
                errors[operator.name] = json.loads(footer["errors"])
            else:
                todo.append((operator, layer))
        said: list[str] = []
        if todo:
            said = self._measure(shard, todo, item.skip)
            for operator, layer in todo:
                errors[operator.name] = self._errors(layer, shard.shard)
        return {"samples": shard.samples, "errors": errors, "said": said}

    def _errors(self, layer: Layer, shard: int) -> dict[str, int]:
        footer = read_footer(self.store, layer.path(shard)) or {}
        counted: dict[str, int] = json.loads(footer["errors"])
        return counted

    def _measure(
        self, shard: ShardRef, todo: list[tuple[Operator, Layer]], skip: tuple[int, ...]
    ) -> list[str]:
        said: list[str] = []
        parts: dict[str, list[pa.RecordBatch]] = {operator.name: [] for operator, _ in todo}
        for read in self._batches(shard.shard, [operator for operator, _ in todo]):
            known = read
            for operator, _ in todo:
                measured = careful(operator, known, skip, said)
                parts[operator.name].append(measured)
                known = _beside(known, measured, operator)
        for operator, layer in todo:
            schema = layer_schema(operator)
            table = pa.Table.from_batches(parts[operator.name], schema)
            counted = Counter(code for code in table["error"].to_pylist() if code)
            footer = {
                "fingerprint": layer.fingerprint,
                "index": shard.index_sha256,
                "errors": json.dumps(counted, sort_keys=True),
            }
            write_table(self.store, layer.path(shard.shard), table, schema, footer)
        return said

    def _batches(self, shard: int, operators: list[Operator]) -> Any:
        """Batches of the shard with every column that the operators need from elsewhere."""
        images = any(IMAGE.name in operator.requires.names for operator in operators)
        made = {name for operator in operators for name in operator.provides.names}
        needed = {name for operator in operators for name in operator.requires.names} - made
        tables = [
            (operator, read_table(self.store, layer.path(shard)))
            for operator, layer in self.other
            if needed & set(operator.provides.names)
        ]
        for batch in batches(self.store, shard, images=images):
            first = batch["row"][0].as_py()
            known = batch
            for operator, table in tables:
                known = _beside(known, table.slice(first, batch.num_rows), operator)
            yield known

    def survives(self, shard: ShardRef, rows: tuple[int, int]) -> None:
        """Measures only rows in a range, writing nothing: for finding what kills a worker."""
        keep = range(*rows)
        skip = tuple(row for row in range(shard.samples) if row not in keep)
        for batch in self._batches(shard.shard, list(self.operators)):
            for operator in self.operators:
                careful(operator, batch, skip, [])


def _beside(batch: pa.RecordBatch, measured: Any, operator: Operator) -> pa.RecordBatch:
    """`batch` with what an operator provides appended."""
    for field in operator.provides:
        column = measured[field.name]
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        batch = batch.append_column(field, array)
    return batch


def careful(
    operator: Operator, batch: pa.RecordBatch, skip: tuple[int, ...], said: list[str]
) -> pa.RecordBatch:
    """The operator's layer rows for a batch; a row on which it fails costs only itself."""
    skipped = set(skip).intersection(batch["row"].to_pylist()) if skip else set()
    if skipped:
        size = batch.num_rows
        pieces = [
            _failed(operator, batch.slice(at, 1), "crashed")
            if batch["row"][at].as_py() in skipped
            else careful(operator, batch.slice(at, 1), (), said)
            for at in range(size)
        ]
        return pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]
    try:
        return _run(operator, batch)
    except MemoryError:
        error, words = "out_of_memory", "out of memory"
    except Exception as fault:  # noqa: BLE001 - the border to operators: any fault is one row's
        error, words = "crashed", f"{type(fault).__name__}: {fault}"
    if batch.num_rows == 1:
        said.append(
            f"{operator.name} failed on shard {batch['shard'][0]} row {batch['row'][0]}: {words}"
        )
        return _failed(operator, batch, error)
    half = batch.num_rows // 2
    pieces = [
        careful(operator, part, (), said) for part in (batch.slice(0, half), batch.slice(half))
    ]
    return pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]


def _run(operator: Operator, batch: pa.RecordBatch) -> pa.RecordBatch:
    given = batch.select(operator.requires.names)
    out = _opened(operator)(given)
    assert out.num_rows == batch.num_rows, f"{operator.name} changed the number of rows"
    columns = [batch[field.name] for field in SAMPLE]
    columns += [out[field.name] for field in operator.provides]
    columns.append(
        out["error"] if "error" in out.schema.names else pa.nulls(batch.num_rows, ERROR.type)
    )
    return pa.RecordBatch.from_arrays(columns, schema=layer_schema(operator))


def _failed(operator: Operator, row: pa.RecordBatch, error: str) -> pa.RecordBatch:
    columns = [row[field.name] for field in SAMPLE]
    columns += [pa.nulls(1, field.type) for field in operator.provides]
    columns.append(pa.array([error]))
    return pa.RecordBatch.from_arrays(columns, schema=layer_schema(operator))


def find_killers(task: MeasureShard, item: ShardItem, survives: Callable[..., bool]) -> ShardItem:
    """The same shard with the rows that kill a worker set aside, found by halving."""
    killers: list[int] = list(item.skip)
    ranges = [(0, item.shard.samples)]
    while ranges:
        low, high = ranges.pop()
        if survives(task.survives, item.shard, (low, high)):
            continue
        if high - low == 1:
            killers.append(low)
        else:
            middle = (low + high) // 2
            ranges += [(middle, high), (low, middle)]
    return ShardItem(item.shard, tuple(sorted(killers)))
