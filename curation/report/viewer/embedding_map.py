"""A map of embeddings: a sample of the corpus on its two principal axes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.corpus import Layer
from curation.core.draw import order_keys
from curation.core.embedding import Halves, unit, vectors
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.report.viewer.fates import Bools, Fates, Positions
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.query import CLUSTER

COLUMN = "clip_image"
POINTS = 4_000
"""Samples on the map."""
_SHARDS = 24
"""Shards that they are taken from at most."""


def embedding_map(
    corpus: Corpus, fates: Fates, store: MeasureStore, listed: Bools
) -> dict[str, Any] | None:
    """Positions, coordinates, clusters and groups; null where there are no embeddings.

    The same corpus gives the same map: which samples are on it is drawn by hash, and the signs of
    the axes are fixed.
    """
    ref = next((r for r in corpus.manifest.layers if COLUMN in r.columns), None)
    if ref is None or not corpus.shards:
        return None
    at, rows = _drawn(corpus, Layer(ref.operator, ref.fingerprint), fates, listed)
    if len(at) < 3:
        return None
    points, explained = _principal(unit(rows))
    clusters = store.number(CLUSTER).values[at] if CLUSTER in store.columns else None
    return {
        "at": at.tolist(),
        "x": np.round(points[:, 0], 5).tolist(),
        "y": np.round(points[:, 1], 5).tolist(),
        "explained": explained,
        "group": fates.codes[at].tolist(),
        "cluster": None
        if clusters is None
        else [None if np.isnan(c) else int(c) for c in clusters.tolist()],
    }


def _drawn(corpus: Corpus, layer: Layer, fates: Fates, listed: Bools) -> tuple[Positions, Halves]:
    """Positions and embeddings of the samples on the map."""
    count = min(_SHARDS, len(corpus.shards))
    chosen = np.unique(np.linspace(0, len(corpus.shards) - 1, count).astype(np.int64))
    places: list[Positions] = []
    found: list[Halves] = []
    for nth in chosen.tolist():
        shard = corpus.shards[nth]
        table = read_table(corpus.store, layer.path(shard.shard), [COLUMN])
        start = int(fates.starts[nth])
        there = np.flatnonzero(
            np.asarray(table[COLUMN].is_valid()) & listed[start : start + shard.samples]
        )
        keys = order_keys(0, "embedding-map", np.full(len(there), shard.shard), there)
        rows = np.sort(there[np.argsort(keys, kind="stable")[: max(1, POINTS // count)]])
        halves, usable = vectors(table[COLUMN].take(rows))
        places.append(rows[usable] + start)
        found.append(halves[usable])
    return np.concatenate(places), np.concatenate(found)


def _principal(rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[float]]:
    """(samples, 2), and the share of the variance on each axis."""
    centred = rows - rows.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    top = axes[:, -1:-3:-1]
    top = top * np.where(top[np.abs(top).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float(values.sum()) or 1.0
    return centred @ top, [float(values[-1]) / total, float(values[-2]) / total]
