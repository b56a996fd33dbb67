"""Measured columns of a whole corpus as arrays over positions, in files that memory maps.

A column is read from its layer once, when it is first asked for, and then lies in a scratch file:
the operating system keeps what is used in memory and lets go of the rest.
"""

import math
import os
import tempfile
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.report.columns import Column, measured_columns
from curation.report.viewer.fates import Bools, Fates

Numbers = npt.NDArray[Any]

_EXACT = 1 << 24
"""Whole numbers below it are the same as float32."""
_WORDS = 60_000
"""Distinct words of a column above which the rest are counted as one."""
OTHERS = "(others)"


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """One measure; null and NaN are both NaN, and `missing` tells them apart."""

    column: Column
    values: Numbers
    """float32 where that is exact, else float64."""
    missing: Bools | None
    """Null (a NaN that was measured is not); null where no value is missing."""

    def limit(self, threshold: float, kind: str) -> Any:
        """The threshold in the values' own type, so that comparing gives what float64 would."""
        kind_of = self.values.dtype.type
        with np.errstate(over="ignore"):  # beyond float32 it is infinite, and compares as such
            limit = kind_of(threshold)
        if kind == "at_least" and float(limit) < threshold:
            return np.nextafter(limit, kind_of(np.inf))
        if kind == "at_most" and float(limit) > threshold:
            return np.nextafter(limit, kind_of(-np.inf))
        return limit


@dataclass(frozen=True, kw_only=True)
class WordColumn:
    """One column of words; `codes` index `words`, null is -1."""

    column: Column
    codes: npt.NDArray[np.int32]
    words: list[str]

    def among(self, words: list[str]) -> Bools:
        """Positions that have one of these."""
        wanted = [n for n, word in enumerate(self.words) if word in set(words)]
        found: Bools = np.isin(self.codes, np.array(wanted, np.int32))
        return found

    def missing(self) -> Bools:
        """Positions without a value."""
        found: Bools = self.codes < 0
        return found


class MeasureStore:
    """The columns of one corpus; safe to ask from many threads."""

    def __init__(self, corpus: Corpus, fates: Fates, ruled: list[str]) -> None:
        """`ruled` names columns of the index that are measures too."""
        self._corpus, self._fates = corpus, fates
        self.columns = {c.name: c for c in measured_columns(corpus, ruled)}
        for name in ("cluster",):
            for ref in corpus.manifest.layers:
                if name in ref.columns:
                    folder = f"layers/{ref.operator}-{ref.fingerprint}"
                    self.columns[name] = Column(
                        name=name, operator=ref.operator, folder=folder, words=False, integer=True
                    )
        self._read: dict[str, NumberColumn | WordColumn] = {}
        self._lock = threading.Lock()

    def number(self, name: str) -> NumberColumn:
        """Raises KeyError where there is no such measure."""
        found = self._get([name])[0]
        if not isinstance(found, NumberColumn):
            raise KeyError(name)
        return found

    def word(self, name: str) -> WordColumn:
        """Raises KeyError where there is no such column of words."""
        found = self._get([name])[0]
        if not isinstance(found, WordColumn):
            raise KeyError(name)
        return found

    def prepare(self, names: list[str]) -> None:
        """Reads columns ahead; those of one layer in one pass."""
        self._get([name for name in names if name in self.columns])

    def _get(self, names: list[str]) -> list[NumberColumn | WordColumn]:
        for name in names:
            if name not in self.columns:
                raise KeyError(name)
        if all(name in self._read for name in names):  # nobody waits for a column of somebody else
            return [self._read[name] for name in names]
        with self._lock:
            absent = [self.columns[name] for name in names if name not in self._read]
            folders = dict.fromkeys(column.folder for column in absent)
            for folder in folders:
                self._load([column for column in absent if column.folder == folder])
        return [self._read[name] for name in names]

    def _load(self, columns: list[Column]) -> None:
        """One pass over a layer, a shard at a time."""
        makers = [(_Words if column.words else _Numbers)(column, self._new) for column in columns]
        starts = self._fates.starts
        for nth, shard in enumerate(self._corpus.shards):
            path = columns[0].path(shard.shard)
            table = read_table(self._corpus.store, path, [column.name for column in columns])
            if table.num_rows != shard.samples:
                raise CorpusError(
                    f"{self._corpus.store.path(path)}: {table.num_rows:,} rows for a shard of "
                    f"{shard.samples:,} samples; delete the file and measure again"
                )
            for maker in makers:
                maker.add(int(starts[nth]), table[maker.column.name])
        for maker in makers:
            self._read[maker.column.name] = maker.made()

    def _new(self, kind: str) -> Any:
        return unnamed_array(kind, (self._fates.size,))


def unnamed_array(kind: str, shape: tuple[int, ...]) -> Any:
    """An array in a file without a name, that ends with the process however it ends."""
    size = math.prod(shape)
    with tempfile.TemporaryFile(prefix="curate-view-") as file:
        space = max(1, size) * np.dtype(kind).itemsize
        if hasattr(os, "posix_fallocate"):  # a full disk says so now, not as a crash later
            os.posix_fallocate(file.fileno(), 0, space)
        else:
            file.truncate(space)
        flat = np.memmap(file, dtype=kind, mode="r+", shape=(max(1, size),))
        return flat[:size].reshape(shape)


class _Numbers:
    """Gathers a column of numbers."""

    def __init__(self, column: Column, new: Any) -> None:
        self.column, self._new = column, new
        self._values: Any = new("float32")
        self._missing: Any = None

    def add(self, start: int, array: pa.ChunkedArray) -> None:
        """The values of a shard that begins at position `start`."""
        values = _floats(array)
        wide = pa.types.is_float64(array.type) or (
            pa.types.is_integer(array.type)
            and bool(len(values))
            and bool(np.nanmax(np.abs(values), initial=0) >= _EXACT)
        )
        if wide and self._values.dtype == np.float32:
            narrow = self._values
            self._values = self._new("float64")
            self._values[:start] = narrow[:start]
        self._values[start : start + len(values)] = values
        if array.null_count:
            if self._missing is None:
                self._missing = self._new("bool")
            self._missing[start : start + len(values)] = np.asarray(array.is_null())

    def made(self) -> NumberColumn:
        """The whole column."""
        return NumberColumn(column=self.column, values=self._values, missing=self._missing)


def _floats(array: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    values: npt.NDArray[np.float64] = np.asarray(pc.fill_null(array.cast(pa.float64()), np.nan))
    return values


class _Words:
    """Gathers a column of words."""

    def __init__(self, column: Column, new: Any) -> None:
        self.column = column
        self._codes: Any = new("int32")
        self._known: dict[str, int] = {}

    def add(self, start: int, array: pa.ChunkedArray) -> None:
        """The values of a shard that begins at position `start`."""
        encoded = array.combine_chunks().dictionary_encode()
        numbers = [self._number(word) for word in encoded.dictionary.to_pylist()]
        table = np.array([*numbers, -1], np.int32)
        places = np.asarray(pc.fill_null(encoded.indices, len(numbers)))
        self._codes[start : start + len(places)] = table[places]

    def _number(self, word: str) -> int:
        if word not in self._known and len(self._known) >= _WORDS:
            word = OTHERS
        return self._known.setdefault(word, len(self._known))

    def made(self) -> WordColumn:
        """The whole column."""
        return WordColumn(column=self.column, codes=self._codes, words=list(self._known))
