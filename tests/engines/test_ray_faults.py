"""A real Ray cluster, and what is killed while a job runs: the corpus is the undisturbed one."""

import signal
from pathlib import Path

import pytest

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.run import run
from tests.engines.halves import halved_recipe
from tests.engines.ray_cluster import ray_cluster, wait_for
from tests.engines.ray_job import LIMITS, SHARD_SAMPLES
from tests.pipeline.corpora import tree, write_pairs

pytestmark = pytest.mark.slow

JOB = str(Path(__file__).with_name("ray_job.py"))
PAUSE = 1.0
"""Seconds that a piece of five rows takes the model, so that there is time to kill something."""


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "source", 80)


@pytest.fixture(scope="module")
def local(source, tmp_path_factory):
    """The undisturbed corpus and export of the embedded engine, made once for each operator."""
    made: dict[tuple[str, str], dict[str, str]] = {}

    def of(how: str = "", half: str = "compute") -> dict[str, str]:
        if (how, half) not in made:
            out = tmp_path_factory.mktemp("local") / "out"
            request = IngestRequest(
                source=str(source), options=SourceOptions(shard_samples=SHARD_SAMPLES)
            )
            with LocalEngine(workers=1, memory="500MB", limits=LIMITS) as engine:
                run(halved_recipe(how, half), request, str(out), engine, SILENT)
            made[how, half] = tree(out)
        return made[how, half]

    return of


class Job:
    """A submitted job, and what it has done so far."""

    def __init__(self, cluster, source: Path, out: Path, how: str = "", half: str = "compute"):
        self.out, self._cluster = out, cluster
        self._arguments = (str(source), str(out), how, half, "0" if how else str(PAUSE))
        self._process = cluster.submit(JOB, *self._arguments)

    def running(self) -> bool:
        return self._process.poll() is None

    def layers(self, operator: str) -> list[Path]:
        return list(self.out.glob(f"corpus/layers/{operator}-*/0*.parquet"))

    def wait_for_layer(self, operator: str) -> None:
        """Until one shard has it; asserts that others do not yet, so that something is left."""
        wait_for(f"a layer of {operator}", lambda: self.layers(operator) or not self.running())
        assert self.running(), self._process.communicate()[0]
        assert len(self.layers(operator)) < 8, "too late to kill anything"

    def wait_for_part(self) -> None:
        """Until the model has computed something; asserts that no layer is whole yet, or few."""
        scratch = self.out.with_name(f"{self.out.name}.scratch")

        def parts() -> list[Path]:
            return [path for path in scratch.glob("*/0/*-*") if "." not in path.name]

        wait_for("a part", lambda: parts() or not self.running())
        assert self.running(), self._process.communicate()[0]
        assert len(self.layers("halved")) < 8, "too late to kill anything"

    def ends(self) -> str:
        """Waits for the end, and gives the job's output. Fails if the job does."""
        said, _ = self._process.communicate(timeout=300)
        assert self._process.returncode == 0, said
        return said

    def fails(self) -> None:
        said, _ = self._process.communicate(timeout=300)
        assert self._process.returncode != 0, said

    def kill_driver(self) -> bool:
        """SIGKILL to the job's own process, if there is one."""
        drivers = [
            process
            for process in self._cluster.processes(JOB, str(self.out))
            if process.cmdline()[1:2] == [JOB]
        ]
        for driver in drivers:
            driver.send_signal(signal.SIGKILL)
        return bool(drivers)

    def close(self) -> None:
        """Ends it where a test has failed before its end."""
        self.kill_driver()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def submit(cluster, source, tmp_path):
    """`submit()`: a job into the test's own folder, on a cluster with two workers."""
    jobs = []

    def start(how: str = "", half: str = "compute") -> Job:
        cluster.start(workers=2)
        jobs.append(Job(cluster, source, tmp_path / "out", how, half))
        return jobs[-1]

    yield start
    for job in jobs:
        job.close()


def balanced(out: Path) -> int:
    """Samples that are quarantined; the ledger has as many as were ingested."""
    totals = open_corpus(str(out / "corpus")).manifest.totals
    assert totals.kept + totals.dropped + totals.quarantined == totals.ingested == 80
    return totals.quarantined


def test_four_times_the_object_store_goes_through_it(cluster, tmp_path):
    """400 MB through stores of 100 MB: readers wait for the model, and nothing is spilled."""
    cluster.start(workers=2)
    job = cluster.submit(str(Path(__file__).with_name("ray_bulk_job.py")), str(tmp_path))
    said, _ = job.communicate(timeout=300)
    assert job.returncode == 0, said
    logs = list(cluster.folder.glob("*/session_*/logs/raylet.out"))
    assert logs
    assert not any("Spilled" in log.read_text() for log in logs)


def test_an_undisturbed_job_says_nothing_of_ray(submit, local):
    job = submit()
    said = job.ends()
    assert tree(job.out) == local()
    assert balanced(job.out) == 0
    assert "Traceback" not in said
    assert "streaming_executor" not in said


def test_a_worker_node_is_killed_while_the_model_runs(cluster, submit, local):
    job = submit()
    job.wait_for_part()
    cluster.kill_worker()
    assert len(job.layers("halved")) < 8
    job.ends()
    assert tree(job.out) == local()
    assert balanced(job.out) == 0


def test_a_worker_node_is_killed_while_shards_are_measured(cluster, submit, local):
    job = submit()
    job.wait_for_layer("image_probe")
    cluster.kill_worker()
    assert not job.layers("halved")
    job.ends()
    assert tree(job.out) == local()
    assert balanced(job.out) == 0


def test_actors_are_killed(cluster, submit, local):
    job = submit()
    job.wait_for_part()
    actors = cluster.processes("ray::MapWorker")
    assert actors
    for actor in actors[:2]:
        actor.send_signal(signal.SIGKILL)
    assert len(job.layers("halved")) < 8
    job.ends()
    assert tree(job.out) == local()
    assert balanced(job.out) == 0


def test_the_driver_is_killed_and_the_job_submitted_again(submit, local):
    job = submit()
    job.wait_for_part()
    assert job.kill_driver()
    job.fails()
    done = {path: path.stat().st_mtime_ns for path in job.layers("image_probe")}
    assert len(done) == 8
    assert len(job.layers("halved")) < 8
    submit().ends()
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert tree(job.out) == local()
    assert balanced(job.out) == 0


@pytest.mark.parametrize(
    ("how", "half"), [("crash", "compute"), ("hang", "prepare"), ("memory", "compute")]
)
def test_a_sample_that_breaks_operators_is_quarantined(submit, local, how, half):
    job = submit(how, half)
    job.ends()
    assert tree(job.out) == local(how, half)
    assert balanced(job.out) == 2
