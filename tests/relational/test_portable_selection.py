"""The statements that choose by score, concept and group carry to Spark, as the others do."""

import re

import pytest
import sqlglot
from sqlglot import exp

from curation.relational.balance import Balance
from curation.relational.clip_select import ClipSelect
from curation.relational.water_fill import WaterFill
from tests.relational.sessions import duckdb_session, survivors, verdicts
from tests.relational.test_balance import zipf
from tests.relational.test_portable_sql import IN_BOTH, Through, function_name, there_and_back

ALSO_IN_BOTH = {"ArraySize", "If", "Explode", "Unnest", "Floor", "IsNan", "Sum"}
"""Sums only of counts, which are whole; the rest has one meaning for what it is given here."""

STEPS = {
    "clip_threshold": ClipSelect(name="c", threshold=0.3, missing="keep"),
    "clip_fraction": ClipSelect(name="c", threshold=0.1, top_fraction=0.4),
    "concepts": Balance(name="b", t=20),
    "concepts_tail": Balance(name="b", t=20, t_language="en", unmatched="keep"),
    "clusters": Balance(name="b", by="cluster", tail_share=0.3),
    "fill": WaterFill(name="w", target=100, levels=("cluster", "domain")),
    "fill_best": WaterFill(name="w", target=100, levels=("domain",), keep_best=("clip_score",)),
}
CHOOSING = {"clip_fraction": 2, "fill": 4, "fill_best": 3}
"""Statements with a window, by step."""


class Whole(Through):
    """With the calls that hand rows to functions."""

    def rows(self, query):
        return self._inner.rows(self._change(query))

    def map(self, table, query, function, schema):
        self._inner.map(table, self._change(query), function, schema)


def corpus():
    return [
        {
            **row,
            "cluster": n * n % 23 if n % 19 else None,
            "domain": f"site{n % 7}.example" if n % 11 else None,
            "clip_score": n * 7919 % 1000 / 1000 if n % 13 else None,
            "clip_skipped": False,
        }
        for n, row in enumerate(zipf(5, 1000))
    ]


def everything(step, change):
    """Verdicts, notes and tables, every query having gone through `change`."""
    rows = corpus()
    if "cluster" in step.requires.names and "cluster" in getattr(step, "levels", ()):
        rows = [{**r, "cluster": None if r["cluster"] is None else str(r["cluster"])} for r in rows]
    with duckdb_session(survivors(step, rows)) as inner:
        session = Whole(inner, change)
        step.decide(session)
        tables = {name: session.rows(q).to_pylist() for name, q in step.tables().items()}
        return verdicts(inner), step.notes(session), tables


def issued(step):
    queries = []

    def note(query):
        queries.append(query)
        return query

    said, _, _ = everything(step, note)
    assert said
    return queries


@pytest.mark.parametrize("name", STEPS)
def test_what_spark_is_given_means_the_same(name):
    step = STEPS[name]
    assert everything(step, there_and_back) == everything(step, str)


@pytest.mark.parametrize("name", STEPS)
def test_statements_keep_the_rules(name):
    for query in issued(STEPS[name]):
        tree = sqlglot.parse_one(query, read="duckdb")
        said = re.findall(r"\b(?:ASC|DESC) NULLS LAST\b", query)
        assert len(said) == len(list(tree.find_all(exp.Ordered))), query
        assert not list(tree.find_all(exp.Qualify, exp.Avg, exp.Rand, exp.Limit)), query
        stars = [s for s in tree.find_all(exp.Star) if not isinstance(s.parent, exp.Count)]
        assert not stars, query
        functions = set(map(function_name, tree.find_all(exp.Func)))
        assert functions <= IN_BOTH | ALSO_IN_BOTH, (functions - IN_BOTH - ALSO_IN_BOTH, query)
        for total in tree.find_all(exp.Sum):
            columns = {c.name for c in total.find_all(exp.Column)}
            assert columns <= {"samples", "siblings", "place", "quota", "through"}, query


@pytest.mark.parametrize("name", STEPS)
def test_every_order_that_chooses_leaves_no_ties(name):
    """Windows go over distinct keys (of a histogram, of groups), or end in uid, shard, row."""
    chosen = [q for q in issued(STEPS[name]) if "OVER" in q]
    assert len(chosen) == CHOOSING.get(name, 0)
    for query in chosen:
        for window in sqlglot.parse_one(query, read="duckdb").find_all(exp.Window):
            if isinstance(window.this, exp.Count):
                continue  # of all siblings, in any order
            keys = [ordered.this.name for ordered in window.args["order"].expressions]
            distinct = keys[-1] in ("key", "cluster", "domain")
            assert distinct or keys[-3:] == ["uid", "shard", "row"], query
