"""Relational steps in Spark SQL: tables are Parquet files in a scratch folder, none on the driver.

A table is written when it is made, so that loops repeat nothing and a lost executor loses nothing.
"""

import contextlib
import functools
import gc
import itertools
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, DataFrameReader, SparkSession, functions
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from curation.core.engine import Result, Shard
from curation.core.errors import RunError
from curation.engines.dialect import to_spark
from curation.engines.isolated import unwrapped
from curation.engines.spark_failures import spark_failures
from curation.io.store import Store

_SETTINGS = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    # Files say little of the rows in them: a caption on a million images packs into nothing. What
    # is broadcast is told by us, or found out as the query runs.
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.adaptive.autoBroadcastJoinThreshold": "10MB",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    # Not lz4_raw: its dictionaries beyond 8 KB cannot be filtered by (parquet-java 3478).
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
}
"""Of each step's session, where the user's own say nothing."""

_MEANING = ("spark.sql.ansi.enabled", "spark.sql.session.timeZone")
"""Settings that nobody may change: results depend on them."""

_BROADCAST = 8 << 20
"""Bytes that a table may have in memory to be sent to every executor."""

_ROW_GROUP = 16 << 20
"""Bytes of a row group: what the driver holds of a table that it streams."""

_FEW_FILES = 8
"""Files of a table that the driver looks at to learn how many rows it has."""

_PARQUET = ".parquet"


_SCHEMES = {"s3": "s3a", "gcs": "gs"}
"""fsspec's name of a store, and Hadoop's."""


class SparkStepSession:
    """One step's tables. Views and settings are a session's own: sessions do not meet."""

    def __init__(
        self, spark: SparkSession, folder: str, *, workers: int, conf: Mapping[str, str]
    ) -> None:
        """`folder` is a scratch folder that all nodes reach, and ends with the session."""
        self._spark = spark.newSession()
        given = spark.sparkContext.getConf()
        for name, value in _SETTINGS.items():
            own = given.get(name) if given.contains(name) else None
            fixed = name in _MEANING or own is None
            self._spark.conf.set(name, value if fixed else conf.get(name, str(own)))
        self._store = Store(folder)
        self._folder, self._workers = folder, workers
        self._partitions_given = given.contains("spark.sql.shuffle.partitions")
        self._partition_for(0)
        self._numbers = itertools.count()
        self._places: dict[str, str] = {}
        """Folder of each table in the scratch folder."""
        self._views: dict[str, str] = {}
        """Query of each view."""

    def read_files(self, view: str, files: list[str]) -> None:
        """Makes a view over Parquet files of one schema."""
        folder, _, first = files[0].rpartition("/")
        with Store(folder).open(first) as file:
            schema = from_arrow_schema(readable(pq.read_schema(file)))
        self._partition_for(len(files))
        reader = self._reader(schema)
        with spark_failures():
            if _are_a_folder(files):  # listed faster than its files are named
                reader = reader.option("pathGlobFilter", f"[0-9]*{_PARQUET}")
                rows = reader.parquet(pattern(folder))
            else:
                rows = reader.parquet(*map(pattern, files))
            rows.createOrReplaceTempView(view)

    def create(self, table: str, query: str) -> None:
        self._write(table, lambda: self._sql(query))

    def view(self, name: str, query: str) -> None:
        """A named query, evaluated where it is used."""
        self._views[name] = query

    def drop(self, *tables: str) -> None:
        with spark_failures():
            for table in tables:
                self._spark.catalog.dropTempView(table)
                if table in self._places:
                    self._store.remove(self._places.pop(table))

    def scalar(self, query: str) -> Any:
        rows = self.rows(query)
        return rows[0][0].as_py() if rows.num_rows else None

    def load(self, table: str, data: pa.Table) -> None:
        place, schema = self._place(), readable(data.schema)
        with spark_failures():
            with self._store.writer(f"{place}/part-0-loaded{_PARQUET}") as file:
                pq.write_table(data.cast(schema), file, store_schema=False)
            self._keep(table, place, from_arrow_schema(schema))

    def apply(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        """Runs the function as one task, on whichever executor."""
        with self._ordered(query) as (names, given):
            store = self._store

            def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                settle_worker()
                for _ in batches:
                    parts = [
                        *_read(store, names, given, 1 << 16),
                        *given.empty_table().to_batches(),
                    ]
                    yield from _made(function(pa.Table.from_batches(parts, given)), schema)

            self._write(table, lambda: self._mapped(self._spark.range(1), run, schema))

    def rows(self, query: str) -> pa.Table:
        with spark_failures():
            table = self._sql(query).toArrow()
        return table.cast(readable(table.schema))

    def map(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            settle_worker()
            for batch in batches:
                yield from _made(function(_table(batch)), schema)

        self._write(table, lambda: self._mapped(self._sql(query), run, schema))

    def groups(
        self,
        table: str,
        query: str,
        key: str,
        function: Callable[[pa.Table], pa.Table],
        schema: pa.Schema,
    ) -> None:
        def run(group: pa.Table) -> pa.Table:
            settle_worker()
            given = group.cast(readable(group.schema))
            return function(given).select(schema.names).cast(readable(schema))

        spark_schema = from_arrow_schema(readable(schema))
        self._write(
            table,
            lambda: self._sql(query).groupBy(key).applyInArrow(run, spark_schema),
        )

    def stream(self, query: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The result of a query in its order, read from files that the executors write."""
        with self._ordered(query) as (names, schema):
            yield from _read(self._store, names, schema, rows)

    def each(
        self,
        query: str,
        schema: pa.Schema,
        shards: Sequence[Shard],
        task: Callable[[Shard, pa.Table], Result],
    ) -> Iterator[Result]:
        """Runs the tasks on executors, each with the rows of its shard."""
        listed = pa.table(
            {
                "shard": pa.array([shard.shard for shard in shards], pa.int32()),
                "item": pa.array([pickle.dumps(shard) for shard in shards], pa.binary()),
            }
        )
        self.load("_shards", listed)

        def run(rows: pa.Table, items: pa.Table) -> pa.Table:
            settle_worker()
            sent = items["item"].to_pylist()
            mine = rows.select(schema.names).cast(schema).sort_by("row")
            outcomes = [answer(task, item, mine) for item in sent]
            return pa.table({"outcome": pa.array(outcomes, pa.binary())})

        def plan() -> DataFrame:
            rows = self._sql(query).select(*schema.names)
            grouped = rows.groupBy("shard").cogroup(self._spark.table("_shards").groupBy("shard"))
            return grouped.applyInArrow(run, "outcome binary")

        self._write("_outcomes", plan)
        done = 0
        for batch in self.stream("SELECT outcome FROM _outcomes", 1024):
            for outcome in batch["outcome"].to_pylist():
                done += 1
                yield unwrapped(outcome)
        self.drop("_shards", "_outcomes")
        if done != len(shards):
            raise RunError(f"Spark gave {done} results of {len(shards)} shards")

    def _sql(self, query: str) -> DataFrame:
        return self._spark.sql(to_spark(query, self._views))

    def _mapped(self, rows: DataFrame, run: Any, schema: pa.Schema) -> DataFrame:
        return rows.mapInArrow(run, from_arrow_schema(readable(schema)))

    def _partition_for(self, files: int) -> None:
        """Shuffles by the size of what they read, unless the user has said how wide they are."""
        if not self._partitions_given:
            wide = min(20_000, max(2 * self._workers, files // 8))
            self._spark.conf.set("spark.sql.shuffle.partitions", str(wide))

    def _place(self) -> str:
        return f"t{next(self._numbers)}"

    def _write(self, table: str, plan: Callable[[], DataFrame]) -> None:
        """Makes a table of what a plan gives; the one of that name is its to read until then."""
        place = self._place()
        with spark_failures():
            made = plan()
            self._to_files(made, place)
            self._keep(table, place, made.schema)

    def _to_files(self, rows: DataFrame, place: str) -> None:
        writer = rows.write.option("parquet.block.size", _ROW_GROUP)
        writer.parquet(located(f"{self._folder}/{place}"))

    def _keep(self, table: str, place: str, schema: StructType) -> None:
        self.drop(table)
        self._places[table] = place
        rows = self._reader(schema).parquet(pattern(f"{self._folder}/{place}"))
        if self._is_small(place, arrow_of(schema)):
            rows = functions.broadcast(rows)
        rows.createOrReplaceTempView(table)

    def _is_small(self, place: str, schema: pa.Schema) -> bool:
        names = self._files(place)
        if len(names) > _FEW_FILES:
            return False
        counted = 0
        for name in names:
            with self._store.open(name) as file:
                counted += pq.read_metadata(file).num_rows
        return counted * sum(_width(field.type) for field in schema) <= _BROADCAST

    def _files(self, place: str) -> list[str]:
        """Files of a table, in the order of its rows."""
        names = [name for name in self._store.names(place) if name.startswith("part-")]
        return [f"{place}/{name}" for name in sorted(names, key=lambda n: int(n.split("-")[1]))]

    def _reader(self, schema: StructType) -> DataFrameReader:
        return self._spark.read.schema(schema)

    @contextlib.contextmanager
    def _ordered(self, query: str) -> Iterator[tuple[list[str], pa.Schema]]:
        """The result of a query in files, by name in its order, and its schema."""
        place = self._place()
        with spark_failures():
            made = self._sql(query)
            self._to_files(made, place)
        try:
            yield self._files(place), arrow_of(made.schema)
        finally:
            self._store.remove(place)


def arrow_of(schema: StructType) -> pa.Schema:
    """Arrow's schema of rows of Spark."""
    return readable(to_arrow_schema(schema))


def readable(schema: pa.Schema) -> pa.Schema:
    """The schema as Spark reads it: no fixed or large widths, all nullable, no metadata."""
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def located(place: str) -> str:
    """A path or URL of ours as Hadoop's file systems know it."""
    scheme, there, rest = place.partition("://")
    return (
        f"{_SCHEMES.get(scheme, scheme)}://{rest}" if there else f"file://{Path(place).absolute()}"
    )


@functools.cache
def settle_worker() -> None:
    """Called by every function on an executor: what is loaded is not looked through again.

    Spark collects garbage after each task, which takes longer than a small task otherwise.
    """
    gc.freeze()


def pattern(place: str) -> str:
    """What `located` gives, as Spark reads it: a pattern that only this place matches."""
    return re.sub(r"([\\\[\]{}?*])", r"\\\1", located(place))


def answer(function: Callable[..., Any], item: bytes, *more: Any) -> bytes:
    """What a function says to a pickled item, for `unwrapped`; also what it raises comes back.

    Spark would do again what raises on an executor.
    """
    try:
        return pickle.dumps((function(pickle.loads(item), *more), None))  # noqa: S301 - our own
    except Exception as error:  # noqa: BLE001 - raised again by `unwrapped`
        return pickle.dumps((None, error))


def _are_a_folder(files: list[str]) -> bool:
    """Whether they are all of the shards' files in one folder, and many."""
    folder = files[0].rpartition("/")[0]
    if len(files) <= _FEW_FILES or any(f.rpartition("/")[0] != folder for f in files):
        return False
    there = {n for n in Store(folder).names("") if n[:1].isdigit() and n.endswith(_PARQUET)}
    return there == {f.rpartition("/")[2] for f in files}


def _table(batch: pa.RecordBatch) -> pa.Table:
    table = pa.Table.from_batches([batch])
    return table.cast(readable(table.schema))


def _made(rows: pa.Table, schema: pa.Schema) -> list[pa.RecordBatch]:
    """Batches of what a function gave, as Spark takes them."""
    batches: list[pa.RecordBatch] = (
        rows.select(schema.names).cast(schema).cast(readable(schema)).to_batches()
    )
    return batches


def _read(store: Store, names: list[str], schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of Parquet files, in order, without holding more than a row group of one."""
    for name in names:
        with store.open(name) as file:
            for batch in pq.ParquetFile(file).iter_batches(rows):
                yield from pa.Table.from_batches([batch]).cast(schema).to_batches()


def _width(kind: pa.DataType) -> int:
    """About the bytes that one value takes in memory."""
    if pa.types.is_binary(kind) or pa.types.is_nested(kind):
        return 2048
    return 64 if pa.types.is_string(kind) else 8
