"""A real Spark cluster, and what is killed while a job runs: the corpus is the undisturbed one."""

import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.corpus import Layer
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.tables import read_table
from tests.engines.brittle import (
    BREAKING,
    LIMITS,
    PAIRS,
    SHARD_SAMPLES,
    brittle_recipe,
    curate,
)
from tests.engines.spark_cluster import driver_of, kill, spark_cluster, wait_for
from tests.pipeline.corpora import tree, write_pairs

pytestmark = pytest.mark.slow

JOB = Path(__file__).with_name("spark_job.py")
PAUSE = 1.0
"""Seconds that a shard takes at least, so that there is time to kill something."""
SHARDS = PAIRS // SHARD_SAMPLES


@pytest.fixture(scope="module")
def cluster():
    with spark_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "source", PAIRS)


@pytest.fixture(scope="module")
def local(source, tmp_path_factory):
    """The undisturbed corpus and export of the embedded engine, by whether operators break."""
    made: dict[bool, dict[str, str]] = {}

    def of(breaking: bool = False) -> dict[str, str]:
        if breaking not in made:
            out = tmp_path_factory.mktemp("local") / "out"
            with LocalEngine(workers=1, memory="500MB", limits=LIMITS) as engine:
                curate(brittle_recipe(breaking=breaking), str(source), str(out), engine)
            made[breaking] = tree(out)
        return made[breaking]

    return of


class Job:
    """A submitted job, and what it has done so far."""

    def __init__(self, cluster, source: Path, out: Path, breaking: str = ""):
        self.out = out
        pause = "0" if breaking else str(PAUSE)
        self.process = cluster.submit(JOB, str(source), str(out), pause, breaking)

    def running(self) -> bool:
        return self.process.poll() is None

    def layers(self) -> list[Path]:
        return list(self.out.glob("corpus/layers/lingering-*/0*.parquet"))

    def wait_for_layer(self) -> None:
        """Until one shard has been measured, and others have not."""
        wait_for("a layer", lambda: self.layers() or not self.running())
        self.still_measures()

    def still_measures(self) -> None:
        assert self.running(), self.process.communicate()[0]
        assert len(self.layers()) < SHARDS, "too late to kill anything"

    def ends(self) -> str:
        """Waits for the end, and gives the job's output. Fails if the job does."""
        said, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        return said


def balanced(out: Path) -> Corpus:
    """The corpus; its ledger has as many samples as were ingested."""
    corpus = open_corpus(str(out / "corpus"))
    totals = corpus.manifest.totals
    assert totals.kept + totals.dropped + totals.quarantined == totals.ingested == PAIRS
    return corpus


def test_an_undisturbed_job_gives_the_bytes_of_the_embedded_engine(
    cluster, source, local, tmp_path
):
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path / "out")
    wait_for("executors", lambda: len(cluster.executors()) == 2 or not job.running())
    said = job.ends()
    assert tree(job.out) == local()
    balanced(job.out)
    assert list((tmp_path / "out.scratch").iterdir()) == []
    assert "Traceback" not in said
    assert "Exception" not in said


def test_an_executor_is_killed_while_shards_are_measured(cluster, source, local, tmp_path):
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path / "out")
    job.wait_for_layer()
    victims = cluster.executors()[:1]
    assert victims
    kill(victims)
    job.still_measures()
    job.ends()
    assert tree(job.out) == local()
    balanced(job.out)


def test_an_executor_is_killed_within_a_relational_step(cluster, source, local, tmp_path):
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path / "out")
    tables = f"{tmp_path.name}/out.scratch"
    wait_for(tables, lambda: list(tmp_path.glob("out.scratch/*/t*")) or not job.running())
    assert job.running(), job.process.communicate()[0]
    victims = cluster.executors()
    assert victims
    kill(victims)
    assert not list(job.out.glob("export/manifest.json"))
    job.ends()
    assert tree(job.out) == local()
    balanced(job.out)


def test_a_worker_is_killed_with_its_executor(cluster, source, local, tmp_path):
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path / "out")
    job.wait_for_layer()
    cluster.kill_worker()
    job.still_measures()
    job.ends()
    assert tree(job.out) == local()
    balanced(job.out)


def test_the_driver_is_killed_and_the_job_submitted_again(cluster, source, local, tmp_path):
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path / "out")
    job.wait_for_layer()
    kill(driver_of(job.process))
    with pytest.raises(AssertionError):
        job.ends()
    done = {path: path.stat().st_mtime_ns for path in job.layers()}
    assert 0 < len(done) < SHARDS
    wait_for("the end of the executors", lambda: not cluster.executors())
    again = Job(cluster, source, job.out)
    again.ends()
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert tree(job.out) == local()
    balanced(job.out)


@pytest.fixture(scope="module")
def broken(cluster, source, tmp_path_factory) -> Path:
    """A run in which three operators break, each on one sample."""
    cluster.start(workers=2)
    job = Job(cluster, source, tmp_path_factory.mktemp("broken") / "out", "breaking")
    job.ends()
    return job.out


@pytest.mark.parametrize("name", BREAKING)
def test_a_sample_that_breaks_an_operator_costs_itself_only(broken, name):
    corpus = balanced(broken)
    (ref,) = (ref for ref in corpus.manifest.layers if ref.operator == name)
    layer = Layer(name, ref.fingerprint)
    parts = [read_table(corpus.store, layer.path(s.shard)) for s in corpus.shards]
    rows = pa.concat_tables(parts)
    failed = {at: error for at, error in enumerate(rows["error"].to_pylist()) if error}
    crashed_beside = BREAKING["crashing"][0]  # its shard is measured without it, by all operators
    failed = {at: e for at, e in failed.items() if name == "crashing" or at != crashed_beside}
    assert failed == dict([BREAKING[name]])
    assert rows[name].null_count == len({BREAKING[name][0], crashed_beside})


def test_what_breaks_costs_the_same_on_every_engine(broken, local):
    assert tree(broken) == local(True)


def test_nothing_of_the_cluster_is_left(source):
    with spark_cluster() as cluster:
        cluster.start(workers=1)
        job: subprocess.Popen[str] = cluster.submit(JOB)
        everybody = [cluster.master, *cluster.workers, job]
        folder = cluster.folder
    assert all(process.poll() is not None for process in everybody)
    assert not folder.exists()
