"""Runs operators over one shard: one read of the bytes, a layer each."""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.corpus import Layer
from curation.core.errors import CurationError
from curation.core.limits import DeadlineError, within
from curation.core.operator import ERROR, IMAGE, BatchFn, FittedOperator, Operator
from curation.io.corpus import ShardRef
from curation.io.media import batches
from curation.io.store import Store
from curation.io.tables import read_footer, read_table, write_table
from schemas import SAMPLE


def layer_schema(operator: Operator) -> pa.Schema:
    """Columns of an operator's layer: the sample, what it provides, and why it could not."""
    return pa.schema([*SAMPLE, *operator.provides, ERROR])


Fitted = tuple[Store, str]
"""Where that lies which an operator was fitted to."""


@functools.lru_cache(maxsize=32)
def _opened(operator: Operator) -> BatchFn:
    """Weights are loaded once a worker, whatever the number of shards."""
    return operator.open()


@functools.lru_cache(maxsize=4)
def _fitted(operator: FittedOperator, fitted: Fitted) -> BatchFn:
    store, name = fitted
    return operator.fitted(store.read(name))


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
        todo = self.missing(shard)
        said = self._measure(shard, todo, item.skip) if todo else []
        errors = {
            operator.name: self._errors(layer, shard.shard)
            for operator, layer in zip(self.operators, self.layers, strict=True)
        }
        return {"samples": shard.samples, "errors": errors, "said": said}

    def missing(self, shard: ShardRef) -> list[tuple[Operator, Layer]]:
        """Operators that this shard has no valid layer of."""
        return [
            (operator, layer)
            for operator, layer in zip(self.operators, self.layers, strict=True)
            if (read_footer(self.store, layer.path(shard.shard)) or {}).get("index")
            != shard.index_sha256
        ]

    def _errors(self, layer: Layer, shard: int) -> dict[str, int]:
        footer = read_footer(self.store, layer.path(shard)) or {}
        counted: dict[str, int] = json.loads(footer["errors"])
        return counted

    def _measure(
        self, shard: ShardRef, todo: list[tuple[Operator, Layer]], skip: tuple[int, ...]
    ) -> list[str]:
        said: list[str] = []
        parts: dict[str, list[pa.RecordBatch]] = {operator.name: [] for operator, _ in todo}
        for read in self.read(shard.shard, [operator for operator, _ in todo]):
            known = read
            for operator, layer in todo:
                measured = careful(operator, known, skip, said, (self.store, layer.fitted))
                parts[operator.name].append(measured)
                known = _beside(known, measured, operator)
        for operator, layer in todo:
            rows = pa.Table.from_batches(parts[operator.name], layer_schema(operator))
            self.write(shard, operator, layer, rows)
        return said

    def write(self, shard: ShardRef, operator: Operator, layer: Layer, rows: pa.Table) -> None:
        """Commits the layer of an operator for a shard."""
        counted = Counter(code for code in rows["error"].to_pylist() if code)
        footer = {
            "fingerprint": layer.fingerprint,
            "index": shard.index_sha256,
            "errors": json.dumps(counted, sort_keys=True),
        }
        write_table(self.store, layer.path(shard.shard), rows, layer_schema(operator), footer)

    def read(self, shard: int, operators: list[Operator]) -> Iterator[pa.RecordBatch]:
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
        for batch in self.read(shard.shard, list(self.operators)):
            for operator, layer in zip(self.operators, self.layers, strict=True):
                careful(operator, batch, skip, [], (self.store, layer.fitted))


def _beside(batch: pa.RecordBatch, measured: Any, operator: Operator) -> pa.RecordBatch:
    """`batch` with what an operator provides appended."""
    for field in operator.provides:
        batch = batch.append_column(field, _whole(measured[field.name]))
    return batch


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def careful(
    operator: Operator,
    batch: pa.RecordBatch,
    skip: tuple[int, ...],
    said: list[str],
    fitted: Fitted | None = None,
) -> pa.RecordBatch:
    """The operator's layer rows for a batch; a row on which it fails costs only itself.

    Rows in `skip` are not touched. A row that is not touched keeps its slot, blank (nulls), so
    that the bytes of the others, which a model may compute together, are those of the whole batch.

    Raises what the operator's `open` or `fitted` raises: no row is to blame for that.
    """
    if isinstance(operator, FittedOperator) and fitted is not None:
        function = _fitted(operator, fitted)
    else:
        function = _opened(operator)
    tries = _Tries(operator, function, batch)
    skipped = set(skip)
    failed = {at: "crashed" for at, row in enumerate(batch["row"].to_pylist()) if row in skipped}
    rows = [at for at in range(batch.num_rows) if at not in failed]
    pieces = _halving(tries, rows, failed, said)
    good = [at for at in rows if at not in failed]
    if len(good) < len(rows) and tries.takes_blanks:
        with contextlib.suppress(
            Exception, DeadlineError
        ):  # rows that fail only together: pieces will do
            pieces = [tries.run(good)]
    measured = pa.Table.from_batches(pieces, layer_schema(operator))
    return _completed(operator, batch, measured, failed)


class _Tries:
    """Runs of an operator over some rows of one batch."""

    def __init__(self, operator: Operator, function: BatchFn, batch: pa.RecordBatch) -> None:
        self.operator, self.batch = operator, batch
        self._function = function

    def run(self, rows: list[int]) -> pa.RecordBatch:
        """Layer rows of `rows`, the others left blank. Raises what the operator raises."""
        if len(rows) == self.batch.num_rows:
            return self._layer(self.batch)
        if self.takes_blanks:
            return self._layer(self._blanked(rows)).take(pa.array(rows, pa.int64()))
        return self._layer(self.batch.take(pa.array(rows, pa.int64())))

    @functools.cached_property
    def takes_blanks(self) -> bool:
        """Whether nulls are no fault by themselves; if they are, rows are run without others."""
        try:
            self._layer(self._blanked([]))
        except (Exception, DeadlineError):  # noqa: BLE001 - the border to operators
            return False
        return True

    def _blanked(self, rows: list[int]) -> pa.RecordBatch:
        kept = set(rows)
        size = self.batch.num_rows
        here = pa.array([at if at in kept else None for at in range(size)], pa.int64())
        columns = {name: self.batch[name].take(here) for name in self.operator.requires.names}
        columns |= {field.name: self.batch[field.name] for field in SAMPLE}
        return pa.RecordBatch.from_pydict(columns)

    def _layer(self, given: pa.RecordBatch) -> pa.RecordBatch:
        with within(given.num_rows, given.num_rows * self.operator.patience):
            out = self._function(given.select(self.operator.requires.names))
        return layer_rows(self.operator, given, out)


def layer_rows(operator: Operator, given: pa.RecordBatch, out: pa.RecordBatch) -> pa.RecordBatch:
    """The operator's layer rows, of samples in `given` and what it provides in `out`."""
    assert out.num_rows == given.num_rows, f"{operator.name} changed the number of rows"
    columns = [given[field.name] for field in SAMPLE]
    columns += [out[field.name] for field in operator.provides]
    columns.append(
        out["error"] if "error" in out.schema.names else pa.nulls(out.num_rows, ERROR.type)
    )
    return pa.RecordBatch.from_arrays(columns, schema=layer_schema(operator))


def _halving(
    tries: _Tries, rows: list[int], failed: dict[int, str], said: list[str]
) -> list[pa.RecordBatch]:
    """Layer rows of those of `rows` that can be measured; the others are put into `failed`."""
    if not rows:
        return []
    try:
        return [tries.run(rows)]
    except CurationError:  # no row is to blame: a server that is gone, a file that changed
        raise
    except MemoryError:
        error, words = "out_of_memory", "out of memory"
    except DeadlineError:
        error, words = "timeout", "not finished in time"
    except Exception as fault:  # noqa: BLE001 - the border to operators: any fault is one row's
        error, words = "crashed", f"{type(fault).__name__}: {fault}"
    if len(rows) == 1:
        batch, at = tries.batch, rows[0]
        place = f"shard {batch['shard'][at]} row {batch['row'][at]}"
        said.append(f"{tries.operator.name} failed on {place}: {words}")
        failed[at] = error
        return []
    half = len(rows) // 2
    parts = (_halving(tries, part, failed, said) for part in (rows[:half], rows[half:]))
    return [piece for part in parts for piece in part]


def _completed(
    operator: Operator, batch: pa.RecordBatch, measured: pa.Table, failed: dict[int, str]
) -> pa.RecordBatch:
    """`measured`, with null rows that hold an error for those that failed."""
    measured = measured.combine_chunks()
    if not failed:
        whole = measured.to_batches() or [pa.RecordBatch.from_pylist([], measured.schema)]
        return whole[0]
    places = iter(range(measured.num_rows))
    here = [None if at in failed else next(places) for at in range(batch.num_rows)]
    taken = measured.take(pa.array(here, pa.int64())).combine_chunks()
    errors = [failed.get(at, error) for at, error in enumerate(taken["error"].to_pylist())]
    columns = [batch[field.name] for field in SAMPLE]
    columns += [_whole(taken[field.name]) for field in operator.provides]
    columns.append(pa.array(errors, ERROR.type))
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
