"""The DuckDB session: tables, streams, functions over rows, and what it says when space ends."""

import os
import re
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curation.core.errors import RunError, StorageError
from curation.engines.sql import DuckSession


@pytest.fixture
def session(tmp_path):
    made = DuckSession(tmp_path / "db", threads=2, memory="200MB")
    yield made
    made.close()


@pytest.fixture
def cramped(tmp_path):
    """A session with little memory, which may spill."""
    made = DuckSession(tmp_path / "cramped", threads=1, memory="30MB")
    yield made
    made.close()


def rows_of(session, query, size=65_536):
    return [row for batch in session.stream(query, size) for row in batch.to_pylist()]


def numbers(count):
    return pa.table({"n": pa.array(range(count), pa.int64())})


@pytest.mark.parametrize("name", ["plain", "it's", "two ''quotes", 'dou"ble', "né 图 [a]?*"])
def test_reads_files_whatever_they_are_called(session, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    files = [str(folder / f"{name}-{n}.parquet") for n in range(2)]
    for n, file in enumerate(files):
        pq.write_table(pa.table({"n": [n, n + 10]}), file)
    session.read_files("v", files)
    found = rows_of(session, "SELECT n FROM v ORDER BY n")
    assert [row["n"] for row in found] == [0, 1, 10, 11]


def test_a_stream_keeps_the_order_of_its_query(session):
    session.load("t", numbers(200_000))
    batches = list(session.stream("SELECT n FROM t ORDER BY n % 1000 DESC, n", 10_000))
    assert all(batch.num_rows <= 10_000 for batch in batches)
    found = pa.Table.from_batches(batches)["n"].to_pylist()
    assert found == sorted(range(200_000), key=lambda n: (-(n % 1000), n))


def test_an_empty_stream_has_no_rows(session):
    session.load("t", numbers(0))
    assert rows_of(session, "SELECT n FROM t") == []
    assert session.rows("SELECT n FROM t").schema == numbers(0).schema


def test_tables_are_replaced_and_dropped(session):
    session.create("t", "SELECT 1 AS a")
    session.create("t", "SELECT 2 AS a")
    assert session.scalar("SELECT a FROM t") == 2
    session.view("v", "SELECT a + 1 AS b FROM t")
    session.create("t", "SELECT 5 AS a")
    assert session.scalar("SELECT b FROM v") == 6
    session.drop("t", "never_there")
    session.create("t", "SELECT 7 AS a")
    assert session.scalar("SELECT b FROM v") == 8


def test_the_scalar_of_no_rows_is_null(session):
    assert session.scalar("SELECT 1 AS a WHERE false") is None


def test_a_function_over_a_whole_result_gets_it_in_order(session):
    session.load("t", numbers(1000))
    seen = []

    def halve(table):
        seen.append(table["n"].to_pylist())
        return pa.table({"half": pc.divide(table["n"], 2)})

    schema = pa.schema([("half", pa.int32())])
    session.apply("h", "SELECT n FROM t ORDER BY n DESC", halve, schema)
    assert seen == [list(range(999, -1, -1))]
    assert session.rows("SELECT half FROM h").schema == schema
    assert session.scalar("SELECT sum(half) FROM h") == sum(n // 2 for n in range(1000))


def test_a_function_over_batches_sees_every_row_once(session):
    session.load("t", numbers(150_000))
    seen = []

    def double(table):
        seen.append(table.num_rows)
        return pa.table({"spare": table["n"], "twice": pc.multiply(table["n"], 2)})

    session.map("d", "SELECT n FROM t", double, pa.schema([("twice", pa.int64())]))
    assert sum(seen) == 150_000
    assert len(seen) > 1
    assert rows_of(session, "SELECT count(*) AS c, sum(twice) AS s FROM d") == [
        {"c": 150_000, "s": 150_000 * 149_999}
    ]
    session.map("none", "SELECT n FROM t WHERE n < 0", double, pa.schema([("twice", pa.int64())]))
    assert session.scalar("SELECT count(*) FROM none") == 0


@pytest.mark.parametrize("rows", [0, 1, 1000, 200_000])
def test_a_function_over_groups_sees_each_key_whole_and_once(session, rows):
    keys = pa.array([None if n % 7 == 0 else str(n % 50) for n in range(rows)], pa.string())
    session.load("t", pa.table({"key": keys, "n": pa.array(range(rows), pa.int64())}))
    seen = []

    def total(table):
        (key,) = set(table["key"].to_pylist())
        seen.append(key)
        return pa.table({"key": [key], "total": [pc.sum(table["n"]).as_py()]})

    schema = pa.schema([("key", pa.string()), ("total", pa.int64())])
    session.groups("g", "SELECT key, n FROM t", "key", total, schema)
    expected = {}
    for n, key in enumerate(keys.to_pylist()):
        expected[key] = expected.get(key, 0) + n
    assert sorted(seen, key=str) == sorted(expected, key=str)
    found = rows_of(session, "SELECT key, total FROM g")
    assert {row["key"]: row["total"] for row in found} == expected


def test_scratch_files_of_functions_are_gone_afterwards(session, tmp_path):
    session.load("t", numbers(10))
    session.map("d", "SELECT n FROM t", lambda table: table, numbers(0).schema)
    session.groups("g", "SELECT n FROM t", "n", lambda table: table, numbers(0).schema)
    assert [path.name for path in (tmp_path / "db").iterdir() if "spool" in path.name] == []


LISTED = "SELECT list(i) AS n FROM range(20000000) AS t(i)"
"""Needs all of a list in memory at once."""
SORTED = "SELECT i AS n FROM range(3000000) AS t(i) ORDER BY (i * 7919) % 1000003, i"
ASKED = {
    "create": lambda s, q: s.create("t", q),
    "scalar": lambda s, q: s.scalar(f"SELECT max(n) FROM ({q}) AS q"),
    "rows": lambda s, q: s.rows(q),
    "stream": lambda s, q: list(s.stream(q)),
    "apply": lambda s, q: s.apply("t", q, lambda table: table, numbers(0).schema),
    "map": lambda s, q: s.map("t", q, lambda table: table, numbers(0).schema),
    "groups": lambda s, q: s.groups("t", q, "n", lambda table: table, numbers(0).schema),
}


@pytest.mark.parametrize("way", ASKED)
def test_memory_that_ends_is_one_line_that_names_the_remedy(cramped, way):
    with pytest.raises(RunError, match="needs more memory than --memory allows") as caught:
        ASKED[way](cramped, LISTED)
    assert "\n" not in str(caught.value)


def test_what_memory_does_not_hold_is_spilled(cramped, tmp_path):
    found = pa.Table.from_batches(list(cramped.stream(SORTED)))["n"]
    assert len(found) == 3_000_000
    assert (
        found[:3].to_pylist() == sorted(range(3_000_000), key=lambda i: (i * 7919 % 1000003, i))[:3]
    )
    assert pc.sum(found).as_py() == 3_000_000 * 2_999_999 // 2


@pytest.mark.parametrize("way", ["create", "rows", "stream", "map", "groups"])
def test_a_disk_that_gets_full_is_one_line(cramped, way):
    cramped._db.execute("SET max_temp_directory_size = '1MB'")
    with pytest.raises(StorageError, match="scratch space of a relational step is full"):
        ASKED[way](cramped, SORTED)


@pytest.mark.parametrize("way", ["create", "scalar", "rows", "stream"])
def test_a_file_that_is_gone_is_a_fault_of_storage(session, tmp_path, way):
    file = tmp_path / "a.parquet"
    pq.write_table(numbers(3), file)
    session.read_files("v", [str(file)])
    file.unlink()
    with pytest.raises(StorageError, match=re.escape("a.parquet")):
        ASKED[way](session, "SELECT n FROM v")


def test_a_scratch_folder_that_cannot_be_is_a_fault_of_storage(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="scratch space of a relational step"):
        DuckSession(tmp_path / "file" / "db", threads=1, memory="100MB")


@pytest.mark.parametrize("way", ["create", "rows", "scalar", "stream"])
def test_an_interrupt_ends_a_query_as_one(session, way):
    """DuckDB makes an error of its own of it."""
    endless = "SELECT sum(hash(a.range, b.range)) FROM range(400000000) a, range(1000) b"
    ways = {
        "create": lambda: session.create("t", endless),
        "rows": lambda: session.rows(endless),
        "scalar": lambda: session.scalar(endless),
        "stream": lambda: list(session.stream(endless)),
    }
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ways[way]()


def test_a_fault_of_the_step_itself_is_not_translated(session):
    with pytest.raises(Exception, match="nowhere") as caught:
        session.create("t", "SELECT a FROM nowhere")
    assert not isinstance(caught.value, RunError)


def test_everything_lies_in_its_folder(tmp_path):
    session = DuckSession(tmp_path / "db", threads=1, memory="100MB")
    session.create("t", "SELECT 1 AS a")
    session.close()
    assert {Path(path).parent for path in tmp_path.rglob("*.*")} == {tmp_path / "db"}
