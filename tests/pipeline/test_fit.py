"""Operators that are fitted to the corpus: once, before their layer, to the same bytes."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.operator import BatchFn, FittedOperator, Operator, append
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.operators.vision_language.visual_cluster import VisualCluster
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from tests.operators.vision_language.embeddings import Given
from tests.pipeline.corpora import tree, write_pairs

REPO = Path(__file__).resolve().parents[2]
OPERATORS = (Given(), VisualCluster(clusters=6))


@dataclass(frozen=True, kw_only=True)
class Median(FittedOperator):
    """How a caption's length compares with the median of all."""

    name = "median"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("longer", pa.int32())])

    def drawn(self, batch: pa.RecordBatch, rows: int) -> pa.BooleanArray:
        return pa.array([uid[0] < "8" for uid in batch["uid"].to_pylist()], pa.bool_())

    def fit(self, sample: pa.Table, rows: int) -> bytes:
        lengths = sorted(len(text) for text in sample["text"].to_pylist())
        return f"{rows} {lengths[len(lengths) // 2] if lengths else 0}".encode()

    def fitted(self, data: bytes) -> BatchFn:
        middle = int(data.split()[1])

        def compare(batch: pa.RecordBatch) -> pa.RecordBatch:
            longer = [len(text) - middle for text in batch["text"].to_pylist()]
            return append(batch, self.provides, {"longer": longer})

        return compare


@dataclass(frozen=True, kw_only=True)
class Longer(Operator):
    """Reads what a fitted operator provides."""

    name = "longer"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("longer", pa.int32())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("much", pa.bool_())])

    def open(self) -> BatchFn:
        def judge(batch: pa.RecordBatch) -> pa.RecordBatch:
            much = [longer > 2 for longer in batch["longer"].to_pylist()]
            return append(batch, self.provides, {"much": much})

        return judge


def read(pairs, out, **more) -> Corpus:
    options = SourceOptions(shard_samples=more.pop("shard_samples", 25))
    with LocalEngine(workers=0) as engine:
        request = IngestRequest(source=str(pairs), options=options, **more)
        return ingest(request, str(out), engine, SILENT)


def measured(corpus, operators=OPERATORS, workers=0, only=""):
    with LocalEngine(workers=workers) as engine:
        return measure(corpus, operators, engine, SILENT, only)


def layer_of(corpus, operators, name):
    return layers_of(operators, corpus.shards_sha256)[name]


def column(corpus, operators, operator, name):
    layer = layer_of(corpus, operators, operator)
    parts = [read_table(corpus.store, layer.path(s.shard), [name]) for s in corpus.shards]
    return pa.concat_tables(parts)[name].to_pylist()


def test_is_fitted_to_drawn_rows_of_every_shard_and_read_by_others(pairs, tmp_path):
    corpus = read(pairs, tmp_path / "corpus")
    operators = (Median(), Longer())
    measured(corpus, operators)
    index = [read_table(corpus.store, f"index/{s.shard:09d}.parquet") for s in corpus.shards]
    rows = pa.concat_tables(index).select(["uid", "text"]).to_pylist()
    lengths = sorted(len(row["text"]) for row in rows if row["uid"][0] < "8")
    middle = lengths[len(lengths) // 2]
    layer = layer_of(corpus, operators, "median")
    assert corpus.store.read(layer.fitted) == f"60 {middle}".encode()
    longer = [len(row["text"]) - middle for row in rows]
    assert column(corpus, operators, "median", "longer") == longer
    assert column(corpus, operators, "longer", "much") == [n > 2 for n in longer]


def test_clusters_of_a_corpus_do_not_depend_on_workers(pairs, tmp_path):
    trees = []
    for workers in (0, 2):
        corpus = read(pairs, tmp_path / f"of-{workers}")
        measured(corpus, workers=workers)
        trees.append(tree(tmp_path / f"of-{workers}" / "layers"))
    assert trees[0] == trees[1]
    assert any(name.endswith("_fitted.bin") for name in trees[0])


def test_centroids_do_not_depend_on_shards(pairs, tmp_path):
    found = set()
    for size in (7, 25, 60):
        corpus = read(pairs, tmp_path / f"of-{size}", shard_samples=size)
        measured(corpus)
        found.add(corpus.store.read(layer_of(corpus, OPERATORS, "visual_cluster").fitted))
    assert len(found) == 1


def test_a_corpus_that_grew_is_fitted_again(pairs, tmp_path):
    out = tmp_path / "corpus"
    corpus = read(pairs, out)
    (given, clusters) = measured(corpus)
    more = write_pairs(tmp_path / "more", 20, start=700)
    corpus = read(more, out, append=True)
    (given_then, clusters_then) = measured(corpus)
    assert given_then.fingerprint == given.fingerprint
    assert clusters_then.fingerprint != clusters.fingerprint
    assert len(column(corpus, OPERATORS, "visual_cluster", "cluster")) == 80


def test_the_embeddings_that_it_reads_are_part_of_its_name():
    changed = (Given(seed=1), OPERATORS[1])
    named = [layers_of(operators, "a")["visual_cluster"] for operators in (OPERATORS, changed)]
    seeded = (OPERATORS[0], dataclasses.replace(OPERATORS[1], seed=1))
    named.append(layers_of(seeded, "a")["visual_cluster"])
    named.append(layers_of(OPERATORS, "b")["visual_cluster"])
    assert len(set(named)) == 4
    assert layers_of(OPERATORS, "a")["given"] == layers_of(OPERATORS, "b")["given"]


def test_what_it_was_fitted_to_is_kept_when_the_layer_is_measured_again(pairs, tmp_path):
    corpus = read(pairs, tmp_path / "corpus")
    measured(corpus, only="visual_cluster")
    before = tree(tmp_path / "corpus")
    layer = layer_of(corpus, OPERATORS, "visual_cluster")
    folder = Path(corpus.store.path(layer.folder))
    fitted = folder / "_fitted.bin"
    when = fitted.stat().st_mtime_ns
    (folder / "000000001.parquet").unlink()
    next(folder.glob("_done*")).unlink()
    measured(corpus)
    assert tree(tmp_path / "corpus") == before
    assert fitted.stat().st_mtime_ns == when


MEASURE = """
import sys
from tests.pipeline.test_fit import measured
from curation.io.corpus import open_corpus
if __name__ == "__main__":
    measured(open_corpus(sys.argv[1]), workers=2)
"""
MOMENTS = {
    "given-*/00000000[3-9].parquet": "some embeddings are there",
    "given-*/_done*": "all of them: the sample is read, centroids are trained",
    "visual_cluster-*/_fitted.bin": "centroids are there",
    "visual_cluster-*/00000001*.parquet": "some shards are assigned",
}


def start(corpus: Path) -> "subprocess.Popen[bytes]":
    script = corpus.parent / "measure.py"
    script.write_text(MEASURE)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.Popen([sys.executable, str(script), str(corpus)], cwd=REPO, env=environment)


def kill_when(corpus: Path, pattern: str) -> None:
    """Starts measuring and kills it, with its workers, as soon as such a file is there."""
    process = start(corpus)
    while not list((corpus / "layers").glob(pattern)):
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_clustering_killed_at_any_moment_ends_in_the_same_bytes(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 120)
    read(pairs, tmp_path / "calm", shard_samples=2)
    measured(read(pairs, tmp_path / "calm", shard_samples=2))
    expected = tree(tmp_path / "calm")
    out = tmp_path / "killed"
    read(pairs, out, shard_samples=2)
    for pattern in MOMENTS:
        kill_when(out, pattern)
        assert not list(out.glob("layers/visual_cluster-*/_done*"))
    assert start(out).wait() == 0
    left = {name: kept for name, kept in tree(out).items() if not name.startswith(".tmp")}
    assert left == {name: kept for name, kept in expected.items() if not name.startswith(".tmp")}
