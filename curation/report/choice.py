"""Which samples a gallery shows: the smallest hashes of each group, found in one pass."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import order_keys
from schemas import DROPPED

COLUMNS = ["shard", "row", "status", "stage", "reason", "detail", "error"]
"""What the choice reads of a ledger."""


@dataclass(frozen=True, order=True)
class Group:
    """Samples with the same fate."""

    status: str
    stage: str
    """Empty where the sample is kept."""
    cause: str
    """Reason or error code; empty where the sample is kept."""


@dataclass
class Choice:
    """What is shown of one group."""

    group: Group
    total: int = 0
    drawn: list[tuple[int, int, int]] = field(default_factory=list)
    """Hash, shard and row of those chosen, in the order of their hashes."""
    details: Counter[str] = field(default_factory=Counter)
    """Samples by `detail`, in groups that are named and not shown."""

    @property
    def samples(self) -> list[tuple[int, int]]:
        """Shard and row of those chosen."""
        return [(shard, row) for _, shard, row in self.drawn]


def choose(
    ledgers: Iterable[pa.Table], size: Callable[[Group], int], seed: int = 0
) -> dict[Group, Choice]:
    """Of each group of `ledgers` (tables with COLUMNS), `size(group)` samples drawn by hash.

    A group of size 0 draws nothing and counts its details instead. Which samples are drawn
    depends on their shard and row alone, so a changed threshold changes only its own groups.
    """
    choices: dict[Group, Choice] = {}
    for table in ledgers:
        if not table.num_rows:
            continue
        shards, rows = table["shard"].to_numpy(), table["row"].to_numpy()
        keys = order_keys(seed, "report-gallery", shards, rows)
        codes, groups = _groups(table)
        for code, group in enumerate(groups):
            places = np.flatnonzero(codes == code)
            choice = choices.setdefault(group, Choice(group))
            choice.total += len(places)
            wanted = size(group)
            if wanted == 0:
                for pair in table["detail"].take(places).value_counts().to_pylist():
                    choice.details[pair["values"] or "unnamed"] += pair["counts"]
                continue
            if len(places) > wanted:
                places = places[np.argpartition(keys[places], wanted)[:wanted]]
            drawn = zip(
                keys[places].tolist(), shards[places].tolist(), rows[places].tolist(), strict=True
            )
            choice.drawn = heapq.nsmallest(wanted, [*choice.drawn, *drawn])
    return choices


def _groups(table: pa.Table) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[Group]]:
    """A number for each row, and the group that each number stands for."""
    dropped = pc.equal(table["status"], DROPPED)
    cause = pc.if_else(dropped, table["reason"], table["error"])
    named = pc.binary_join_element_wise(
        table["status"], pc.fill_null(table["stage"], ""), pc.fill_null(cause, ""), "\x1f"
    )
    encoded = named.combine_chunks().dictionary_encode()
    groups = [Group(*text.split("\x1f", 2)) for text in encoded.dictionary.to_pylist()]
    return encoded.indices.to_numpy().astype(np.int64), groups
