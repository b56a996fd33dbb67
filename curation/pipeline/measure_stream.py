"""Runs a model operator over one shard in two halves, for engines that keep them apart."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.limits import within
from curation.core.operator import StreamedOperator
from curation.pipeline.measure_shard import MeasureShard, ShardItem, layer_rows
from schemas import SAMPLE

_PLACE = [field.name for field in SAMPLE]


@functools.lru_cache(maxsize=4)
def _preparing(
    operator: StreamedOperator,
) -> Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    return operator.prepare()


@functools.lru_cache(maxsize=1)
def _computing(
    operator: StreamedOperator, identity: tuple[tuple[str, str], ...]
) -> Callable[[Iterable[pa.RecordBatch]], list[pa.RecordBatch]]:
    """Raises UsageError on a machine where the operator is not what `identity` says."""
    here, meant = dict(operator.identity()), dict(identity)
    other = [name for name in {**meant, **here} if here.get(name) != meant.get(name)]
    if other:
        name = other[0]
        raise UsageError(
            f"{operator.name} was to run with {name} {meant.get(name)}, as where the command was "
            f"started, but a worker has {name} {here.get(name)}; name its device "
            f"(--set {operator.name}.device=cpu or =cuda) and place it where there is one"
        )
    return operator.compute()


@dataclass(frozen=True)
class StreamShard(MeasureShard):
    """A task: commits the layer of one StreamedOperator of a shard, as a whole or in parts."""

    identity: tuple[tuple[str, str], ...] = field(kw_only=True)
    """The operator's, where the run was started: its fingerprint says what it is computed on."""

    @property
    def _operator(self) -> StreamedOperator:
        (operator,) = self.operators
        assert isinstance(operator, StreamedOperator), operator.name
        return operator

    def done(self, item: ShardItem) -> dict[str, Any] | None:
        return self(item) if not self.missing(item.shard) else None

    def prepared(self, item: ShardItem) -> Iterator[pa.RecordBatch]:
        """Pieces as the operator prepares them, behind the SAMPLE columns of their rows."""
        prepare = _preparing(self._operator)
        for batch in self.read(item.shard.shard, [self._operator]):
            start = 0
            pieces = prepare(batch.select(self._operator.requires.names))
            while True:
                with within(batch.num_rows):
                    piece = next(pieces, None)
                if piece is None:
                    break
                place = batch.select(_PLACE).slice(start, piece.num_rows)
                yield pa.RecordBatch.from_arrays(
                    [*place.columns, *piece.columns], [*_PLACE, *piece.schema.names]
                )
                start += piece.num_rows
            assert start == batch.num_rows, f"{self._operator.name} left rows out"

    def computed(self, pieces: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        given = list(pieces)
        bare = [p.select([n for n in p.schema.names if n not in _PLACE]) for p in given]
        compute = _computing(self._operator, self.identity)  # may load for longer than rows take
        with within(sum(piece.num_rows for piece in given)):
            found = compute(bare)
        return [
            layer_rows(self._operator, place, rows)
            for place, rows in zip(given, found, strict=True)
        ]

    def commit(self, item: ShardItem, rows: pa.Table) -> dict[str, Any]:
        shard = item.shard
        assert rows["row"].to_pylist() == list(range(shard.samples)), f"rows of {item}"
        (operator,), (layer,) = self.operators, self.layers
        self.write(shard, operator, layer, rows)
        return self(item)
