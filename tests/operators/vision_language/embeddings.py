"""Rows with stored embeddings, and an operator that gives them to others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append


def unit_rows(seed: int, count: int, width: int) -> npt.NDArray[np.float64]:
    rows = np.random.default_rng(seed).standard_normal((count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embeddings(rows: Iterable[Sequence[float] | npt.NDArray[Any] | None]) -> pa.Table:
    """A table of `clip_image`, as the clip operator stores it."""
    packed = [None if row is None else np.asarray(row, "<f2").tobytes() for row in rows]
    width = max((len(row) for row in packed if row is not None), default=2)
    return pa.table({"clip_image": pa.array(packed, pa.binary(width))})


@dataclass(frozen=True, kw_only=True)
class Given(Operator):
    """Stands before others that read `clip_image`: an embedding by caption, none for some.

    Captions are of 12 kinds; those of one kind are near each other, every seventh has the very
    embedding of its kind, and a caption with `nothing` in it has none.
    """

    name = "given"

    width: int = 24
    seed: int = 0

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("clip_image", pa.binary(2 * self.width))])

    def open(self) -> BatchFn:
        return self._embed

    def _embed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        packed = [self._stored(text) for text in batch["text"].to_pylist()]
        columns = {"clip_image": pa.array(packed, self.provides.field(0).type)}
        return append(batch, self.provides, columns)

    def _stored(self, text: str | None) -> bytes | None:
        if text is None or "nothing" in text:
            return None
        number = sum(text.encode())
        middle = np.random.default_rng([self.seed, number % 12]).standard_normal(self.width)
        noise = np.random.default_rng([self.seed, *text.encode()]).standard_normal(self.width)
        row = middle + (0.2 if number % 7 else 0.0) * noise
        return (row / np.linalg.norm(row)).astype("<f2").tobytes()
