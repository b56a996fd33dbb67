"""A map of embeddings: a sample of the corpus on two principal axes, or laid out by neighbours."""

import subprocess
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.corpus import Layer
from curation.core.draw import order_keys
from curation.core.embedding import Halves, unit, vectors
from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.report.viewer.fates import Bools, Fates, Positions
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.neighbour_map import is_there, neighbour_map
from curation.report.viewer.query import CLUSTER

COLUMN = "clip_image"
AXES, NEIGHBOURS = "axes", "neighbours"
_LEAST = 3
POINTS = 4_000
"""Samples on the map."""
_SHARDS = 24
"""Shards that they are taken from at most."""


class EmbeddingMap:
    """The map of one corpus; safe to ask from many threads.

    The same corpus gives the same map: which samples are on it is drawn by hash, and the signs of
    the axes are fixed.
    """

    def __init__(self, corpus: Corpus, fates: Fates, store: MeasureStore, listed: Bools) -> None:
        """`listed`: positions that may be on it."""
        self._corpus, self._fates, self._store, self._listed = corpus, fates, store, listed
        self._process: subprocess.Popen[bytes] | None = None
        self._laid: dict[str, dict[str, Any]] = {}
        self._axes, self._neighbours = threading.Lock(), threading.Lock()

    def told(self, by: str) -> dict[str, Any]:
        """Positions, coordinates, clusters and groups, laid out `by` AXES or NEIGHBOURS.

        Raises UsageError where there are no embeddings, or no UMAP for NEIGHBOURS.
        """
        if by not in (AXES, NEIGHBOURS):
            raise UsageError(f"a map is laid out by {AXES} or {NEIGHBOURS}, got {by[:40]!r}")
        with self._axes:
            if AXES not in self._laid:
                self._lay_out()
        if by == AXES:
            return self._laid[AXES]
        if not is_there():
            raise UsageError("a map by neighbours needs UMAP (pip install 'curation[map]')")
        with self._neighbours:
            if NEIGHBOURS not in self._laid:
                points = neighbour_map(self._rows, self._started)
                self._laid[NEIGHBOURS] = {**self._laid[AXES], **_places(points), "explained": None}
        return self._laid[NEIGHBOURS]

    def close(self) -> None:
        """Ends a layout that is under way: whoever waits for it is told that it failed."""
        if self._process is not None:
            self._process.kill()

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _lay_out(self) -> None:
        ref = next((r for r in self._corpus.manifest.layers if COLUMN in r.columns), None)
        if ref is None:
            raise UsageError("no embeddings were measured here")
        layer = Layer(ref.operator, ref.fingerprint)
        at, rows = _drawn(self._corpus, layer, self._fates, self._listed)
        if len(at) < _LEAST:
            raise UsageError(f"a map needs embeddings of {_LEAST} samples, there are {len(at)}")
        self._rows = unit(rows).astype(np.float32)
        points, explained = _principal(unit(rows))
        there = CLUSTER in self._store.columns
        clusters = self._store.number(CLUSTER).values[at].tolist() if there else None
        self._laid[AXES] = {
            "at": at.tolist(),
            **_places(points),
            "explained": explained,
            "group": self._fates.codes[at].tolist(),
            "cluster": clusters and [None if np.isnan(c) else int(c) for c in clusters],
        }


def _places(points: npt.NDArray[Any]) -> dict[str, list[float]]:
    across, up = np.round(points.astype(np.float64), 5).T
    return {"x": across.tolist(), "y": up.tolist()}


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
