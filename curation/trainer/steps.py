"""Steps of a plan: packs of like cost together, filed a block at a time."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.io.store import Store
from curation.io.tables import encode_table
from curation.trainer.packing import ITEM, Balance, Items, Packs, group_steps, joined_packs

if TYPE_CHECKING:
    from curation.trainer.plan import PlanSettings

_ITEM = ("corpus", "shard", "row", "first", "stop", "tokens", "supervised", "offset", "size")
PACKED = pa.schema(
    [
        ("step", pa.int32()),
        ("pack", pa.int32()),
        *((name, pa.from_numpy_dtype(ITEM[name])) for name in _ITEM),
    ]
)


def steps_path(block: int) -> str:
    return f"steps/{block:06d}.parquet"


class StepWriter:
    """Groups packs into steps, a block at a time, and files them."""

    def __init__(self, store: Store, settings: "PlanSettings") -> None:
        self._store, self._settings = store, settings
        self._waiting: list[Packs] = []
        self._held = 0
        """Packs that wait."""
        self._block = 0
        self.steps = self.packs = 0
        self.before, self.after = Balance(), Balance()
        self.cost = 0.0
        self.counted: Counter[tuple[str, int]] = Counter()
        """Samples, tokens and supervised tokens, by corpus."""

    def add(self, packs: Packs) -> bool:
        """Takes packs; says whether there are enough."""
        self._waiting.append(packs)
        self._held += len(packs)
        self.packs += len(packs)
        block = self._settings.block_steps * self._settings.global_batch
        while self._held >= block:
            self._flush(block)
        wanted = self._settings.steps
        return wanted is not None and self.packs >= wanted * self._settings.global_batch

    def close(self) -> None:
        """Files what is left of whole steps."""
        batch = self._settings.global_batch
        if self._held >= batch:
            self._flush(self._held // batch * batch)

    def _flush(self, count: int) -> None:
        """Files the first `count` packs that wait, whole steps."""
        batch = self._settings.global_batch
        waiting = joined_packs(self._waiting)
        self._held -= count
        rest = np.arange(count, len(waiting))
        self._waiting = [waiting.take(rest)] if len(rest) else []
        packs = Packs(waiting.items[: waiting.sizes[:count].sum()], waiting.sizes[:count])
        costs = self._settings.weights.costs(packs)
        order = group_steps(costs, batch, seed=self._settings.seed, block=self._block)
        self.before.add(costs, batch)
        self.after.add(costs[order], batch)
        self.cost += float(costs.sum())
        self._count(packs.items)
        numbers = np.repeat(np.arange(count), packs.sizes[order])
        chosen = packs.places(order)
        columns = [
            pa.array((self.steps + numbers // batch).astype(np.int32)),
            pa.array((numbers % batch).astype(np.int32)),
            *(pa.array(packs.items[name][chosen]) for name in _ITEM),
        ]
        table = pa.Table.from_arrays(columns, schema=PACKED)
        self._store.write(steps_path(self._block), encode_table(table, PACKED, {}))
        self.steps += count // batch
        self._block += 1

    def _count(self, items: Items) -> None:
        for corpus in np.unique(items["corpus"]).tolist():
            of = items["corpus"] == corpus
            self.counted["samples", corpus] += int(of.sum())
            for name in ("tokens", "supervised"):
                self.counted[name, corpus] += int(items[name][of].sum(dtype=np.int64))
