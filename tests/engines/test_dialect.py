"""Queries carried to Spark, and what is mended where it would mean something else there."""

import pytest

from curation.core.errors import RunError
from curation.engines.dialect import to_spark


@pytest.mark.parametrize(
    ("query", "carried"),
    [
        ("SELECT list FROM t", "SELECT `list` FROM `t`"),
        ("SELECT xor(a, b) & 7 AS x FROM t", "SELECT (`a` ^ `b`) & 7 AS `x` FROM `t`"),
        ("SELECT xor(a | 1, b) AS x FROM t", "SELECT (`a` | 1) ^ `b` AS `x` FROM `t`"),
        ("SELECT a // 2 * 3 AS x FROM t", "SELECT `a` DIV 2 * 3 AS `x` FROM `t`"),
        (
            "SELECT a % (b // c) AS x FROM t",
            "SELECT `a` % (`b` DIV `c`) AS `x` FROM `t`",
        ),
        (
            "SELECT isnan(a) AS x FROM t",
            "SELECT CASE WHEN `a` IS NULL THEN NULL ELSE ISNAN(`a`) END AS `x` FROM `t`",
        ),
        (
            "SELECT row_number() OVER (PARTITION BY k ORDER BY a DESC NULLS LAST) AS n FROM t",
            "SELECT COUNT(1) OVER (PARTITION BY `k` ORDER BY `a` DESC "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `n` FROM `t`",
        ),
        (r"SELECT 'a\n''b' AS x FROM t", r"SELECT 'a\\n\'b' AS `x` FROM `t`"),
    ],
)
def test_what_is_mended(query, carried):
    assert to_spark(query) == carried


def test_views_are_put_in_where_they_are_read():
    views = {"v": "SELECT b + 1 AS a FROM w", "w": "SELECT 1 AS b"}
    assert to_spark("SELECT v.a, x.a FROM v JOIN v AS x ON v.a = x.a", views) == (
        "SELECT `v`.`a`, `x`.`a` "
        "FROM (SELECT `b` + 1 AS `a` FROM (SELECT 1 AS `b`) AS `w`) AS `v` "
        "JOIN (SELECT `b` + 1 AS `a` FROM (SELECT 1 AS `b`) AS `w`) AS `x` ON `v`.`a` = `x`.`a`"
    )


@pytest.mark.parametrize("query", ["SELECT FROM WHERE", "SELECT 'open"])
def test_what_has_no_form_in_spark_is_said(query):
    with pytest.raises(RunError, match="no form in Spark SQL"):
        to_spark(query)
