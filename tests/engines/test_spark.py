"""Spark in this process: tasks, sessions, what the driver holds, and the bytes of a whole run."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.core.errors import RunError, StorageError, UsageError
from curation.core.progress import SILENT
from curation.engines.sql import DuckSession
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.run import run
from tests.pipeline.corpora import curate, plain_recipe, tree, write_pairs
from tests.relational.sessions import spark_here

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture(scope="module")
def engine():
    return spark_here()


@pytest.fixture
def session(engine):
    with engine.session() as session:
        yield session


def square(number: int) -> int:
    return number * number


def deadly(number: int) -> int:
    """Kills its process on 13."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def refuses(number: int) -> int:
    if number == 3:
        raise UsageError("not this one")
    return number


def fails(number: int) -> int:
    raise ValueError(number)


def process(_: int) -> tuple[int, int]:
    time.sleep(0.1)
    return os.getppid(), os.getpid()


def probe(number: int) -> None:
    deadly(number)


def milder(number, survives):
    assert not survives(probe, number)
    assert survives(probe, number - 1)
    return 1000


def rows_of(session, query, size=65_536):
    return [row for batch in session.stream(query, size) for row in batch.to_pylist()]


# Tasks


def test_every_item_is_worked_once(engine):
    assert sorted(engine.map(square, range(50))) == [n * n for n in range(50)]
    assert list(engine.map(square, [])) == []


def test_items_are_taken_as_workers_get_free(engine):
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = engine.map(square, items())
    next(results)
    assert len(taken) <= 3 * 4 * engine.workers
    results.close()


def test_a_task_in_a_child_stays_open_for_the_next(engine):
    children = set(engine.map(process, range(16)))
    assert len(children) <= engine.workers


def test_a_task_with_threads_has_the_cores_for_them(engine):
    assert sorted(engine.map(square, range(9), threads=2)) == [n * n for n in range(9)]


def test_an_item_that_kills_is_named_or_replaced(engine):
    with pytest.raises(RunError, match=r"died .* on 13"):
        list(engine.map(deadly, range(10, 16)))
    found = sorted(engine.map(deadly, range(10, 16), on_crash=milder))
    assert found == [10, 11, 12, 14, 15, 1000]


def test_what_a_task_raises_reaches_the_caller_and_is_not_tried_again(engine):
    with pytest.raises(UsageError, match="not this one"):
        list(engine.map(refuses, range(5)))
    with pytest.raises(ValueError, match="0"):
        list(engine.map(fails, [0]))


# Sessions


def numbers(count):
    return pa.table({"n": pa.array(range(count), pa.int64())})


@pytest.mark.parametrize("name", ["plain", "it's", "né 图 [a]?*{b}", "a b%20c"])
def test_reads_files_whatever_they_are_called(session, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for number in range(3):
        pq.write_table(pa.table({"n": [number, number + 10]}), folder / f"{name}-{number}.parquet")
    session.read_files("v", [str(folder / f"{name}-{number}.parquet") for number in range(2)])
    assert session.rows("SELECT n FROM v ORDER BY n").to_pylist() == [
        {"n": 0}, {"n": 1}, {"n": 10}, {"n": 11},
    ]  # fmt: skip


def test_reads_a_folder_of_shards_and_nothing_else_in_it(session, tmp_path):
    for number in range(20):
        pq.write_table(pa.table({"n": [number]}), tmp_path / f"{number:09d}.parquet")
    pq.write_table(pa.table({"other": ["x"]}), tmp_path / "fallen-000000001.parquet")
    files = [str(tmp_path / f"{number:09d}.parquet") for number in range(20)]
    session.read_files("v", files)
    assert session.scalar("SELECT sum(n) FROM v") == 190
    session.read_files("fewer", files[1:])
    assert session.scalar("SELECT count(*) FROM fewer") == 19


KINDS = pa.table(
    {
        "i": pa.array([1, None, -3], pa.int32()),
        "l": pa.array([1 << 40, None, -3], pa.int64()),
        "f": pa.array([0.1, None, float("nan")], pa.float32()),
        "d": pa.array([0.1, None, float("inf")], pa.float64()),
        "b": pa.array([True, None, False]),
        "s": pa.array(["a'\\n\u56fe", None, ""]),
        "w": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        "c": pa.array([[1, 2], None, []], pa.list_(pa.int32())),
        "m": pa.array([[{"ext": "jpg", "size": 1}], None, []],
                      pa.list_(pa.struct([("ext", pa.string()), ("size", pa.int64())]))),
    }
)  # fmt: skip


def test_every_type_comes_back_as_from_duckdb(session, tmp_path):
    pq.write_table(KINDS, tmp_path / "a.parquet")
    duck = DuckSession(tmp_path / "db", threads=1, memory="100MB")
    query = "SELECT * FROM v ORDER BY i ASC NULLS LAST"
    found = []
    for each in (session, duck):
        each.read_files("v", [str(tmp_path / "a.parquet")])
        each.load("loaded", KINDS)
        for table in ("v", "loaded"):
            (batch,) = each.stream(query.replace("v", table))
            found += [each.rows(query.replace("v", table)), pa.Table.from_batches([batch])]
    duck.close()
    first = found[0].cast(found[-1].schema)
    assert first.schema == found[-1].schema
    for table in found:
        assert str(table.cast(first.schema).to_pylist()) == str(first.to_pylist())
    plain = [name for name in KINDS.column_names if name not in ("c", "m")]
    assert found[0].select(plain).schema == found[-1].select(plain).schema


STATEMENTS = [
    "SELECT a // b AS x, a % b AS y, a // 2 * 3 AS z FROM t WHERE b <> 0",
    "SELECT xor(a, b) & 3 AS x, CAST(bit_count(xor(a, b)) AS INTEGER) AS y FROM t",
    "SELECT isnan(d) AS x, NOT isnan(d) AS y FROM t",
    "SELECT a, row_number() OVER (ORDER BY a DESC NULLS LAST, b ASC NULLS LAST) - 1 AS n FROM t",
    "SELECT least(a, b) AS x, greatest(a, b, 2) AS y FROM t",
    "SELECT k, count(*) AS n, bool_and(a > 1) AS x FROM t GROUP BY k",
    "SELECT a, first_value(b) OVER (PARTITION BY k ORDER BY a ASC NULLS LAST, b ASC NULLS LAST) "
    "AS x FROM t",
    "SELECT DISTINCT k FROM t WHERE k IS NOT DISTINCT FROM NULL OR k = 'x'",
    "SELECT x.a FROM t AS x JOIN t AS y ON x.k IS NOT DISTINCT FROM y.k",
    "SELECT 'it''s \\n' || coalesce(CAST(a AS VARCHAR), '(none)') AS x FROM t",
    "SELECT a, unnest(c) AS x FROM t",
    "SELECT a FROM t WHERE coalesce(array_length(c), 0) < 1",
    "SELECT CAST(floor(least(greatest(d, -2), 2) * 65536) AS INTEGER) AS x FROM t "
    "WHERE NOT isnan(d)",
    "SELECT k, CAST(sum(a) AS BIGINT) AS n FROM t GROUP BY ALL",
    "SELECT CAST('0.30000000000000004' AS DOUBLE) AS x, CAST(0.95 AS DOUBLE) AS y",
    "SELECT k FROM t UNION SELECT k FROM t",
    "SELECT k FROM t ORDER BY k ASC NULLS LAST",
]


@pytest.mark.parametrize("query", STATEMENTS)
def test_a_statement_says_the_same_as_in_duckdb(session, tmp_path, query):
    table = pa.table(
        {
            "a": pa.array([1, 7, None, -7, 12, 0], pa.int64()),
            "b": pa.array([2, 0, 3, 2, None, 0], pa.int64()),
            "d": pa.array([0.1, None, float("nan"), -1.5, 3.0, 0.0], pa.float64()),
            "k": pa.array(["x", None, "x", "\u56fe", "Z", "\U0001f600"]),
            "c": pa.array([[1, 2], None, [], [3], [4, 4], [5]], pa.list_(pa.int32())),
        }
    )
    duck = DuckSession(tmp_path / "db", threads=1, memory="100MB")
    said = []
    for each in (session, duck):
        each.load("t", table)
        each.create("r", query)
        found = each.rows(query if "ORDER BY k" in query else "SELECT * FROM r")
        rows = [tuple(map(str, row.values())) for row in found.to_pylist()]
        said.append((rows if "ORDER BY k" in query else sorted(rows), found.schema))
    duck.close()
    assert said[0] == said[1]


def test_a_division_by_nought_is_a_fault_on_both(session, tmp_path):
    duck = DuckSession(tmp_path / "db", threads=1, memory="100MB")
    for each in (session, duck):
        each.load("t", pa.table({"a": [1], "b": [0]}))
        with pytest.raises(Exception, match=r"(?i)division by zero|divide_by_zero"):
            each.rows("SELECT a // b AS x FROM t")
    duck.close()


def test_a_column_of_many_values_can_be_filtered_by(session):
    """Spark asks the dictionary of the file, here of 40 KB, before it reads the rows."""
    values = np.random.default_rng(0).random(5_000)
    drawn = np.random.default_rng(1).choice(values, 20_000)
    session.load("given", pa.table({"score": drawn}))
    session.create("scored", "SELECT score FROM given")
    for threshold in (0.3, 0.7, -1.0):
        query = f"SELECT count(*) FROM scored WHERE score < {threshold}"
        assert session.scalar(query) == int((drawn < threshold).sum())


def test_a_stream_keeps_the_order_of_its_query(session):
    session.load("t", numbers(200_000))
    batches = list(session.stream("SELECT n FROM t ORDER BY n % 1000 DESC NULLS LAST, n", 10_000))
    assert all(batch.num_rows <= 10_000 for batch in batches)
    found = pa.Table.from_batches(batches)["n"].to_pylist()
    assert found == sorted(range(200_000), key=lambda n: (-(n % 1000), n))


def test_tables_are_replaced_and_dropped(session):
    session.create("t", "SELECT 1 AS a")
    session.create("t", "SELECT a + 1 AS a FROM t")
    assert session.scalar("SELECT a FROM t") == 2
    session.view("v", "SELECT a + 1 AS b FROM t")
    session.create("t", "SELECT 5 AS a")
    assert session.scalar("SELECT b FROM v") == 6
    session.drop("t", "never_there")
    with pytest.raises(Exception, match="cannot be found"):
        session.scalar("SELECT a FROM t")
    assert session.scalar("SELECT 1 AS a WHERE false") is None


def test_sessions_do_not_meet(engine, session):
    session.create("t", "SELECT 1 AS a")
    with engine.session() as other:
        other.create("t", "SELECT 2 AS a")
        assert (session.scalar("SELECT a FROM t"), other.scalar("SELECT a FROM t")) == (1, 2)


def test_functions_over_a_whole_result_batches_and_groups(session):
    session.load("t", numbers(30_000))
    out = pa.schema([("n", pa.int32()), ("rows", pa.int64())])

    def counted(rows):
        size = rows.num_rows
        return pa.table({"spare": [None] * size, "rows": [size] * size, "n": rows["n"]})

    session.apply("whole", "SELECT n FROM t ORDER BY n DESC NULLS LAST", first_five, out)
    assert session.rows("SELECT n FROM whole ORDER BY n").to_pydict() == {
        "n": [29_995, 29_996, 29_997, 29_998, 29_999]
    }
    session.map("batches", "SELECT n FROM t", counted, out)
    assert session.rows("SELECT n, rows FROM batches LIMIT 1").schema == out
    assert session.scalar("SELECT sum(n) FROM batches") == 30_000 * 29_999 // 2
    assert session.scalar("SELECT min(rows) FROM batches") > 100
    query = "SELECT n, CASE WHEN n % 4 > 0 THEN n % 4 END AS key FROM t"
    session.groups("groups", query, "key", counted, out)
    assert session.rows("SELECT DISTINCT rows FROM groups").to_pydict() == {"rows": [7500]}
    session.map("none", "SELECT n FROM t WHERE n < 0", counted, out)
    assert session.rows("SELECT n, rows FROM none").schema == out


def first_five(rows):
    return pa.table({"n": rows["n"].slice(0, 5), "rows": [rows.num_rows] * 5})


class Numbered:
    def __init__(self, shard: int) -> None:
        self.shard = shard


def commit(shard: Numbered, rows: pa.Table) -> tuple[int, list[int], str]:
    if shard.shard == 99:
        raise UsageError("no such shard")
    return shard.shard, rows["row"].to_pylist(), str(rows.schema)


VERDICTS = pa.schema([("shard", pa.int32()), ("row", pa.int32()), ("why", pa.string())])


def test_each_shard_gets_its_rows_once_and_in_order(session):
    rng = np.random.default_rng(3)
    rows = [(s, r) for s in range(0, 20, 2) for r in rng.permutation(30).tolist()]
    shards, places = zip(*rows, strict=True)
    table = pa.table({"shard": shards, "row": places, "why": ["x"] * len(rows)}).cast(VERDICTS)
    session.load("verdicts", table)
    asked = [Numbered(shard) for shard in range(20)]
    said = list(session.each("SELECT shard, row, why FROM verdicts", VERDICTS, asked, commit))
    expected = [(s, list(range(30)) if s % 2 == 0 else [], str(VERDICTS)) for s in range(20)]
    assert sorted(said) == expected
    with pytest.raises(UsageError, match="no such shard"):
        list(session.each("SELECT shard, row, why FROM verdicts", VERDICTS, [Numbered(99)], commit))


def test_scratch_space_is_gone_afterwards(engine):
    before = set(Path(engine.scratch).iterdir())
    with engine.session() as session, engine.folder():
        session.create("t", "SELECT 1 AS a")
        assert set(Path(engine.scratch).iterdir()) > before
    assert set(Path(engine.scratch).iterdir()) == before


def test_a_file_that_is_gone_is_a_fault_of_storage(session, tmp_path):
    pq.write_table(numbers(3), tmp_path / "a.parquet")
    session.read_files("v", [str(tmp_path / "a.parquet")])
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(StorageError, match=r"a\.parquet"):
        session.create("t", "SELECT n FROM v")


# Whole runs


def test_a_whole_run_gives_the_bytes_of_the_embedded_engine(engine, tmp_path):
    source = write_pairs(tmp_path / "pairs", 60)
    curate(source, tmp_path / "local", shard_samples=20)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=20))
    run(plain_recipe(), request, str(tmp_path / "spark"), engine, SILENT)
    assert tree(tmp_path / "spark") == tree(tmp_path / "local")
