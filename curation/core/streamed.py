"""A task in two halves, which an engine may run apart: bytes on one machine, a model on another."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import pyarrow as pa

Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


@runtime_checkable
class StreamedTask(Protocol[Item_contra, Result_co]):
    """A task that may be called as a whole, or in parts; what it commits has the same bytes.

    Parts tell of nothing but the whole: where one fails, the item is run by a call.
    """

    def __call__(self, item: Item_contra) -> Result_co:
        """All of it, here."""

    def done(self, item: Item_contra) -> Result_co | None:
        """The result, where it has been committed already."""

    def prepared(self, item: Item_contra) -> Iterator[pa.RecordBatch]:
        """The half that reads: pieces of the item in their order, each for the model at once."""

    def computed(self, pieces: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """The half with the model: rows of the result for each piece. Keeps the model open."""

    def commit(self, item: Item_contra, rows: pa.Table) -> Result_co:
        """Writes the rows of all pieces, in their order."""
