"""Fits an operator to the whole corpus, once, before its layer is measured."""

from dataclasses import dataclass

import pyarrow as pa

from curation.core.corpus import Layer
from curation.core.engine import Engine
from curation.core.operator import FittedOperator, Operator
from curation.core.progress import Progress
from curation.io.corpus import Corpus, ShardRef
from curation.pipeline.measure_shard import MeasureShard


@dataclass(frozen=True)
class SampleShard:
    """A task: what an operator is fitted to, of one shard."""

    reads: MeasureShard
    operator: FittedOperator
    rows: int
    """Of the corpus."""

    def __call__(self, shard: ShardRef) -> tuple[ShardRef, pa.Table]:
        names = self.operator.requires.names
        drawn = [
            batch.select(names).filter(self.operator.drawn(batch, self.rows))
            for batch in self.reads.read(shard.shard, [self.operator])
        ]
        return shard, pa.Table.from_batches(drawn)


def fit(
    corpus: Corpus,
    operator: FittedOperator,
    layer: Layer,
    other: tuple[tuple[Operator, Layer], ...],
    engine: Engine,
    progress: Progress,
) -> None:
    """Commits what `operator` works with, made of a sample of every shard, if it is not there.

    `other` are the layers that it may read.
    """
    if corpus.store.exists(layer.fitted):
        return
    task = SampleShard(
        MeasureShard(corpus.store, (operator,), (layer,), other), operator, corpus.samples
    )
    parts: dict[int, pa.Table] = {}
    with progress.track(f"fit {operator.name}", corpus.samples, "samples") as tracker:
        for shard, part in engine.map(task, corpus.shards):
            parts[shard.shard] = part
            tracker.advance(shard.samples)
    sample = pa.concat_tables([parts[number] for number in sorted(parts)])
    corpus.store.write(layer.fitted, operator.fit(sample, corpus.samples))
