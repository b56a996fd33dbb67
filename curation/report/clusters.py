"""Visual clusters: how many there are and how large, counted a shard at a time."""

import io
from dataclasses import dataclass

import numpy as np

from curation.core.corpus import Layer
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.report.axis import Counts, Summary, bin_edges
from curation.report.chart import HistogramChart, histogram_chart
from curation.report.columns import Column, stream
from curation.report.histogram import Histogram, count_values
from curation.report.wording import percent
from schemas.manifest import LayerRef

OPERATOR = "visual_cluster"
LARGEST = 10
"""Clusters that are listed."""

_SIZES = Column(name="cluster size", operator=OPERATOR, folder="", words=False, integer=True)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The clusters of a corpus."""

    number: int
    empty: int
    samples: int
    """With a cluster."""
    without: int
    median: float
    """Samples of the middle one among those that hold any."""
    largest: list[tuple[int, int, str, int | None]]
    """Number, samples, share of all samples with a cluster, samples kept (null: undecided)."""
    log: bool
    """The axis is logarithmic."""
    chart: HistogramChart | None
    """Clusters by size; null where nothing has a cluster."""


def visual_clusters(corpus: Corpus) -> Clusters | None:
    """What was measured; null where nothing was. Memory: a number for each cluster."""
    ref = next((r for r in corpus.manifest.layers if r.operator == OPERATOR), None)
    if ref is None:
        return None
    sizes, kept, without = _count(corpus, ref)
    there = sizes[sizes > 0]
    total = int(sizes.sum())
    order = np.lexsort((np.arange(len(sizes)), -sizes))[:LARGEST]
    decided = corpus.manifest.ledger is not None
    shown = _histogram(there) if len(there) else None
    return Clusters(
        number=len(sizes),
        empty=len(sizes) - len(there),
        samples=total,
        without=without,
        median=float(np.median(there)) if len(there) else 0.0,
        largest=[
            (
                int(n),
                int(sizes[n]),
                percent(int(sizes[n]), total),
                int(kept[n]) if decided else None,
            )
            for n in order
            if sizes[n]
        ],
        log=shown is not None and shown.log,
        chart=histogram_chart(shown, "clusters") if shown else None,
    )


def _count(corpus: Corpus, ref: LayerRef) -> tuple[Counts, Counts, int]:
    """Samples of each cluster, those of them that are kept, and samples without a cluster."""
    layer = Layer(ref.operator, ref.fingerprint)
    column = Column(
        name="cluster", operator=OPERATOR, folder=layer.folder, words=False, integer=True
    )
    sizes = np.zeros(_centroids(corpus, layer), np.int64)
    kept = np.zeros_like(sizes)
    without = 0
    for part in stream(corpus, [column]):
        without += part.array.null_count
        there = np.asarray(part.array.is_valid())
        ids = part.array.fill_null(0).to_numpy()
        if there.any() and not 0 <= int(ids.max()) < len(sizes):
            raise CorpusError(f"{layer.folder}: a cluster that has no centroid")
        sizes += np.bincount(ids[there], minlength=len(sizes))
        if part.kept is not None:
            kept += np.bincount(ids[there & part.kept], minlength=len(sizes))
    return sizes, kept, without


def _centroids(corpus: Corpus, layer: Layer) -> int:
    """Clusters that the operator was fitted with (see curation.operators.vision_language)."""
    try:
        return len(np.load(io.BytesIO(corpus.store.read(layer.fitted)), allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise CorpusError(f"{corpus.store.path(layer.fitted)}: damaged file ({error})") from error


def _histogram(sizes: Counts) -> Histogram:
    summary = Summary(column=_SIZES)
    values = sizes.astype(np.float64)
    summary.add(values, len(values))
    edges, log = bin_edges(summary, [])
    counts = count_values(values, edges)
    return Histogram(
        column=_SIZES,
        edges=edges,
        log=log,
        counts=counts[1:-1].tolist(),
        below=int(counts[0]),
        above=int(counts[-1]),
        kept=None,
        kept_below=0,
        kept_above=0,
        measured=len(sizes),
        missing=0,
        minimum=summary.minimum,
        maximum=summary.maximum,
        limits=[],
    )
