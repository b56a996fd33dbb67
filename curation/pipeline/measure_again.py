"""Mends the layer of an operator: rows that others failed on, as a server, are measured again."""

import pyarrow as pa

from curation.core.corpus import Layer
from curation.core.errors import PASSING
from curation.core.operator import Operator
from curation.io.corpus import ShardRef
from curation.io.tables import read_footer, read_table
from curation.pipeline.measure_shard import MeasureShard, careful, layer_schema
from schemas.manifest import LayerRef


class MendShard(MeasureShard):
    """A task: commits the layer of one operator of a shard, made of the layer before it.

    A shard that the layer before lacks is measured as a whole.
    """

    def _measure(
        self, shard: ShardRef, todo: list[tuple[Operator, Layer]], skip: tuple[int, ...]
    ) -> list[str]:
        ((operator, layer),) = todo
        found = self._before(shard, layer)
        if found is None:
            return super()._measure(shard, todo, skip)
        old, asked = found
        said: list[str] = []
        if not asked:
            self.write(shard, operator, layer, old)
            return said
        parts: list[pa.RecordBatch] = []
        for batch in self.read(shard.shard, [operator]):
            kept = old.slice(batch["row"][0].as_py(), batch.num_rows)
            rows = batch["row"].to_pylist()
            known = set(rows) - asked
            if len(known) == len(rows):
                parts += kept.to_batches()
                continue
            new = careful(operator, batch, (*skip, *known), said)
            both = pa.concat_tables([kept, pa.Table.from_batches([new])])
            picked = [at + len(rows) * (row in asked) for at, row in enumerate(rows)]
            parts += both.take(pa.array(picked, pa.int64())).combine_chunks().to_batches()
        self.write(shard, operator, layer, pa.Table.from_batches(parts, layer_schema(operator)))
        return said

    def _before(self, shard: ShardRef, layer: Layer) -> tuple[pa.Table, set[int]] | None:
        """What there is to mend, the newest layer that has the shard, and the rows that are not as
        in it; null where that cannot be known."""
        asked: set[int] = set()
        own = False
        while layer.before is not None:
            own |= layer.cause is None
            if layer.cause is not None:
                differ = self._there(shard, layer.cause, ["row", "error"])
                if differ is None:
                    return None
                asked |= _failed(differ)
            old = self._there(shard, layer.before)
            if old is not None:
                return old, asked | _failed(old) if own else asked
            layer = layer.before
        return None

    def _there(
        self, shard: ShardRef, layer: Layer, columns: list[str] | None = None
    ) -> pa.Table | None:
        path = layer.path(shard.shard)
        if (read_footer(self.store, path) or {}).get("index") != shard.index_sha256:
            return None
        return read_table(self.store, path, columns)


def _failed(rows: pa.Table) -> set[int]:
    """Rows of a layer that may be measured otherwise where they are measured again."""
    pairs = zip(rows["row"].to_pylist(), rows["error"].to_pylist(), strict=True)
    return {row for row, code in pairs if code in PASSING}


def how_again(layer: LayerRef) -> str:
    """What to say behind a layer's errors where some of its rows can be asked about again."""
    if layer.parameters.get("again") != 0 or not PASSING & set(layer.errors):
        return ""  # what failed twice will fail again
    return f" (--set {layer.operator}.again=1 asks about those again)"
