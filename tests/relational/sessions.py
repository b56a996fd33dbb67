"""A step's verdicts over a table of survivors; a new engine is a line in `SESSIONS`."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.core.step import VERDICT_COLUMNS, RelationalStep
from curation.engines.spark import SparkEngine
from curation.engines.spark_session import SparkStepSession
from curation.engines.sql import DuckSession
from schemas import SAMPLE


def written(rows: pa.Table, folder: str) -> list[str]:
    """`rows` as files of an uneven number of rows."""
    cuts = [0, rows.num_rows // 3, rows.num_rows]
    files = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        path = Path(folder) / f"{number}.parquet"
        pq.write_table(rows.slice(start, stop - start), path)
        files.append(str(path))
    return files


@contextmanager
def duckdb_session(rows: pa.Table, threads: int = 2) -> Iterator[DuckSession]:
    """A session whose `survivors` are `rows`."""
    with tempfile.TemporaryDirectory() as folder:
        files = written(rows, folder)
        session = DuckSession(Path(folder) / "db", threads=threads, memory="500MB")
        session.read_files("survivors", files)
        try:
            yield session
        finally:
            session.close()


@functools.cache
def spark_here() -> SparkEngine:
    """Spark in this process, one for all tests; what the driver may hold is little."""
    conf = {"spark.driver.memory": "1g", "spark.driver.maxResultSize": "50m"}
    conf["spark.driver.bindAddress"] = conf["spark.driver.host"] = "127.0.0.1"
    conf["spark.sql.shuffle.partitions"] = "2"
    conf["spark.driver.extraJavaOptions"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    engine = SparkEngine(scratch=tempfile.mkdtemp(), master="local[2]", conf=conf)
    atexit.register(shutil.rmtree, engine.scratch, ignore_errors=True)
    atexit.register(engine.close)
    return engine


@contextmanager
def spark_session(rows: pa.Table, threads: int = 2) -> Iterator[SparkStepSession]:
    """The same in Spark, which has its own number of `threads`."""
    with tempfile.TemporaryDirectory() as folder, spark_here().session() as session:
        session.read_files("survivors", written(rows, folder))
        yield session


SESSIONS = {"duckdb": duckdb_session, "spark": spark_session}

OPENED = [
    pytest.param(name, marks=[pytest.mark.slow, pytest.mark.spark] if name == "spark" else [])
    for name in SESSIONS
]
"""Names of them, for tests that run on each."""

EMBEDDED = pytest.mark.parametrize("decide", ["duckdb"], indirect=True)
"""For a test of many runs of one step: each takes Spark seconds, in an order of its own anyway."""


def verdicts(session: Any) -> list[dict[str, Any]]:
    """What the step said, by sample."""
    columns = ", ".join(["shard", "row", *VERDICT_COLUMNS.names])
    query = f"SELECT {columns} FROM verdicts ORDER BY shard ASC NULLS LAST, row ASC NULLS LAST"
    return [row for batch in session.stream(query) for row in batch.to_pylist()]


def survivors(step: RelationalStep, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows in the types that a step requires; a column that a row lacks is null."""
    schema = pa.schema([*SAMPLE, *step.requires])
    return pa.Table.from_pylist([{f.name: row.get(f.name) for f in schema} for row in rows], schema)


def dropped(row: dict[str, Any], reason: str, **said: Any) -> dict[str, Any]:
    """A verdict, all other columns null."""
    nothing = dict.fromkeys(VERDICT_COLUMNS.names)
    return {"shard": row["shard"], "row": row["row"], **nothing, "reason": reason, **said}


def kept_by(row: dict[str, Any]) -> dict[str, Any]:
    return {"kept_by": row["uid"], "kept_by_shard": row["shard"], "kept_by_row": row["row"]}


def best_first(rows: list[dict[str, Any]], *measures: str) -> list[dict[str, Any]]:
    """Each measure from high to low, nulls last; then uid, shard, row."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        ranks = [(row[m] is None, -(row[m] or 0)) for m in measures]
        return (*ranks, row["uid"], row["shard"], row["row"])

    return sorted(rows, key=key)
