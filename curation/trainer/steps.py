"""Steps of a plan: packs of like cost together, filed a block at a time."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation.io.store import Store
from curation.io.tables import encode_table
from curation.trainer.packing import ITEM, Balance, Items, group_steps

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
        self._waiting: list[Items] = []
        self._block = 0
        self.steps = self.packs = 0
        self.before, self.after = Balance(), Balance()
        self.cost = 0.0
        self.counted: Counter[tuple[str, int]] = Counter()
        """Samples, tokens and supervised tokens, by corpus."""

    def add(self, pack: Items) -> bool:
        """Takes a pack; says whether there are enough."""
        self._waiting.append(pack)
        self.packs += 1
        if len(self._waiting) == self._settings.block_steps * self._settings.global_batch:
            self._flush()
        wanted = self._settings.steps
        return wanted is not None and self.packs == wanted * self._settings.global_batch

    def close(self) -> None:
        """Files what is left of whole steps."""
        batch = self._settings.global_batch
        del self._waiting[len(self._waiting) // batch * batch :]
        if self._waiting:
            self._flush()

    def _flush(self) -> None:
        settings, batch = self._settings, self._settings.global_batch
        grouped, costs = group_steps(
            self._waiting, settings.weights, batch, seed=settings.seed, block=self._block
        )
        self.before.add(costs, batch)
        self.after.add(grouped.costs, batch)
        self.cost += float(costs.sum())
        packs = [pack for step in grouped.steps for pack in step]
        numbers = np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])
        items = np.concatenate(packs)
        for corpus in np.unique(items["corpus"]).tolist():
            of = items[items["corpus"] == corpus]
            self.counted["samples", corpus] += len(of)
            for name in ("tokens", "supervised"):
                self.counted[name, corpus] += int(of[name].sum(dtype=np.int64))
        columns = [
            pa.array((self.steps + numbers // batch).astype(np.int32)),
            pa.array((numbers % batch).astype(np.int32)),
            *(pa.array(items[name]) for name in _ITEM),
        ]
        table = pa.Table.from_arrays(columns, schema=PACKED)
        self._store.write(steps_path(self._block), encode_table(table, PACKED, {}))
        self.steps += len(grouped.steps)
        self._block += 1
        self._waiting = []
