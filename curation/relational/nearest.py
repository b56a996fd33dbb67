"""The nearest image of each benchmark by the cosine of CLIP embeddings, the same in any batch.

Blocks of float32 products find what may be near; what they find is scored again in exact
arithmetic, so that no value depends on block sizes, threads or the processor.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.core.errors import UsageError

_ROWS, _COLUMNS = 1024, 4096
"""Samples and benchmark images multiplied at once: 16 MB of products."""

Halves = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Near(NamedTuple):
    """The image of one benchmark that is nearest to a sample's."""

    row: int
    """Position of the sample."""
    benchmark: int
    item: int
    """Of equally near ones the first."""
    similarity: float
    """Cosine, -1 to 1."""


class Entry(NamedTuple):
    """One image of a benchmark."""

    benchmark: int
    item: int
    vector: bytes
    """Little-endian fp16."""


@dataclass(frozen=True)
class ImageIndex:
    """Embeddings of benchmarks' images, by benchmark and item; those without a direction left out.

    A vector that holds no number (NaN) or is nought points nowhere, and is near to nothing.
    """

    least: float
    """Cosine from which on an image is near."""
    vectors: Halves
    units: Floats
    items: Numbers
    benchmarks: tuple[tuple[int, int, int], ...]
    """Number of each benchmark, with its first row and the one after its last."""

    @classmethod
    def of(cls, entries: Sequence[Entry], least: float) -> "ImageIndex":
        """Raises UsageError where the vectors are of several sizes."""
        first: dict[tuple[int, bytes], int] = {}
        for entry in sorted(entries):
            first.setdefault((entry.benchmark, entry.vector), entry.item)
        keys = sorted(first, key=lambda key: (key[0], first[key], key[1]))
        vectors, units, valid = _decoded([vector for _, vector in keys])
        owners = np.array([benchmark for benchmark, _ in keys], np.int64)[valid]
        items = np.array([first[key] for key in keys], np.int64)[valid]
        found = np.unique(owners, return_index=True, return_counts=True)
        benchmarks = tuple(
            (number, start, start + count)
            for number, start, count in zip(*(part.tolist() for part in found), strict=True)
        )
        return cls(least, vectors[valid], units[valid], items, benchmarks)

    def matches(self, vectors: Sequence[bytes]) -> list[Near]:
        """The nearest image of each benchmark that is near enough, by row and benchmark.

        Raises UsageError for vectors of another size than the benchmarks'.
        """
        halves, units, valid = _decoded(vectors)
        if len(vectors) and len(self.items) and halves.shape[1] != self.vectors.shape[1]:
            raise UsageError(
                f"the corpus has embeddings of {halves.shape[1]} numbers, the benchmarks of "
                f"{self.vectors.shape[1]}: another CLIP measured them; name their folders again"
            )
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for benchmark, start, stop in self.benchmarks:
            for row, at in self._candidates(units, np.flatnonzero(valid), start, stop):
                scored = (-cosine(halves[row], self.vectors[at]), int(self.items[at]))
                if -scored[0] >= self.least:
                    key = (row, benchmark)
                    best[key] = min(best.get(key, scored), scored)
        return [Near(*key, best[key][1], -best[key][0]) for key in sorted(best)]

    def _candidates(
        self, units: Floats, rows: Numbers, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Pairs of a row and a position in the index that may be a row's nearest."""
        margin = 2 * (self.units.shape[1] + 8) * 2.0**-23  # of two sums of so many products
        for low in range(0, len(rows), _ROWS):
            block = rows[low : low + _ROWS]
            for left in range(start, stop, _COLUMNS):
                right = min(stop, left + _COLUMNS)
                products = units[block] @ self.units[left:right].T
                nearest = products.max(axis=1)
                close = np.flatnonzero(nearest >= self.least - margin)
                floor = np.maximum(nearest[close], self.least) - margin
                for at, column in zip(*np.nonzero(products[close] >= floor[:, None]), strict=True):
                    yield int(block[close[at]]), left + int(column)


def _decoded(vectors: Sequence[bytes]) -> tuple[Halves, Floats, npt.NDArray[np.bool_]]:
    """Vectors as stored, as float32 of length 1, and which of them have a direction."""
    if len({len(vector) for vector in vectors}) > 1:
        raise UsageError("embeddings of several CLIP models cannot be compared")
    size = len(vectors[0]) // 2 if vectors else 0
    halves = np.frombuffer(b"".join(vectors), "<f2").astype(np.float16).reshape(-1, size or 1)
    wide = halves.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1))
    valid: npt.NDArray[np.bool_] = np.isfinite(lengths) & (lengths > 0)
    wide[~valid], lengths[~valid] = 0, 1
    return halves, (wide / lengths[:, None]).astype(np.float32), valid


def cosine(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Cosine of two fp16 vectors, each sum exact and rounded once."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    product, left, right = (math.fsum((p * q).tolist()) for p, q in ((x, y), (x, x), (y, y)))
    return product / math.sqrt(left * right)
