"""A job for `ray job submit`: many times more bytes through a model than the object store holds."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from curation.engines.ray import RayEngine
from tests.memory import peak

ITEMS, PIECES, PIECE = 20, 10, 2 << 20
"""Items, pieces of each, and bytes of a piece: 400 MB."""


@dataclass(frozen=True)
class Bulk:
    """Pieces of many bytes, of which the model tells no more than how many they were."""

    def __call__(self, item: int) -> int:
        raise AssertionError(f"item {item} was not streamed")

    def done(self, item: int) -> int | None:
        return None

    def prepared(self, item: int) -> Iterator[pa.RecordBatch]:
        for _ in range(PIECES):
            yield pa.record_batch({"bytes": pa.array([bytes(PIECE)], pa.large_binary())})

    def computed(self, pieces: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        sizes = [sum(len(value.as_buffer()) for value in piece["bytes"]) for piece in pieces]
        return [pa.record_batch({"size": pa.array([size], pa.int64())}) for size in sizes]

    def commit(self, item: int, rows: pa.Table) -> int:
        return sum(rows["size"].to_pylist())


def main(scratch: str) -> None:
    with RayEngine(scratch=scratch, memory="500MB") as engine:
        assert list(engine.map(Bulk(), range(1))) == [PIECES * PIECE]  # loads what is loaded once
        before = peak()
        sizes = list(engine.map(Bulk(), range(ITEMS)))
        grown = peak() - before
    assert sizes == [PIECES * PIECE] * ITEMS
    assert grown < 50 << 20, f"the driver grew by {grown:,} bytes"


if __name__ == "__main__":
    main(sys.argv[1])
