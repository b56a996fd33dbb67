"""Thresholds over measures: the first rule that a sample fails is the reason it is dropped."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.step import VERDICT_COLUMNS, SelectStep

Kind = Literal["at_least", "at_most", "one_of", "none_of"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One measure held against one threshold."""

    reason: str
    """What the ledger calls a drop by this rule; also its name for `--set stage.reason=value`."""
    column: str
    """The measure."""
    kind: Kind
    """Numbers: `at_least`, `at_most` (inclusive). Words: `one_of`, `none_of`."""
    threshold: float | tuple[str, ...]
    """Number in the measure's unit, or the words. An empty tuple switches the rule off."""
    source: str
    """Where the number comes from."""
    missing: Literal["keep", "drop"] = "keep"
    """What becomes of a sample whose measure is null."""

    def __post_init__(self) -> None:
        words = self.kind in ("one_of", "none_of")
        if words != isinstance(self.threshold, tuple):
            wanted = "a list of words" if words else "a number"
            raise ValueError(f"{self.reason} takes {wanted}, got {self.threshold!r}")
        if isinstance(self.threshold, float) and self.threshold != self.threshold:
            raise ValueError(f"{self.reason} takes a number, got NaN")

    def fails(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether each value breaks the rule."""
        if isinstance(self.threshold, tuple):
            if not self.threshold:
                return pa.chunked_array([pa.array([False] * len(values), pa.bool_())])
            inside = pc.is_in(values, value_set=pa.array(self.threshold, pa.string()))
            failed = inside if self.kind == "none_of" else pc.invert(inside)
            known = pc.is_valid(values)
            failed = pc.and_(failed, known)
        else:
            # Measures are float32: compared as stored, so that a value equal to the limit passes.
            values = values.cast(pa.float64())
            limit = pa.scalar(self.threshold, pa.float64())
            failed = (
                pc.less(values, limit) if self.kind == "at_least" else pc.greater(values, limit)
            )
            failed = pc.fill_null(failed, False)
        if self.missing == "drop":
            failed = pc.or_(failed, pc.is_null(values))
        return failed


@dataclass(frozen=True, kw_only=True)
class Select(SelectStep):
    """Rules in order; a sample is dropped by the first that it fails."""

    rules: tuple[Rule, ...]
    """Checked in this order."""

    def __post_init__(self) -> None:
        reasons = [rule.reason for rule in self.rules]
        if len(set(reasons)) != len(reasons):
            raise ValueError(f"{self.name}: two rules share a reason: {reasons}")

    @property
    def requires(self) -> pa.Schema:
        types = {rule.column: _column_type(rule) for rule in self.rules}
        return pa.schema(list(types.items()))

    def decide(self, rows: pa.Table) -> pa.Table:
        size = rows.num_rows
        failed_rule = pa.chunked_array([pa.nulls(size, pa.int32())])
        for number in range(len(self.rules) - 1, -1, -1):
            rule = self.rules[number]
            failed = rule.fails(rows[rule.column])
            failed_rule = pc.if_else(failed, pa.scalar(number, pa.int32()), failed_rule)
        dropped = pc.is_valid(failed_rule)
        rows, numbers = rows.filter(dropped), failed_rule.filter(dropped).to_pylist()
        columns: dict[str, list[Any]] = {name: [] for name in VERDICT_COLUMNS.names}
        measures = {rule.column: rows[rule.column].to_pylist() for rule in self.rules}
        for position, number in enumerate(numbers):
            rule = self.rules[number]
            for name, value in _verdict(rule, measures[rule.column][position]).items():
                columns[name].append(value)
        said = [pa.array(columns[field.name], field.type) for field in VERDICT_COLUMNS]
        names = ["shard", "row", *VERDICT_COLUMNS.names]
        return pa.Table.from_arrays([rows["shard"], rows["row"], *said], names=names)

    def with_threshold(self, reason: str, threshold: float | tuple[str, ...]) -> "Select":
        """The same step with one rule's threshold changed. Raises KeyError for no such rule."""
        if reason not in [rule.reason for rule in self.rules]:
            raise KeyError(reason)
        rules = (replace(r, threshold=threshold) if r.reason == reason else r for r in self.rules)
        return replace(self, rules=tuple(rules))


def _column_type(rule: Rule) -> pa.DataType:
    return pa.string() if isinstance(rule.threshold, tuple) else pa.float64()


def _verdict(rule: Rule, value: object) -> dict[str, Any]:
    number = isinstance(value, int | float)
    limit = rule.threshold if isinstance(rule.threshold, int | float) else None
    return {
        "reason": rule.reason,
        "value": float(value) if number else None,  # type: ignore[arg-type]
        "threshold": None if limit is None else float(limit),
        "detail": None if number else "not measured" if value is None else str(value),
        "kept_by": None,
        "kept_by_shard": None,
        "kept_by_row": None,
    }
