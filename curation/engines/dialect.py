"""Queries of relational steps, written in DuckDB's dialect, in Spark's.

sqlglot carries syntax and functions over; what means something else in Spark is mended here.
Identifiers are quoted, so that no column name is a keyword.
"""

from collections.abc import Mapping

import sqlglot
from sqlglot import exp

from curation.core.errors import RunError


def to_spark(query: str, views: Mapping[str, str] | None = None) -> str:
    """The query in Spark's dialect. `views` are queries by name, put in where they are read.

    Raises RunError for what has no counterpart.
    """
    try:
        tree = _inlined(sqlglot.parse_one(query, read="duckdb"), views or {})
        for node in reversed(list(tree.find_all(*_MENDED))):  # the inner ones first
            _MENDED[type(node)](node)
        return tree.sql("spark", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.SqlglotError as error:
        raise RunError(f"a query has no form in Spark SQL: {error}") from error


def _inlined(tree: exp.Expr, views: Mapping[str, str]) -> exp.Expr:
    for table in list(tree.find_all(exp.Table)):
        if table.name in views:
            inner = _inlined(sqlglot.parse_one(views[table.name], read="duckdb"), views)
            table.replace(exp.Subquery(this=inner, alias=_alias(table.alias_or_name)))
    return tree


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name))


def _long_row_number(node: exp.Expr) -> None:
    """Spark's row_number is 32 bits wide; a running count is the same number in 64."""
    window = node.parent
    assert isinstance(window, exp.Window)
    node.replace(exp.Count(this=exp.Literal.number(1), big_int=True))
    window.set(
        "spec",
        exp.WindowSpec(
            kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW", end_side=""
        ),
    )


def _null_of_null(node: exp.Expr) -> None:
    """Whether null is NaN: null in DuckDB, false in Spark."""
    value = node.this
    tested = exp.If(this=exp.Is(this=value.copy(), expression=exp.Null()), true=exp.Null())
    node.replace(exp.Case(ifs=[tested], default=node.copy()))


def _bracketed(node: exp.Expr) -> None:
    """A function in DuckDB, an operator in Spark, and one that binds less than `&`."""
    for side in ("this", "expression"):
        if isinstance(node.args[side], exp.Binary):
            node.set(side, exp.Paren(this=node.args[side]))
    if isinstance(node.parent, exp.Binary):
        node.replace(exp.Paren(this=node.copy()))


_MENDED = {
    exp.BitwiseXor: _bracketed,
    exp.RowNumber: _long_row_number,
    exp.IsNan: _null_of_null,
}
