"""Clustering and semantic_dedup of generated embeddings: 500 images a cluster, a tenth are twins.

The rows are a corpus without tars (as in benchmarks/relational), with a layer of embeddings as the
clip operator writes it: what is timed is what `curate measure visual_cluster` and `curate decide`
do, reading and ledgers included.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figure import Figure, PeakMemory
from benchmarks.relational import SHARD_ROWS, generate
from curation.core.corpus import index_path
from curation.core.operator import BatchFn, Operator
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.io.tables import read_table, write_table
from curation.operators.vision_language.visual_cluster import VisualCluster
from curation.pipeline.decide import decide
from curation.pipeline.measure import layers_of, measure
from curation.pipeline.measure_shard import layer_schema
from curation.relational.semantic_dedup import SemanticDedup

WIDTH = 512
CLUSTER = 500
"""Images that mean the same kind of thing, and the mean size of a cluster."""

TWINS = 0.1


@dataclass(frozen=True, kw_only=True)
class Stored(Operator):
    """Embeddings that are measured already."""

    name = "stored"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("clip_score", pa.float32()), ("clip_image", pa.binary(2 * WIDTH))])

    def open(self) -> BatchFn:
        raise NotImplementedError


def _embeddings(number: int, kinds: int) -> np.ndarray:
    """Of one shard: cosines of about 0.5 within a kind, of 0.97 between twins."""
    middles = np.random.default_rng(11).standard_normal((kinds, WIDTH), np.float32)
    rng = np.random.default_rng([11, number])
    rows = middles[rng.integers(0, kinds, SHARD_ROWS)]
    rows += rng.standard_normal(rows.shape, np.float32)
    twins = np.flatnonzero(rng.random(SHARD_ROWS) < TWINS)
    rows[twins] = rows[rng.integers(0, SHARD_ROWS, len(twins))]
    rows[twins] += 0.35 * rng.standard_normal((len(twins), WIDTH), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _store(corpus: Corpus, kinds: int) -> None:
    """Writes the layer of embeddings."""
    layer, schema = layers_of((Stored(),))["stored"], layer_schema(Stored())
    for shard in corpus.shards:
        index = read_table(corpus.store, index_path(shard.shard), ["shard", "row", "uid"])
        packed = _embeddings(shard.shard, kinds).astype("<f2").tobytes()
        images = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(2 * WIDTH), shard.samples, [None, pa.py_buffer(packed)]
        )
        scores = np.random.default_rng([12, shard.shard]).random(shard.samples, np.float32)
        columns = [*index.columns, pa.array(scores), images, pa.nulls(shard.samples, pa.string())]
        table = pa.Table.from_arrays(columns, schema=schema)
        footer = {"index": shard.index_sha256, "errors": "{}"}
        write_table(corpus.store, layer.path(shard.shard), table, schema, footer)
    corpus.store.write(layer.done(corpus.shards_sha256), b'{"errors": {}}')


def timed(rows: int, workers: int = 2) -> tuple[float, float, int]:
    """Seconds of clustering, seconds of semantic_dedup, and peak bytes of both, of `rows` rows."""
    folder = Path(tempfile.mkdtemp(prefix="bench-semantic-"))
    try:
        corpus, _ = generate(folder / "corpus", rows)
        _store(corpus, rows // CLUSTER)
        operators = (Stored(), VisualCluster(clusters=rows // CLUSTER))
        step = SemanticDedup(name="semantic_dedup", keep_best=("clip_score",))
        with (
            LocalEngine(workers=workers, scratch=folder / "scratch") as engine,
            PeakMemory() as peak,
        ):
            start = time.perf_counter()
            layers = measure(corpus, operators, engine, SILENT)
            clustering = time.perf_counter() - start
            start = time.perf_counter()
            (stage,) = decide(corpus, (step,), layers, engine, SILENT).stages
            dedup = time.perf_counter() - start
        print(
            f"  {rows:,} rows, {rows // CLUSTER} clusters: clustering {clustering:.1f} s, "
            f"semantic_dedup {dedup:.1f} s, {stage.dropped:,} dropped, "
            f"peak {peak.bytes / 1e9:.2f} GB",
            flush=True,
        )
        return clustering, dedup, peak.bytes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def figures(large: int = 200_000) -> list[Figure]:
    """Clustering and semantic_dedup, and how the latter grows."""
    _, small, _ = timed(large // 4)
    timed(large // 2)
    clustering, dedup, peak = timed(large)
    what = f"{large:,} embeddings of {WIDTH}, {large // CLUSTER} clusters, 2 cores"
    return [
        Figure(f"clustering, {what}", f"{clustering:.0f} s", "stated", True),
        Figure(f"semantic_dedup, {what}", f"{dedup:.0f} s", "stated", True),
        Figure("their peak memory", f"{peak / 1e9:.2f} GB", "stated", True),
        Figure(
            f"semantic_dedup against {large // 4:,} rows, {CLUSTER} a cluster",
            f"{dedup / small:.1f}x",
            "at most 5x (4x is linear)",
            dedup <= 5 * small,
        ),
    ]
