"""Calibration against plain counting, on embeddings that are planted."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.core.corpus import Layer
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.io.tables import write_table
from curation.pipeline.calibrate import auc, calibrate, wilson_low
from curation.pipeline.ingest import IngestRequest, ingest
from schemas.manifest import Calibration, LayerRef
from tests.pipeline.corpora import write_pairs

WIDTH = 16
SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("uid", pa.string()),
        ("clip_score", pa.float32()),
        ("clip_image", pa.binary(2 * WIDTH)),
        ("clip_text", pa.binary(2 * WIDTH)),
    ]
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    request = IngestRequest(source=str(write_pairs(tmp_path / "pairs", 80)))
    with LocalEngine(workers=0) as engine:
        return ingest(request, str(tmp_path / "corpus"), engine, SILENT)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f2")


def planted(corpus: Corpus, image: np.ndarray, text: np.ndarray) -> LayerRef:
    """A layer of `clip` that holds these embeddings."""
    layer = Layer("clip", "0123456789abcdef")
    index = pa.concat_tables(
        pa.parquet.read_table(corpus.store.path(f"index/{s.shard:09d}.parquet"))
        for s in corpus.shards
    )
    score = (image.astype(float) * text).sum(axis=1)
    table = pa.table(
        {
            "shard": index["shard"],
            "row": index["row"],
            "uid": index["uid"],
            "clip_score": pa.array(score, pa.float32()),
            "clip_image": [row.tobytes() for row in image],
            "clip_text": [row.tobytes() for row in text],
        },
        schema=SCHEMA,
    )
    (shard,) = corpus.shards
    write_table(corpus.store, layer.path(shard.shard), table, SCHEMA, {})
    return LayerRef(
        operator="clip", fingerprint=layer.fingerprint, parameters={}, libraries={},
        columns=SCHEMA.names[3:], errors={},
    )  # fmt: skip


def found(corpus: Corpus, image: np.ndarray, text: np.ndarray) -> Calibration:
    made = calibrate(corpus, planted(corpus, image, text), "planted", SILENT)
    assert made is not None
    return made


def test_a_model_that_knows_its_pairs_passes(corpus):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(80, WIDTH))
    made = found(corpus, unit(image), unit(image + 0.3 * rng.normal(size=image.shape)))
    assert made.passed
    assert made.auc > 0.99
    assert made.share_above > 0.8
    assert sum(made.true_counts) == made.pairs == 80
    assert sum(made.shuffled_counts) == made.shuffled == 80 * 79


def test_a_model_that_guesses_does_not(corpus):
    rng = np.random.default_rng(1)
    made = found(corpus, unit(rng.normal(size=(80, WIDTH))), unit(rng.normal(size=(80, WIDTH))))
    assert not made.passed
    assert 0.4 < made.auc < 0.6


def test_the_numbers_are_those_of_counting_every_pair(corpus):
    rng = np.random.default_rng(2)
    image = unit(rng.normal(size=(80, WIDTH)))
    text = unit(image + rng.normal(size=image.shape))
    made = found(corpus, image, text)
    cosines = image.astype(float) @ text.astype(float).T
    true = np.diag(cosines)
    shuffled = cosines[~np.eye(80, dtype=bool)]
    threshold = np.percentile(shuffled, 99, method="higher")
    assert made.threshold == pytest.approx(threshold, abs=1e-6)
    assert made.share_above == pytest.approx(np.mean(true > made.threshold), abs=1e-6)
    wins = (true[:, None] > shuffled).mean() + 0.5 * (true[:, None] == shuffled).mean()
    assert made.auc == pytest.approx(wins, abs=1e-6)


def test_equal_captions_are_never_shuffled_pairs(tmp_path):
    source = write_pairs(tmp_path / "pairs", 60)
    lines = (source / "pairs.jsonl").read_text().splitlines()
    import json

    rows = [{**json.loads(line), "text": f"caption {n % 2}"} for n, line in enumerate(lines)]
    (source / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with LocalEngine(workers=0) as engine:
        made = ingest(IngestRequest(source=str(source)), str(tmp_path / "c"), engine, SILENT)
    rng = np.random.default_rng(3)
    result = found(made, unit(rng.normal(size=(60, WIDTH))), unit(rng.normal(size=(60, WIDTH))))
    assert result.shuffled == 60 * 30


def test_too_few_pairs_are_not_judged(tmp_path):
    with LocalEngine(workers=0) as engine:
        request = IngestRequest(source=str(write_pairs(tmp_path / "pairs", 20)))
        made = ingest(request, str(tmp_path / "c"), engine, SILENT)
    rng = np.random.default_rng(4)
    ref = planted(made, unit(rng.normal(size=(20, WIDTH))), unit(rng.normal(size=(20, WIDTH))))
    assert calibrate(made, ref, "planted", SILENT) is None


@pytest.mark.parametrize(("hits", "size"), [(0, 10), (5, 50), (57, 567), (10, 10)])
def test_the_lower_bound_solves_wilsons_equation(hits, size):
    low = wilson_low(hits, size)
    share, z = hits / size, 1.959964
    assert 0 <= low <= share
    assert abs(share - low) == pytest.approx(z * math.sqrt(low * (1 - low) / size), abs=1e-6)


def test_ties_count_half():
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == 0.75
