"""Every statement of every relational step carries to Spark, and keeps the rules for that."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from curation.core.blocklist import BlockFile
from curation.engines.sql import DuckSession
from curation.relational.blocklist import Blocklist
from curation.relational.caption_frequency import CaptionFrequency
from curation.relational.exact_dedup import ExactDedup
from curation.relational.near_dedup import NearDedup
from tests.relational.sessions import duckdb_session, survivors, verdicts
from tests.relational.test_near_dedup import planted

IN_BOTH = {
    "And", "Or", "Case", "Cast", "Coalesce", "Count", "Max", "Min", "Least", "Greatest",
    "LogicalAnd", "RowNumber", "FirstValue", "bit_count",
}  # fmt: skip
"""Functions that DuckDB and Spark have with one meaning for integers, words and truth."""


def function_name(function: exp.Func) -> str:
    """sqlglot's name for a function, or the query's own where it has none."""
    anonymous = isinstance(function, exp.Anonymous)
    return function.name.lower() if anonymous else type(function).__name__


class Through:
    """A session that hands every query through `change` first."""

    def __init__(self, inner: DuckSession, change: Callable[[str], str]) -> None:
        self._inner = inner
        self._change = change

    def create(self, table: str, query: str) -> None:
        self._inner.create(table, self._change(query))

    def drop(self, *tables: str) -> None:
        self._inner.drop(*tables)

    def scalar(self, query: str) -> Any:
        return self._inner.scalar(self._change(query))

    def load(self, table: str, data: pa.Table) -> None:
        self._inner.load(table, data)

    def apply(self, table: str, query: str, function: Any, schema: pa.Schema) -> None:
        self._inner.apply(table, self._change(query), function, schema)


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    text = "phash:0123456789abcdef/5\ndomain:site3.example\nurl:https://a/7\n" + "00" * 16
    (folder / "own.txt").write_text(text)
    lists = (BlockFile.at(str(folder / "own.txt")),)
    dedups = [
        ExactDedup(name=by, by=by, keep_best=("area", "blur")) for by in ("uid", "image")
    ]  # fmt: skip
    return {
        step.name: step
        for step in (
            *dedups,
            ExactDedup(name="image_caption", by="image_caption", keep_best=()),
            CaptionFrequency(name="captions", max_images=2),
            Blocklist(name="blocklist", lists=lists),
            NearDedup(name="near", distance=3),
            NearDedup(name="wide", distance=7, keep_best=("area", "blur")),
            NearDedup(name="same", distance=0, keep_best=()),
        )
    }


NAMES = ("uid", "image", "image_caption", "captions", "blocklist", "near", "wide", "same")


def corpus():
    """Rows that leave something to decide to every step."""
    return [
        {
            **row,
            "uid": f"{n % 900:032x}",
            "media_sha256": f"{n % 400:064x}" if n % 11 else None,
            "caption_hash": f"{n % 200:032x}" if n % 13 else None,
            "domain": f"www.site{n % 50}.example" if n % 7 else None,
            "source_url": f"https://a/{n}",
            "blur": float(n % 3) if n % 5 else None,
        }
        for n, row in enumerate(planted(5, 1000))
    ]


def decided(step, change):
    with duckdb_session(survivors(step, corpus())) as inner:
        session = Through(inner, change)
        step.decide(session)
        step.notes(session)
        return verdicts(inner)


def issued(step):
    queries = []

    def note(query):
        queries.append(query)
        return query

    assert decided(step, note)
    return queries


def to_spark(query):
    (carried,) = sqlglot.transpile(
        query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    return carried


def there_and_back(query):
    (back,) = sqlglot.transpile(
        to_spark(query), read="spark", write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    return back


@pytest.mark.parametrize("name", NAMES)
def test_what_spark_is_given_means_the_same(steps, name):
    """Read back from Spark's dialect, every statement decides the same."""
    step = steps[name]
    assert decided(step, there_and_back) == decided(step, str) != []


@pytest.mark.parametrize("name", NAMES)
def test_statements_keep_the_rules(steps, name):
    for query in issued(steps[name]):
        tree = sqlglot.parse_one(query, read="duckdb")
        ordered = list(tree.find_all(exp.Ordered))
        said = re.findall(r"\b(?:ASC|DESC) NULLS LAST\b", query)
        assert len(said) == len(ordered), query
        assert not list(tree.find_all(exp.Qualify, exp.Sum, exp.Avg, exp.Rand, exp.Limit)), query
        stars = [s for s in tree.find_all(exp.Star) if not isinstance(s.parent, exp.Count)]
        assert not stars, query
        functions = set(map(function_name, tree.find_all(exp.Func)))
        assert functions <= IN_BOTH, (functions - IN_BOTH, query)
        for window in tree.find_all(exp.Window):
            assert window.args["order"], query


@pytest.mark.parametrize("name", ["uid", "image", "image_caption", "near", "wide", "same"])
def test_every_order_that_chooses_ends_in_the_ties(steps, name):
    """Nothing that stays is chosen by arrival."""
    chosen = [q for q in issued(steps[name]) if "row_number()" in q]
    assert chosen
    for query in chosen:
        for window in sqlglot.parse_one(query, read="duckdb").find_all(exp.Window):
            keys = [ordered.this.name for ordered in window.args["order"].expressions]
            assert keys[-3:] == ["uid", "shard", "row"]


@pytest.mark.parametrize(
    ("query", "carried"),
    [
        ("SELECT bit_count(xor(a, b)) AS d FROM t", "SELECT BIT_COUNT(a ^ b) AS d FROM t"),
        ("SELECT 1 FROM t WHERE a & -8 = b & -8", "SELECT 1 FROM t WHERE a & -8 = b & -8"),
        (
            "SELECT a FROM t ORDER BY a DESC NULLS LAST, b ASC NULLS LAST",
            "SELECT a FROM t ORDER BY a DESC, b ASC NULLS LAST",
        ),
    ],
)
def test_how_bits_and_nulls_are_carried(query, carried):
    """Spark's `^` is exclusive or, `&` binds before `=`, and its DESC has nulls last by itself."""
    assert to_spark(query) == carried
