"""Relational steps on DuckDB: on disk, within a memory limit, the same rows on every run."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.core.engine import Result, Shard
from curation.core.errors import RunError, StorageError

Found = TypeVar("Found")


class DuckSession:
    """One step's tables in a database file that spills beside itself."""

    def __init__(self, folder: Path, *, threads: int, memory: str) -> None:
        self._folder = folder
        self._beside = ThreadPoolExecutor(1)
        with _translated():
            folder.mkdir(parents=True, exist_ok=True)
            self._db = duckdb.connect(str(folder / "step.duckdb"))
        self._db.execute(f"SET threads = {int(threads)}")
        self._db.execute("SET memory_limit = ?", [memory])
        self._db.execute("SET temp_directory = ?", [str(folder / "spill")])
        self._db.execute("SET preserve_insertion_order = false")
        self._db.execute("SET enable_progress_bar = false")

    def read_files(self, view: str, files: list[str]) -> None:
        """Makes a view over Parquet files."""
        quoted = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        self._run(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM read_parquet([{quoted}])")

    def create(self, table: str, query: str) -> None:
        self._run(f"CREATE OR REPLACE TABLE {table} AS {query}")

    def view(self, name: str, query: str) -> None:
        """A named query, evaluated where it is used."""
        self._run(f"CREATE OR REPLACE VIEW {name} AS {query}")

    def drop(self, *tables: str) -> None:
        for table in tables:
            self._run(f"DROP TABLE IF EXISTS {table}")

    def scalar(self, query: str) -> Any:
        rows = self._do(lambda: self._db.execute(query).fetchall())
        return rows[0][0] if rows else None

    def load(self, table: str, data: pa.Table) -> None:
        self._db.register("loading", data)
        self.create(table, "SELECT * FROM loading")
        self._db.unregister("loading")

    def apply(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        self.load(table, function(self.rows(query)).cast(schema))

    def rows(self, query: str) -> pa.Table:
        return self._do(lambda: self._db.sql(query).to_arrow_table())

    def map(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        parts = (function(pa.Table.from_batches([batch])) for batch in self.stream(query))
        self._spool(table, parts, schema)

    def groups(
        self,
        table: str,
        query: str,
        key: str,
        function: Callable[[pa.Table], pa.Table],
        schema: pa.Schema,
    ) -> None:
        stream = self.stream(f"SELECT * FROM ({query}) AS q ORDER BY {key} ASC NULLS LAST")
        self._spool(table, (function(group) for group in _grouped(stream, key)), schema)

    def _spool(self, table: str, parts: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Makes a table of many parts through a file: the stream that they come from is open."""
        file = self._folder / f"{table}.spool.parquet"
        with _translated(), pq.ParquetWriter(file, schema) as writer:
            for part in parts:
                writer.write_table(part.select(schema.names).cast(schema))
        name = str(file).replace("'", "''")
        self.create(table, f"SELECT * FROM read_parquet('{name}')")
        file.unlink()

    def stream(self, query: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The result of a query, a batch at a time."""
        reader = self._do(lambda: self._db.sql(query).to_arrow_reader(rows))
        while (batch := self._do(lambda: next(reader, None))) is not None:
            yield batch

    def each(
        self,
        query: str,
        schema: pa.Schema,
        shards: Sequence[Shard],
        task: Callable[[Shard, pa.Table], Result],
    ) -> Iterator[Result]:
        columns = ", ".join(schema.names)
        stream = self.stream(
            f"SELECT {columns} FROM ({query}) AS q "
            "ORDER BY shard ASC NULLS LAST, row ASC NULLS LAST"
        )
        pending = schema.empty_table()
        exhausted = False
        for shard in sorted(shards, key=lambda shard: shard.shard):
            while not exhausted and (
                pending.num_rows == 0 or pending["shard"][-1].as_py() <= shard.shard
            ):
                batch = next(stream, None)
                if batch is None:
                    exhausted = True
                else:
                    more = pa.Table.from_batches([batch]).cast(schema)
                    pending = pa.concat_tables([pending, more])
            mine = int(np.searchsorted(pending["shard"].to_numpy(), shard.shard, side="right"))
            yield task(shard, pending.slice(0, mine))
            pending = pending.slice(mine)

    def close(self) -> None:
        self._beside.shutdown()
        self._db.close()

    def _run(self, statement: str) -> None:
        self._do(lambda: self._db.execute(statement))

    def _do(self, call: Callable[[], Found]) -> Found:
        """A call of DuckDB, beside the main thread: in it an interrupt would wait for its end."""
        with _translated():
            if threading.current_thread() is not threading.main_thread():
                return call()
            found = self._beside.submit(call)
            try:
                return found.result()
            except BaseException:
                if not found.done():
                    self._db.interrupt()
                    wait([found])
                raise


def _grouped(stream: Iterator[pa.RecordBatch], key: str) -> Iterator[pa.Table]:
    """Tables of equal `key` out of batches that are sorted by it."""
    pending: list[pa.Table] = []
    for batch in stream:
        rows = pa.Table.from_batches([batch])
        runs = pc.run_end_encode(rows[key].combine_chunks())
        start = 0
        for end in runs.run_ends.to_pylist():
            part = rows.slice(start, end - start)
            if pending and pending[0][key][0] != part[key][0]:
                yield pa.concat_tables(pending)
                pending = []
            pending.append(part)
            start = end
    if pending:
        yield pa.concat_tables(pending)


@contextmanager
def _translated() -> Iterator[None]:
    """Turns DuckDB's resource errors into ours; the rest are faults of the step itself."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if "max_temp_directory_size" in str(error):  # what DuckDB makes of a disk that gets full
            raise StorageError("scratch space of a relational step is full") from error
        raise RunError(
            f"a relational step needs more memory than --memory allows ({_first_line(error)})"
        ) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from error
        raise
    except (duckdb.IOException, OSError) as error:
        raise StorageError(f"scratch space of a relational step: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
