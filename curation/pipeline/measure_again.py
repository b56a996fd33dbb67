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
        old = self._before(shard, layer)
        if old is None:
            return super()._measure(shard, todo, skip)
        said: list[str] = []
        if not any(_again(old)):
            self.write(shard, operator, layer, old)
            return said
        parts: list[pa.RecordBatch] = []
        for batch in self.read(shard.shard, [operator]):
            kept = old.slice(batch["row"][0].as_py(), batch.num_rows)
            again = _again(kept)
            if not any(again):
                parts += kept.to_batches()
                continue
            rows = batch["row"].to_pylist()
            known = {row for row, asked in zip(rows, again, strict=True) if not asked}
            new = careful(operator, batch, (*skip, *known), said)
            both = pa.concat_tables([kept, pa.Table.from_batches([new])])
            picked = [at + len(rows) * asked for at, asked in enumerate(again)]
            parts += both.take(pa.array(picked, pa.int64())).combine_chunks().to_batches()
        self.write(shard, operator, layer, pa.Table.from_batches(parts, layer_schema(operator)))
        return said

    def _before(self, shard: ShardRef, layer: Layer) -> pa.Table | None:
        """What there is to mend: the newest layer that has the shard."""
        before = layer.before
        while before is not None:
            path = before.path(shard.shard)
            if (read_footer(self.store, path) or {}).get("index") == shard.index_sha256:
                return read_table(self.store, path)
            before = before.before
        return None


def _again(rows: pa.Table) -> list[bool]:
    """Which of a layer's rows are to be measured again."""
    return [code in PASSING for code in rows["error"].to_pylist()]


def how_again(layer: LayerRef) -> str:
    """What to say behind a layer's errors where some of its rows can be asked about again."""
    if layer.parameters.get("again") != 0 or not PASSING & set(layer.errors):
        return ""  # what failed twice will fail again
    return f" (--set {layer.operator}.again=1 asks about those again)"
