"""Which of several twins stays: the best by stated measures, never the first one seen."""

import pyarrow as pa

TIES = ("uid", "shard", "row")
"""Break every tie, so that the choice never depends on order of arrival."""


def priority(keep_best: tuple[str, ...], alias: str = "") -> str:
    """An ORDER BY list: each measure from high to low with nulls last, then the ties."""
    prefix = f"{alias}." if alias else ""
    measures = [f"{prefix}{name} DESC NULLS LAST" for name in keep_best]
    return ", ".join([*measures, *(f"{prefix}{name} ASC NULLS LAST" for name in TIES)])


def keep_best_schema(keep_best: tuple[str, ...]) -> list[tuple[str, pa.DataType]]:
    """Required columns for that order."""
    return [(name, pa.float64()) for name in keep_best]
