"""A model operator in two halves gives the rows that it gives in one piece."""

import io

import pyarrow as pa
import pytest

from curation.core.errors import UsageError
from curation.core.operator import IMAGE
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.sources import SourceOptions
from curation.operators.vision_language.clip import Clip
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from curation.pipeline.measure_shard import ShardItem
from curation.pipeline.measure_stream import StreamShard
from tests.engines.halves import Halved
from tests.pipeline.corpora import picture, tree, write_pairs


def encoded(seed: int) -> bytes:
    sink = io.BytesIO()
    picture(seed).save(sink, "JPEG")
    return sink.getvalue()


def awkward(rows: int) -> pa.RecordBatch:
    """Rows with and without images and captions, some under the floor, some damaged."""
    images = [
        None if row % 7 == 3 else encoded(row)[: 100 if row % 5 == 4 else None]
        for row in range(rows)
    ]
    texts = [None if row % 6 == 5 else f"picture {row}" for row in range(rows)]
    sides = [50.0 if row % 4 == 1 else 240.0 for row in range(rows)]
    arrays = [pa.array(images, IMAGE.type), pa.array(texts), pa.array(sides)]
    return pa.RecordBatch.from_arrays(arrays, ["image", "text", "min_side"])


@pytest.mark.parametrize("rows", [0, 1, 3, 22])
@pytest.mark.parametrize("floor", ["", "min_side>=100", "min_side>=1000"])
def test_clip_in_two_halves_gives_the_same_rows(rows, floor):
    operator = Clip(floor=floor, batch_size=4, device="cpu")
    batch = awkward(rows)
    if not floor:
        batch = batch.select(["image", "text"])
    pieces = list(operator.prepare()(batch))
    assert sum(piece.num_rows for piece in pieces) == rows
    sent = []
    for piece in pieces:  # as over a wire
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, piece.schema) as stream:
            stream.write_batch(piece)
        sent.append(pa.ipc.open_stream(sink.getvalue()).read_next_batch())
    found = pa.Table.from_batches(operator.compute()(sent))
    whole = pa.Table.from_batches([operator.open()(batch)]).select(found.column_names)
    assert found.combine_chunks().equals(whole)
    assert len(pieces) <= max(1, -(-rows // 4))


@pytest.fixture
def shard(tmp_path):
    """A corpus of one shard, and the task that measures it in halves."""
    source = write_pairs(tmp_path / "source", 12)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=12))
    corpus = ingest(request, str(tmp_path / "corpus"), LocalEngine(workers=0), SILENT)
    operator = Halved()
    layer = layers_of((operator,), corpus.shards_sha256)[operator.name]

    def task(**identity: str) -> StreamShard:
        told = tuple(identity.items())
        return StreamShard(corpus.store, (operator,), (layer,), (), identity=told)

    return corpus, task


def test_a_shard_in_parts_has_the_layer_of_the_whole(shard, tmp_path):
    corpus, task = shard
    item = ShardItem(corpus.shards[0])
    halves = task()
    assert halves.done(item) is None
    rows = pa.Table.from_batches(halves.computed(halves.prepared(item)))
    result = halves.commit(item, rows)
    parts = tree(tmp_path / "corpus" / "layers")
    assert halves.done(item) == result
    corpus.store.remove("layers")
    assert halves(item) == result
    assert tree(tmp_path / "corpus" / "layers") == parts
    with LocalEngine(workers=0) as engine:
        measure(corpus, (Halved(),), engine, SILENT)
    assert parts.items() <= tree(tmp_path / "corpus" / "layers").items()


def test_a_worker_on_another_device_is_refused(shard):
    corpus, task = shard
    halves = task(device="cuda")
    pieces = halves.prepared(ShardItem(corpus.shards[0]))
    with pytest.raises(UsageError, match=r"halved was to run with device cuda.*has device None"):
        halves.computed(pieces)
