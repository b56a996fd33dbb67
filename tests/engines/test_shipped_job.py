"""The job that ships, submitted to real clusters, alone and mixed: the bytes of one machine."""

import os
import subprocess
from pathlib import Path

import pytest

from curation.cli.main import main
from tests.engines.ray_cluster import ray_cluster
from tests.engines.spark_cluster import spark_cluster
from tests.pipeline.corpora import tree, write_pairs

pytestmark = pytest.mark.slow

JOB = Path(__file__).parents[2] / "jobs" / "image_text.py"


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> tuple[str, ...]:
    source = write_pairs(tmp_path_factory.mktemp("pairs") / "source", 30)
    return ("--input", str(source), "--shard-samples", "10")


@pytest.fixture(scope="module")
def local(options, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("local") / "run"
    assert main(["run", "image-text", *options, "--workers", "1", "--out", str(out)]) == 0
    return tree(out)


def ended(job: "subprocess.Popen[str]") -> None:
    said, _ = job.communicate(timeout=400)
    assert job.returncode == 0, said


def test_spark_submit_with_the_clip_on_ray(options, local, tmp_path, monkeypatch):
    """With paths that are relative to where it is submitted, which is no worker's folder."""
    monkeypatch.chdir(tmp_path)
    options = ("--input", os.path.relpath(options[1]), *options[2:])
    mixed = ("--place", "clip.engine=ray", "--place", "visual_cluster.engine=ray")
    with spark_cluster() as cluster:
        cluster.start(workers=2)
        ended(cluster.submit(JOB, *options, *mixed, "--out", "run"))
    assert tree(tmp_path / "run") == local


def test_ray_job_submit(options, local, tmp_path):
    with ray_cluster() as cluster:
        cluster.start(workers=2)
        ended(cluster.submit("-m", "jobs.image_text", *options, "--out", str(tmp_path / "run")))
    assert tree(tmp_path / "run") == local
