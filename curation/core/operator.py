"""The operator contract: measure, never decide.

An operator reads a batch of rows and adds columns. It never drops a row, holds no threshold and
never rewrites image bytes. It is a frozen dataclass whose fields are its parameters, so that it
can be hashed, sent to a worker and compared.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

BatchFn = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Takes a batch that has at least the required columns, returns it with the provided ones added."""

IMAGE = pa.field("image", pa.large_binary())
"""Encoded bytes of the sample's first image; null where ingest could not read them."""

ERROR = pa.field("error", pa.string())
"""Why this operator could not measure the row; an operator that can fail appends this column."""


@dataclass(frozen=True, kw_only=True)
class Operator(ABC):
    """Adds columns to rows; knows no engine and no corpus."""

    name: ClassVar[str]
    """What commands, layers and recipes call it."""

    version: ClassVar[int] = 1
    """Raised when the same input would give other values: old layers are then measured again."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version changes the values; they enter the fingerprint."""

    follows: ClassVar[str] = ""
    """An operator that this one measures the work of: it is off where that is."""

    mends: ClassVar[bool] = False
    """Whether rows are so dear that those are taken over that a mended layer did not change."""

    @property
    def threads(self) -> int:
        """Threads that one batch of a model operator is computed with, a field of it; 0 of others.

        The engine runs fewer processes accordingly. Part of the fingerprint: another number sums
        in another order.
        """
        return 0

    @property
    def patience(self) -> float:
        """Seconds that each row may wait for others than this process, as a server; 0: for none."""
        return 0.0

    @property
    def before(self) -> "Operator | None":
        """The operator whose layer this one mends: only rows with a PASSING error are measured."""
        return None

    def identity(self) -> Mapping[str, str]:
        """What decides the values beside fields and libraries: hash of weights, device, dtype."""
        return {}

    @property
    @abstractmethod
    def requires(self) -> pa.Schema:
        """Columns of the index, `image`, or columns that another operator provides."""

    @property
    @abstractmethod
    def provides(self) -> pa.Schema:
        """Columns that it adds; one value or null a row."""

    @abstractmethod
    def open(self) -> BatchFn:
        """Called once a worker: loads what is heavy and returns the function for its batches."""


class FittedOperator(Operator):
    """An operator that is fitted to the whole corpus, once, before its batches are measured.

    Its layer holds for the very shards that it was fitted to: a corpus that grew is fitted again.
    """

    @abstractmethod
    def drawn(self, batch: pa.RecordBatch, rows: int) -> pa.BooleanArray:
        """Which rows of a batch (uid and the required columns) `fit` looks at.

        Each is decided by itself alone and the number of `rows` of the corpus; what is drawn must
        fit in memory.
        """

    @abstractmethod
    def fit(self, sample: pa.Table, rows: int) -> bytes:
        """What `fitted` works with, made of the required columns of drawn rows, in their order."""

    @abstractmethod
    def fitted(self, data: bytes) -> BatchFn:
        """Takes the place of `open`: `data` is what `fit` made."""

    def open(self) -> BatchFn:
        raise TypeError(f"{self.name} opens with what it was fitted to")


class StreamedOperator(Operator):
    """A model operator in two halves, which an engine may keep on different machines.

    What `prepare` yields is carried to `compute`; together they give the bytes that `open` gives.
    """

    @abstractmethod
    def prepare(self) -> Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]:
        """The half without the weights, called once a worker.

        Its function cuts a batch of the required columns into pieces of consecutive rows, none
        left out, each with columns of the operator's own.
        """

    @abstractmethod
    def compute(self) -> Callable[[Iterable[pa.RecordBatch]], list[pa.RecordBatch]]:
        """The half with the weights, called once a worker.

        Its function gives, for each piece by itself, the provided columns and ERROR, a row each.
        """


def append(
    batch: pa.RecordBatch, provides: pa.Schema, columns: dict[str, list[object] | pa.Array]
) -> pa.RecordBatch:
    """`batch` with `columns` added in the order and types of `provides`, `error` last if given."""
    for field in [*provides, *([ERROR] if "error" in columns else [])]:
        values = columns[field.name]
        array = values if isinstance(values, pa.Array) else pa.array(values, field.type)
        batch = batch.append_column(field, array)
    return batch
