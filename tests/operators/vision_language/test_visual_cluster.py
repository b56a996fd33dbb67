"""Clusters: trained to the same bytes, assigned alike in every batch, ties to the lowest id."""

import hashlib
import io
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.core.embedding import squared_norms
from curation.operators.vision_language.visual_cluster import VisualCluster, nearest
from tests.operators.vision_language.embeddings import embeddings, unit_rows

REPO = Path(__file__).resolve().parents[3]


def grouped(seed, count, groups, width=32, noise=0.3):
    """Unit vectors around as many directions, and the direction of each."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((groups, width))
    group = rng.integers(0, groups, count)
    rows = middles[group] + noise * rng.standard_normal((count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), group


def uids(count):
    return pa.array([f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}" for n in range(count)])


def table(rows):
    rows = embeddings(rows)
    return rows.append_column("uid", uids(rows.num_rows))


def sampled(operator, rows, size=100):
    batches = table(rows).combine_chunks().to_batches(max_chunksize=size)
    return pa.Table.from_batches([b.filter(operator.drawn(b, len(rows))) for b in batches])


def fit(operator, rows):
    return operator.fit(sampled(operator, rows), len(rows))


def assigned(operator, data, rows, size=4096):
    function = operator.fitted(data)
    batches = embeddings(rows).combine_chunks().to_batches(max_chunksize=size)
    out = pa.Table.from_batches([function(batch) for batch in batches])
    return out["cluster"].to_pylist(), out["cluster_distance"].to_pylist()


def centroids(data):
    return np.load(io.BytesIO(data), allow_pickle=False)


def test_finds_the_groups_there_are():
    rows, group = grouped(1, 3000, 8)
    operator = VisualCluster(clusters=8, seed=3)
    cluster, distance = assigned(operator, fit(operator, rows), rows)
    together = {(g, c) for g, c in zip(group.tolist(), cluster, strict=True)}
    assert len(together) == 8  # k-means from this seed: each group is a cluster
    assert max(distance) < 0.3


def test_the_nearest_by_exact_cosine_and_of_ties_the_lowest():
    """In fractions: centroid 1 is centroid 0 turned around, 3 is a copy of 2."""
    rng = np.random.default_rng(2)
    means = rng.integers(-8, 9, (5, 6)) / 8
    means[1], means[3] = -means[0], means[2]
    means, rows = means.astype(np.float16), (rng.integers(-8, 9, (300, 6)) / 8).astype(np.float16)
    rows[:20] = means[2]
    cluster, distance = nearest(rows, means)

    def score(row, mean):
        """Sign and square of the cosine, without the row's own length."""
        dot = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, mean, strict=True))
        return (1 if dot > 0 else -1) * dot * dot / sum(Fraction(float(b)) ** 2 for b in mean)

    scores = [[score(row, mean) for mean in means] for row in rows]
    assert cluster.tolist() == [line.index(max(line)) for line in scores]
    assert 3 not in cluster
    cosines = (rows.astype(float) * means[cluster]).sum(axis=1)
    cosines /= np.sqrt(squared_norms(rows) * squared_norms(means[cluster]))
    assert np.abs(distance - (1 - cosines)).max() < 1e-6


def test_assignment_does_not_depend_on_the_batch(monkeypatch):
    rows, _ = grouped(3, 2000, 40, width=96, noise=1.5)
    operator = VisualCluster(clusters=37)
    data = fit(operator, rows)
    said = [assigned(operator, data, rows, size) for size in (1, 3, 64, 777, 2000)]
    assert all(each == said[0] for each in said)
    name = "curation.operators.vision_language.visual_cluster._SCORES"
    monkeypatch.setattr(name, 100)
    assert assigned(operator, data, rows) == said[0]


def test_assignment_is_that_of_every_row_alone_in_integers():
    rows, _ = grouped(4, 200, 20, width=64, noise=1.5)
    operator = VisualCluster(clusters=20)
    data = fit(operator, rows)
    cluster, _ = assigned(operator, data, rows)
    means = [[int(float(x) * 2**24) for x in mean] for mean in centroids(data)]
    lengths = np.sqrt(squared_norms(centroids(data)))
    for row, said in zip(np.asarray(rows, np.float16), cluster, strict=True):
        whole = [int(float(x) * 2**24) for x in row]
        dots = [sum(a * b for a, b in zip(whole, mean, strict=True)) for mean in means]
        assert said == int(
            np.argmax([dot / 2**48 / n for dot, n in zip(dots, lengths, strict=True)])
        )


def test_training_does_not_depend_on_the_order_of_rows_or_copies():
    rows, _ = grouped(5, 1500, 10)
    operator = VisualCluster(clusters=10)
    data = operator.fit(embeddings(rows), 1500)
    shuffled = np.random.default_rng(0).permutation(rows)
    assert operator.fit(embeddings(shuffled), 1500) == data
    copies = np.concatenate([rows, np.repeat(rows[:1], 700, axis=0)])
    assert operator.fit(embeddings(copies), 1500) == data


@pytest.mark.parametrize("threads", ["1", "2"])
def test_training_gives_the_same_bytes_in_another_process(threads):
    """Whatever the environment says about threads, the operator's own number counts."""
    code = (
        "from tests.operators.vision_language.test_visual_cluster import *\n"
        "rows, _ = grouped(6, 4000, 10)\n"
        "print(hashlib.sha256(fit(VisualCluster(clusters=40), rows)).hexdigest())"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    rows, _ = grouped(6, 4000, 10)
    data = fit(VisualCluster(clusters=40), rows)
    assert done.stdout.strip() == hashlib.sha256(data).hexdigest()


def test_the_one_centroid_is_the_mean_of_all_directions():
    """Of all points: FAISS by itself would draw 256 a cluster."""
    rows, _ = grouped(13, 2000, 5)
    halves = np.asarray(rows, np.float16)
    mean = (halves / np.sqrt(squared_norms(halves))[:, None]).mean(axis=0)
    (centroid,) = centroids(fit(VisualCluster(clusters=1), rows))
    assert np.abs(centroid - mean / np.linalg.norm(mean)).max() < 5e-4  # fp16


def test_each_centroid_is_the_direction_of_its_members():
    """What spherical k-means comes to, though some members lie wider than others."""
    tight, _ = grouped(14, 400, 4, noise=0.1)
    wide, _ = grouped(15, 400, 4, noise=2.0)
    rows = np.asarray(np.concatenate([tight, wide]), np.float16)
    means = centroids(fit(VisualCluster(clusters=6, iterations=100), rows))
    cluster, _ = nearest(rows, means)
    for number, mean in enumerate(means):
        members = rows[cluster == number].astype(float)
        middle = members.sum(axis=0) / np.linalg.norm(members.sum(axis=0))
        assert middle @ mean > 1 - 1e-4


def test_seed_iterations_and_clusters_decide_the_centroids():
    rows, _ = grouped(7, 800, 30, noise=1.0)
    made = [
        fit(VisualCluster(**changed), rows)
        for changed in ({"clusters": 9}, {"clusters": 9, "seed": 1}, {"clusters": 8},
                        {"clusters": 9, "iterations": 1})
    ]  # fmt: skip
    assert len(set(made)) == 4


def test_the_sample_is_drawn_by_uid_alone():
    rows = unit_rows(8, 5000, 4)
    operator = VisualCluster(sample=1000)
    whole = sampled(operator, rows, 5000)
    assert sampled(operator, rows, 7)["clip_image"].to_pylist() == whole["clip_image"].to_pylist()
    assert 880 < whole.num_rows < 1120  # four standard deviations
    other = sampled(VisualCluster(sample=1000, seed=1), rows)
    assert len(set(other["clip_image"].to_pylist()) & set(whole["clip_image"].to_pylist())) < 300
    assert sampled(VisualCluster(sample=5000), rows).num_rows == 5000


@pytest.mark.parametrize(
    ("rows", "distinct", "clusters"), [(900, 900, 23), (900, 30, 1), (10_000, 5000, 100), (1, 1, 1)]
)
def test_the_default_number_of_clusters(rows, distinct, clusters):
    """The square root of the rows, but 39 distinct training points for each."""
    data = VisualCluster(iterations=1).fit(embeddings(unit_rows(9, distinct, 8)), rows)
    assert len(centroids(data)) == clusters


def test_rows_without_an_embedding_have_no_cluster():
    rows, _ = grouped(10, 100, 3)
    bad = [None, np.full(32, np.nan), np.zeros(32), np.full(32, np.inf)]
    mixed = [*rows[:50], *bad, *rows[50:]]
    operator = VisualCluster(clusters=3)
    data = fit(operator, mixed)
    assert data == operator.fit(embeddings(rows), 104)
    cluster, distance = assigned(operator, data, mixed)
    assert [n for n, c in enumerate(cluster) if c is None] == [50, 51, 52, 53]
    assert [n for n, d in enumerate(distance) if d is None] == [50, 51, 52, 53]
    assert cluster[:50] + cluster[54:] == assigned(operator, data, rows)[0]


def test_fewer_rows_than_clusters_are_as_many_clusters():
    rows = unit_rows(11, 5, 16)
    operator = VisualCluster(clusters=50)
    cluster, distance = assigned(operator, fit(operator, rows), rows)
    assert sorted(cluster) == [0, 1, 2, 3, 4]
    assert max(distance) < 1e-3


def test_images_that_are_all_alike_are_one_cluster():
    rows = np.repeat(unit_rows(12, 1, 16), 200, axis=0)
    operator = VisualCluster(clusters=7)
    cluster, _ = assigned(operator, fit(operator, rows), rows)
    assert set(cluster) == {0}


def test_opposite_images_do_not_cancel_into_a_centroid():
    one = np.array([1.0, 0, 0])
    operator = VisualCluster(clusters=1)
    rows = [one, -one]
    cluster, _ = assigned(operator, fit(operator, rows), rows)
    assert set(cluster) <= {0, None}
    assert np.isfinite(centroids(fit(operator, rows))).all()


@pytest.mark.parametrize("rows", [[], [None, None], [np.full(4, np.nan)]])
def test_a_corpus_without_embeddings_has_no_clusters(rows):
    operator = VisualCluster()
    data = operator.fit(embeddings(rows), len(rows))
    assert len(centroids(data)) == 0
    assert assigned(operator, data, [*rows, None])[0] == [None] * (len(rows) + 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clusters": -1}, "clusters must be at least 0"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"fit_threads": 0}, "fit_threads must be at least 1"),
        ({"seed": -1}, "seed must be 0 to"),
    ],
)
def test_settings_without_meaning_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        VisualCluster(**wrong)


def test_says_what_decides_its_bytes():
    import faiss

    assert VisualCluster().identity() == {"faiss": faiss.__version__, "fit_device": "cpu"}
    with pytest.raises(TypeError, match="opens with what it was fitted to"):
        VisualCluster().open()
