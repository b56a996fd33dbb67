"""Parquet files of a local corpus asked with DuckDB: a few rows of one, or a search through all."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from curation.core.errors import CorpusError
from curation.io.store import Store

_THREADS = 2
_SPECIAL = re.compile(r"([*?\[])")


def local_file(store: Store, path: str) -> str:
    """A file of a local corpus as DuckDB is told of it: a name, and never a pattern."""
    return _SPECIAL.sub(r"[\1]", str(Path(store.path("")) / path))


def quoted(column: str) -> str:
    """A column's name in SQL, whatever characters are in it."""
    escaped = column.replace('"', '""')
    return f'"{escaped}"'


def stream(query: str, values: list[Any]) -> Iterator[pa.RecordBatch]:
    """Batches of a query's result. Raises CorpusError where a file cannot be read."""
    with duckdb.connect(config={"threads": _THREADS}) as connection:
        try:
            yield from connection.sql(query, params=values).to_arrow_reader(1 << 16)
        except (duckdb.Error, OSError) as error:
            raise CorpusError(_told(error)) from error


class RowFetcher:
    """Reads single rows out of files; safe to ask from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = duckdb.connect(config={"threads": _THREADS})

    def fetch(self, path: str, selected: str, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
        """`selected` (SQL over the file's columns) of those rows, by row.

        Raises CorpusError for a file that is damaged or lacks a row.
        """
        wanted = sorted(set(rows))
        query = f"SELECT row AS at, {selected} FROM read_parquet($1) WHERE row IN "
        query += f"({', '.join(map(str, wanted))})"
        with self._database.cursor() as cursor:
            try:
                cursor.execute(query, [[local_file(self._store, path)]])
                names = [column[0] for column in cursor.description]
                told = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            except (duckdb.Error, OSError, UnicodeDecodeError) as error:
                raise CorpusError(f"{self._store.path(path)}: {_told(error)}") from error
        found = {int(row.pop("at")): row for row in told}
        if len(found) != len(wanted):
            raise CorpusError(f"{self._store.path(path)}: rows are missing; run `curate verify`")
        return found


def _told(error: Exception) -> str:
    return f"cannot be read ({str(error).splitlines()[0]})"
