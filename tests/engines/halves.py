"""Operators in two halves without a model: one that takes its time, and breaks where it is told."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from curation.core.operator import BatchFn, StreamedOperator, append
from curation.operators.image.probe import ImageProbe
from curation.pipeline.recipe import ExportOptions, Recipe
from curation.relational.exact_dedup import ExactDedup
from curation.relational.select import Rule, Select
from tests.pipeline.corpora import plain_recipe
from tests.pipeline.fragile import Fragile, break_as

PIECE = 5
"""Rows that the model takes at once."""


@dataclass(frozen=True, kw_only=True)
class Halved(StreamedOperator):
    """Counts letters five rows at a time; a piece with one of some words breaks one half."""

    name = "halved"
    how: str = ""
    """As Fragile; empty: it does not break."""
    half: str = "compute"
    """prepare or compute."""
    words: tuple[str, ...] = ("number 12 ",)
    threads: int = 1
    pause: float = field(default=0.0, metadata={"hashed": False})
    """Seconds that the model takes for a piece."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("halved", pa.int32()), ("place", pa.int32())])

    def open(self) -> BatchFn:
        def whole(batch: pa.RecordBatch) -> pa.RecordBatch:
            pieces = list(self.prepare()(batch))
            rows = pa.Table.from_batches(self.compute()(pieces)).combine_chunks()
            columns = {name: rows[name].chunk(0) for name in self.provides.names}
            return append(batch, self.provides, columns)

        return whole

    def prepare(self) -> Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]:
        return self._pieces

    def compute(self) -> Callable[[Iterable[pa.RecordBatch]], list[pa.RecordBatch]]:
        return lambda pieces: [self._computed(piece) for piece in pieces]

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, batch.num_rows, PIECE):
            piece = batch.slice(start, PIECE)
            self._break("prepare", piece)
            yield piece

    def _computed(self, piece: pa.RecordBatch) -> pa.RecordBatch:
        time.sleep(self.pause)
        self._break("compute", piece)
        size = piece.num_rows
        letters = [len(text or "") for text in piece["text"].to_pylist()]
        columns: dict[str, Any] = {"halved": letters, "place": list(range(size))}
        out = append(piece, self.provides, {**columns, "error": [None] * size})
        return out.select([*self.provides.names, "error"])

    def _break(self, half: str, piece: pa.RecordBatch) -> None:
        texts = [text or "" for text in piece["text"].to_pylist()]
        if half != self.half or not any(w in text for text in texts for w in self.words):
            return
        if self.how:
            break_as(self.how)


def halved_recipe(how: str = "", half: str = "compute", pause: float = 0.0) -> Recipe:
    """A short recipe with an operator in two halves and a stage that rests on it.

    With `how`, also an operator in one piece breaks.
    """
    halved = Halved(how=how, half=half, pause=pause)
    broken = (Fragile(how=how, words=("number 3 ",)),) if how else ()
    columns = [name for each in (halved, *broken) for name in each.provides.names]
    rules = tuple(
        Rule(reason=name, column=name, kind="at_least", threshold=0.0, source="a test")
        for name in columns
    )
    return replace(
        plain_recipe(),
        operators=(ImageProbe(), *broken, halved),
        stages=(
            Select(name="counted", rules=rules),
            ExactDedup(name="exact_dedup", by="image", keep_best=("area",)),
        ),
        export=ExportOptions(name="halved", scores=("halved",)),
    )
