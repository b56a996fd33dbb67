"""A corpus in Python: its columns as Arrow or in DuckDB, single samples, the funnel.

What the viewer lists nowhere is in no table here either, and what it withholds has no picture.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curation.core.corpus import Layer, index_path
from curation.core.errors import CorpusError, UsageError
from curation.io.tables import read_table
from curation.report.columns import final_ledger, statuses
from curation.report.notebook_funnel import FunnelTable
from curation.report.notebook_sample import Sample
from curation.report.viewer.fates import HIDDEN, Positions
from curation.report.viewer.parquet import local_file, quoted
from curation.report.viewer.query import Filter
from curation.report.viewer.view import open_view
from schemas import INDEX, LEDGER, SAMPLE

_PLACE = tuple(field.name for field in SAMPLE)
"""uid, shard and row: every table has them."""
_UID = 32
"""Characters of a whole uid."""
_TWINS = 100
"""Samples with one beginning of a uid that are looked at, whether they are twins."""
_INDEX, _FATE = "index", "fate"
_UNDECIDED = """(
    SELECT shard, row, uid,
           CASE WHEN blocked IS NOT NULL THEN 'dropped' WHEN error IS NOT NULL THEN 'quarantined'
                ELSE 'ingested' END AS status,
           CASE WHEN coalesce(blocked, error) IS NOT NULL THEN 'ingest' END AS stage,
           CASE WHEN blocked IS NOT NULL THEN 'blocked' END AS reason,
           CAST(NULL AS DOUBLE) AS value, CAST(NULL AS DOUBLE) AS threshold, blocked AS detail,
           CAST(NULL AS VARCHAR) AS kept_by, CAST(NULL AS INTEGER) AS kept_by_shard,
           CAST(NULL AS INTEGER) AS kept_by_row,
           CASE WHEN blocked IS NULL THEN error END AS error
    FROM read_parquet({})
)"""
"""As curation.report.columns.ledger_of_index has it."""


@dataclass(frozen=True)
class _Source:
    """Where a column of the table lies."""

    part: str
    """`index`, `fate`, or the folder of a layer."""
    column: str


class Corpus:
    """A finished corpus, opened to be looked at; nothing is changed.

    >>> corpus = Corpus("run1")
    >>> corpus.table(["clip_score", "caption"]).to_pandas()
    >>> corpus.duckdb().sql("SELECT reason, count(*) FROM samples GROUP BY reason")
    >>> corpus.sample("3f2a").image
    >>> corpus.funnel()
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """`path`: a run directory or a corpus on this machine. Raises CurationError."""
        self._view = open_view(str(path))
        self.path = str(path)
        manifest = self._view.corpus.manifest
        self._sources = {"caption": _Source(_INDEX, "text")}
        taken = (*_PLACE, "error", "blocked")
        for name in INDEX.names:
            if name not in taken:
                self._sources[name] = _Source(_INDEX, name)
        for name in LEDGER.names:
            if name not in _PLACE:
                self._sources[name] = _Source(_FATE, name)
        for ref in manifest.layers:
            for name in ref.columns:
                folder = Layer(ref.operator, ref.fingerprint).folder
                self._sources.setdefault(name, _Source(folder, name))

    def __repr__(self) -> str:
        manifest = self._view.corpus.manifest
        fates = self._view.fates
        kept = f", {manifest.totals.kept:,} kept" if manifest.ledger else ""
        return f"Corpus({self.path!r}): {manifest.family}, {fates.size:,} samples{kept}"

    @property
    def columns(self) -> list[str]:
        """What a table can have beside uid, shard and row."""
        return list(self._sources)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """`columns` of every sample that may be listed, with uid, shard and row, in their order.

        All of it is in memory at once; `tables` gives it shard by shard. Raises UsageError for a
        column that is not there, CorpusError for a damaged file.
        """
        return pa.concat_tables(self.tables(columns))

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """As `table`, a shard at a time."""
        wanted = self._wanted(columns)
        return self._tables(wanted)

    def _tables(self, wanted: dict[str, _Source]) -> Iterator[pa.Table]:
        corpus, starts = self._view.corpus, self._view.fates.starts
        listed = self._view.search.listed
        parts: dict[str, list[str]] = {_INDEX: list(_PLACE)}
        for source in wanted.values():
            columns = parts.setdefault(source.part, [])
            if source.column not in columns:
                columns.append(source.column)
        fates = statuses(corpus, parts[_FATE]) if _FATE in parts else None
        for nth, shard in enumerate(corpus.shards):
            read = {
                part: next(fates) if part == _FATE and fates else self._read(part, nth, columns)
                for part, columns in parts.items()
            }
            there = {name: read[_INDEX][name] for name in _PLACE}
            there |= {name: read[s.part][s.column] for name, s in wanted.items()}
            if any(len(column) != shard.samples for column in there.values()):
                raise CorpusError(f"{self.path}: shard {shard.shard} is damaged; `curate verify`")
            shown = listed[int(starts[nth]) : int(starts[nth + 1])]
            yield pa.table(there).filter(pa.array(shown))

    def _read(self, part: str, nth: int, columns: list[str]) -> pa.Table:
        corpus = self._view.corpus
        return read_table(corpus.store, self._path(part, corpus.shards[nth].shard), columns)

    def _path(self, part: str, shard: int) -> str:
        return index_path(shard) if part == _INDEX else f"{part}/{shard:09d}.parquet"

    def _wanted(self, columns: Sequence[str]) -> dict[str, _Source]:
        names = [columns] if isinstance(columns, str) else list(columns)
        for name in names:
            if name not in self._sources and name not in _PLACE:
                near = difflib.get_close_matches(str(name), self._sources, 3)
                hint = f"; there is {', '.join(near)}" if near else "; see Corpus.columns"
                raise UsageError(f"{self.path}: no column {name!r}{hint}")
        return {name: self._sources[name] for name in names if name not in _PLACE}

    def duckdb(self, columns: Sequence[str] | None = None) -> Any:
        """A DuckDB connection whose view `samples` has these columns, or every one.

        It holds the rows that `table` has, in no order, and reads the files when it is asked.
        Naming the columns spares it the join with layers that have none of them.
        """
        wanted = self._sources if columns is None else self._wanted(columns)
        fates = self._view.fates
        hidden = np.flatnonzero(~self._view.search.listed)
        nth = np.searchsorted(fates.starts, hidden, side="right") - 1
        out = pa.table(
            {
                "shard": pa.array(fates.shards[nth], pa.int32()),
                "row": pa.array(hidden - fates.starts[nth], pa.int32()),
            }
        )
        connection = duckdb.connect()
        connection.register("hidden", out)
        connection.execute(f"CREATE TEMP VIEW samples AS {self._select(wanted)}")
        return connection

    def _select(self, wanted: dict[str, _Source]) -> str:
        parts = dict.fromkeys([_INDEX, *(source.part for source in wanted.values())])
        alias = {part: f"part{n}" for n, part in enumerate(parts)}
        columns = [f"{alias[_INDEX]}.{name}" for name in _PLACE]
        columns += [
            f"{alias[source.part]}.{quoted(source.column)} AS {quoted(name)}"
            for name, source in wanted.items()
        ]
        joins = [
            f"LEFT JOIN {self._scan(part)} AS {name} USING (shard, row)"
            for part, name in alias.items()
            if part != _INDEX
        ]
        return (
            f"SELECT {', '.join(columns)} FROM {self._scan(_INDEX)} AS {alias[_INDEX]} "
            f"{' '.join(joins)} ANTI JOIN hidden USING (shard, row)"
        )

    def _scan(self, part: str) -> str:
        corpus = self._view.corpus
        ledger = final_ledger(corpus)
        folder = ledger.folder if part == _FATE and ledger else part
        told = _INDEX if part == _FATE and ledger is None else folder
        paths = [local_file(corpus.store, self._path(told, s.shard)) for s in corpus.shards]
        escaped = [path.replace("'", "''") for path in paths]
        files = "[" + ", ".join(f"'{path}'" for path in escaped) + "]"
        if part == _FATE and ledger is None:
            return _UNDECIDED.format(files)
        return f"read_parquet({files})"

    def sample(self, uid: str) -> Sample:
        """One sample by its uid or the first characters of it; of twins the one that is kept.

        Raises UsageError where several samples begin so, CorpusError where there is none, or a
        blocklist stopped it.
        """
        if not uid.strip():
            raise UsageError("a uid, or its first characters, is asked for; it is empty")
        found = self._view.search.positions(Filter(uid=uid.strip()))
        if not len(found):
            raise CorpusError(f"{self.path}: no sample with uid {uid}, or a blocklist stopped it")
        if len(uid.strip()) < _UID and self._differ(found):
            raise UsageError(f"{self.path}: {len(found):,} samples have a uid that begins {uid}")
        kept = self._view.fates.kept()[found]
        return Sample(self._view, int(found[int(np.argmax(kept))]))

    def _differ(self, found: Positions) -> bool:
        """Whether samples whose uids begin alike are more than twins."""
        if len(found) > _TWINS:
            return True
        return len({row["uid"] for row in self._view.reader.rows(found.tolist())}) > 1

    def at(self, shard: int, row: int) -> Sample:
        """One sample by its place. Raises UsageError where there is none, CorpusError if hidden."""
        position = self._view.position(int(shard), int(row))
        if self._view.fates.seen(position) == HIDDEN:
            raise CorpusError(
                f"{self.path}: a blocklist stopped row {row} of shard {shard}; it is not shown"
            )
        return Sample(self._view, position)

    def funnel(self) -> FunnelTable:
        """What went in, what each stage took away and why; drawn as a table in Jupyter."""
        return FunnelTable(self._view.overview())
