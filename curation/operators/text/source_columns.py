"""Columns of the source, such as alternative texts or words read in a picture, as measures."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append


@dataclass(frozen=True, kw_only=True)
class SourceColumns(Operator):
    """`source_NAME` for each named column that the source had beside picture and caption.

    What is not a letter, a digit or `_` in NAME becomes `_`. Texts come as they are, lists of them
    joined by line breaks, other values as JSON; null where a sample has none, or only blanks.
    Measures nothing until columns are named.
    """

    name = "source_columns"

    columns: tuple[str, ...] = ()
    """Names as the source has them, such as alt_text or ocr."""

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for column in self.columns:
            other = taken.setdefault(column_of(column).lower(), column)
            if other != column or self.columns.count(column) > 1:
                raise ValueError(f"{other} and {column} would both be {column_of(column)}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("source", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([(column_of(name), pa.string()) for name in self.columns])

    def open(self) -> BatchFn:
        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            rows = [columns_in(source) for source in batch["source"].to_pylist()]
            columns: dict[str, list[object] | pa.Array] = {
                column_of(name): [_text(row.get(name)) for row in rows] for name in self.columns
            }
            return append(batch, self.provides, columns)

        return measure


def column_of(name: str) -> str:
    """The measure's name of a source's column."""
    return "source_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def columns_in(source: str | None) -> dict[str, Any]:
    """Further columns of a sample, out of `source` of its index row."""
    held: dict[str, Any] = json.loads(source or "{}").get("columns") or {}
    return held


def _text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "\n".join(item for item in value if item.strip())
    if value is not None and not isinstance(value, str):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value if value and value.strip() else None
