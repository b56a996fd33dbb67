"""Can this CLIP judge this corpus? True pairs against shuffled ones, and what follows from it.

A score means something only if true pairs stand out from pairs of an image with a caption of
another sample. The guard asks that at least a tenth of the true pairs lie above the 99th
percentile of shuffled ones (chance: a hundredth), at the lower end of the 95% interval; AUC alone
would disable a good model on a noisy corpus.
"""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer, index_path
from curation.core.draw import order_keys, uid_words
from curation.core.embedding import Halves, vectors
from curation.core.progress import Progress
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from schemas.manifest import Calibration, LayerRef

PAIRS = 10_000
"""True pairs drawn; a corpus with fewer gives all it has."""

SHUFFLED = 10_000
"""Shuffled pairs made, where the corpus allows."""

MIN_SHUFFLED = 1_000
"""Below this the percentile says nothing."""

PERCENTILE = 99.0
MIN_SHARE = 0.10
"""Share of true pairs above the percentile that the guard asks for."""

_BINS = 60
_Z = 1.959964
"""Of a two-sided 95% interval."""

Floats = npt.NDArray[np.float64]
_COLUMNS = ["shard", "row", "uid", "clip_score", "clip_image", "clip_text"]


def calibrate(
    corpus: Corpus, ref: LayerRef, model: str, progress: Progress, seed: int = 0
) -> Calibration | None:
    """Scores true against shuffled pairs of `ref`, a layer of `clip`; null with too few pairs.

    Distinct samples are drawn by seed; an image is never paired with a caption equal to its own.
    Memory holds the drawn embeddings only.
    """
    drawn = _draw(corpus, Layer(ref.operator, ref.fingerprint), progress, seed)
    size = drawn.num_rows
    if size < 2:
        return None
    (image, _), (text, _) = vectors(drawn["clip_image"]), vectors(drawn["clip_text"])
    captions = drawn["text"].combine_chunks().dictionary_encode().indices.to_numpy()
    true = _cosine(image, text)
    shuffled = np.concatenate(list(_deranged(image, text, captions)) or [np.empty(0)])
    if len(shuffled) < MIN_SHUFFLED:
        return None
    threshold = round(float(np.percentile(shuffled, PERCENTILE, method="higher")), 6)
    above = int(np.count_nonzero(true > threshold))
    low = wilson_low(above, size)
    edges = np.linspace(
        math.floor(20 * min(true.min(), shuffled.min())) / 20,
        math.ceil(20 * max(true.max(), shuffled.max())) / 20,
        _BINS + 1,
    )
    return Calibration(
        fingerprint=ref.fingerprint,
        model=model,
        seed=seed,
        pairs=size,
        shuffled=len(shuffled),
        auc=round(auc(true, shuffled), 6),
        threshold=threshold,
        share_above=round(above / size, 6),
        share_above_low=round(low, 6),
        passed=low >= MIN_SHARE,
        edges=[round(float(edge), 6) for edge in edges],
        true_counts=np.histogram(true, edges)[0].tolist(),
        shuffled_counts=np.histogram(shuffled, edges)[0].tolist(),
    )


def _draw(corpus: Corpus, layer: Layer, progress: Progress, seed: int) -> pa.Table:
    """The PAIRS scored samples with the smallest hashes of their uid, each content once."""
    kept: pa.Table | None = None
    with progress.track("calibrate", corpus.samples, "samples") as tracker:
        for shard in corpus.shards:
            rows = read_table(corpus.store, layer.path(shard.shard), _COLUMNS)
            index = read_table(corpus.store, index_path(shard.shard), ["text"])
            rows = rows.append_column("text", index["text"])
            rows = rows.filter(pc.is_valid(rows["clip_score"]))
            keys = order_keys(seed, "calibration", *uid_words(rows["uid"]))
            rows = rows.append_column("draw", pa.array(keys))
            kept = rows if kept is None else pa.concat_tables([kept, rows])
            kept = kept.sort_by(
                [("draw", "ascending"), ("shard", "ascending"), ("row", "ascending")]
            )
            kept = _first_of_each(kept).slice(0, PAIRS).combine_chunks()
            tracker.advance(shard.samples)
    assert kept is not None
    return kept


def _first_of_each(rows: pa.Table) -> pa.Table:
    """Of sorted rows, the first with each uid."""
    uids = rows["uid"].combine_chunks()
    if not len(uids):
        return rows
    new = [True, *pc.not_equal(uids[1:], uids[:-1]).to_pylist()]
    return rows.filter(pa.array(new))


def _cosine(image: Halves, text: Halves) -> Floats:
    """Cosines of rows, exact products summed in float64: the same on every processor."""
    return cast(Floats, np.einsum("nd,nd->n", image.astype(np.float64), text.astype(np.float64)))


def _deranged(
    image: Halves,
    text: Halves,
    captions: npt.NDArray[np.int32],
) -> Iterator[Floats]:
    """Scores of each image with the caption `shift` places on, until there are SHUFFLED.

    The rows stand in random order, so that each shift is a derangement drawn at random.
    """
    size, made = len(image), 0
    for shift in range(1, size):
        other = (np.arange(size) + shift) % size
        fair = captions != captions[other]
        yield _cosine(image[fair], text[other[fair]])
        made += int(np.count_nonzero(fair))
        if made >= SHUFFLED:
            return


def auc(true: Floats, shuffled: Floats) -> float:
    """Area under the ROC curve (Mann and Whitney's U over its largest value)."""
    ordered = np.sort(shuffled)
    below = np.searchsorted(ordered, true, "left").sum(dtype=np.int64)
    not_above = np.searchsorted(ordered, true, "right").sum(dtype=np.int64)
    return float(below + not_above) / (2.0 * len(true) * len(shuffled))


def wilson_low(hits: int, size: int) -> float:
    """Lower end of the 95% interval of a share (Wilson, 1927)."""
    share, z2 = hits / size, _Z * _Z
    middle = share + z2 / (2 * size)
    half = _Z * math.sqrt(share * (1 - share) / size + z2 / (4 * size * size))
    return max(0.0, (middle - half) / (1 + z2 / size))
