"""Which images say the same thing: spherical k-means over CLIP embeddings (FAISS).

Trained once a corpus, on a sample drawn by hash, without exact duplicates (they would pull
centroids onto themselves) and in the order of their bytes. Centroids are kept as fp16, so that
every score is exact (core/embedding) and an image's cluster does not depend on its batch.
"""

import functools
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import uid_words, uniforms
from curation.core.embedding import Doubles, Halves, unit, vectors
from curation.core.errors import UsageError
from curation.core.operator import BatchFn, FittedOperator, append

POINTS_A_CLUSTER = 39
"""Training points a cluster needs; FAISS warns below (ClusteringParameters)."""

_SCORES = 4 << 20
"""Scores held at once: 32 MB."""


@dataclass(frozen=True, kw_only=True)
class VisualCluster(FittedOperator):
    """The nearest centroid of an image by cosine, the lowest id of several as near.

    Rows without a usable embedding (null, not finite, all zero) have no cluster. There may be
    fewer clusters than asked for where the sample holds fewer distinct embeddings, and one where
    they are all alike. Training gives the same centroids on the same kind of processor and device;
    they are part of the corpus, and everything after them is the same everywhere.
    """

    name = "visual_cluster"

    clusters: int = 0
    """Centroids. 0: the square root of the corpus's rows, where assignment and comparison within
    clusters cost the same, but at least 39 training points for each."""

    sample: int = 200_000
    """Embeddings to train on, about; drawn by uid. Memory: 6 bytes a number of each."""

    iterations: int = 20
    """Of k-means. SemDeDup's configuration has 100; FAISS's default is 25."""

    seed: int = 0
    """Of the sample and of the first centroids."""

    fit_threads: int = 2
    """Threads of the training; a fixed number, since sums may depend on it."""

    def __post_init__(self) -> None:
        for name, least in (("clusters", 0), ("sample", 1), ("iterations", 1), ("fit_threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"seed must be 0 to {(1 << 31) - 1}, got {self.seed}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("clip_image", pa.binary())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("cluster", pa.int32()), ("cluster_distance", pa.float32())])

    def identity(self) -> Mapping[str, str]:
        faiss = _faiss()
        return {"faiss": faiss.__version__, "fit_device": "cuda" if _has_gpu(faiss) else "cpu"}

    def drawn(self, batch: pa.RecordBatch, rows: int) -> pa.BooleanArray:
        drawn = uniforms(self.seed, self.name, *uid_words(batch["uid"])) * rows < self.sample
        return pc.and_(pa.array(drawn), batch["clip_image"].is_valid())

    def fit(self, sample: pa.Table, rows: int) -> bytes:
        halves, usable = vectors(sample["clip_image"])
        points = _distinct(halves[usable])
        count = self.clusters or min(round(math.sqrt(rows)), len(points) // POINTS_A_CLUSTER)
        count = min(max(1, count), len(points))
        centroids = self._train(unit(points), count) if count else points
        sink = io.BytesIO()
        np.save(sink, centroids.astype("<f2"), allow_pickle=False)
        return sink.getvalue()

    def _train(self, points: Doubles, count: int) -> Doubles:
        """(clusters, width) centroids of length 1."""
        faiss = _faiss()
        training = faiss.Clustering(points.shape[1], count)
        training.spherical = True
        training.niter = self.iterations
        training.seed = self.seed
        training.min_points_per_centroid = 1  # a user may ask for few
        training.max_points_per_centroid = len(points)  # FAISS draws no sample of its own
        index = faiss.IndexFlatIP(points.shape[1])
        if _has_gpu(faiss):
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(self.fit_threads)
        try:
            training.train(points.astype(np.float32), index)
        finally:
            faiss.omp_set_num_threads(before)
        found = faiss.vector_to_array(training.centroids).reshape(count, -1).astype(np.float64)
        lengths = np.sqrt((found * found).sum(axis=1))
        good = np.isfinite(lengths) & (lengths > 0)  # opposite points may leave nothing
        centroids: Doubles = found[good] / lengths[good, None]
        return centroids

    def fitted(self, data: bytes) -> BatchFn:
        centroids: Halves = np.load(io.BytesIO(data), allow_pickle=False)
        return functools.partial(self._assign, centroids)

    def _assign(self, centroids: Halves, batch: pa.RecordBatch) -> pa.RecordBatch:
        halves, usable = vectors(batch["clip_image"])
        if not len(centroids):
            usable = np.zeros(len(halves), bool)
        cluster = np.zeros(len(halves), np.int32)
        distance = np.zeros(len(halves), np.float32)
        cluster[usable], distance[usable] = nearest(halves[usable], centroids)
        columns = {
            "cluster": pa.array(cluster, mask=~usable),
            "cluster_distance": pa.array(distance, mask=~usable),
        }
        return append(batch, self.provides, columns)


def nearest(
    rows: Halves, centroids: Halves
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Of each row the nearest centroid, the lowest of several, and 1 - cosine to it."""
    cluster = np.zeros(len(rows), np.int32)
    distance = np.zeros(len(rows), np.float32)
    if not len(rows):
        return cluster, distance
    columns = centroids.astype(np.float64).T
    lengths = np.sqrt(np.einsum("dk,dk->k", columns, columns))
    block = max(1, _SCORES // len(centroids))
    for start in range(0, len(rows), block):
        given = rows[start : start + block].astype(np.float64)
        scores = (given @ columns) / lengths  # the product is exact, the quotient rounded once
        best = scores.argmax(axis=1)  # the first of several
        cosine = scores[np.arange(len(given)), best] / np.sqrt(np.einsum("nd,nd->n", given, given))
        cluster[start : start + block] = best
        distance[start : start + block] = np.maximum(0.0, 1.0 - cosine)
    return cluster, distance


def _distinct(rows: Halves) -> Halves:
    """Rows without exact duplicates, in the order of their bytes."""
    whole = np.ascontiguousarray(rows)
    if not whole.size:
        return whole
    keys = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1]))).ravel()
    _, first = np.unique(keys, return_index=True)
    return whole[first]


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise UsageError(
            "visual_cluster needs FAISS, which is not installed (pip install faiss-cpu)"
        ) from error
    module: ModuleType = faiss
    return module


def _has_gpu(faiss: Any) -> bool:
    """FAISS's builds without CUDA lack the resources class, and may say 0 GPUs."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
