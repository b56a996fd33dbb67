"""The README's commands for clusters, word for word but for addresses and folders."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from curation.cli.main import main
from tests.engines.spark_cluster import QUICK, SPARK, spark_cluster
from tests.pipeline.corpora import tree, write_pairs

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]
SECTION = (REPO / "README.md").read_text().partition("## On a cluster")[2]
PYTHON = "/path/on/every/node/.venv/bin/python"


def block(before: str) -> str:
    """The commands below a line of the README."""
    found = re.search(rf"{re.escape(before)}\n\n```\n(.*?)```", SECTION, re.DOTALL)
    assert found, before
    return found[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "source", 12)


@pytest.fixture(scope="module")
def local(source, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("local") / "run"
    command = ["run", "image-text", "--input", str(source), "--workers", "1", "--out", str(out)]
    assert main(command) == 0
    return tree(out)


def followed(commands: str, home: Path, **names: str) -> "subprocess.CompletedProcess[str]":
    """Runs commands in one shell of a user who has never done so, from the repository."""
    for name, value in names.items():
        assert name in commands, name
        commands = commands.replace(name, value)
    commands = commands.replace(PYTHON, sys.executable)
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SPARK_", "PYSPARK_"))
    }
    path = f"{Path(sys.executable).parent}:{SPARK / 'bin'}:{os.environ['PATH']}"
    here = {"HOME": str(home), "PATH": path, "SPARK_SUBMIT_OPTS": QUICK}
    return subprocess.run(
        ["bash", "-ec", commands], cwd=REPO, env={**clean, **here},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400,
    )  # fmt: skip


@contextlib.contextmanager
def ended_with(home: Path) -> Iterator[None]:
    """Ends whatever was started by a user with that home."""
    try:
        yield
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("HOME") == str(home):
                    process.kill()


def test_a_hand_started_ray_cluster(source, local, tmp_path):
    """The token is made by the commands: nobody has one before."""
    commands = block("A standalone cluster:")
    with ended_with(tmp_path):
        names = {"HEAD": "127.0.0.1", "SRC": str(source), "DIR": str(tmp_path / "run")}
        done = followed(commands, tmp_path, **names)
        if "No available agent" in done.stdout:  # on a busy machine; as the README says then
            time.sleep(60)
            mode, submit = commands.splitlines()[0], commands.partition("ray job submit")
            done = followed(f"{mode}\n{submit[1]}{submit[2]}", tmp_path, **names)
        assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout.partition("succeeded")[0].rpartition("Tailing logs")[2]
    assert tree(tmp_path / "run") == local


def test_a_standalone_spark_cluster(source, local, tmp_path):
    with spark_cluster() as cluster:
        cluster.start(workers=1)
        done = followed(
            block("Standalone cluster:").replace("executor.memory=4g", "executor.memory=1g"),
            tmp_path,
            **{"spark://HOST:7077": cluster.address, "SRC": str(source)},
            DIR=str(tmp_path / "run"),
        )
        assert done.returncode == 0, done.stdout
    assert tree(tmp_path / "run") == local


def test_spark_on_this_machine_alone(source, local, tmp_path):
    done = followed(
        block("On this machine, on all cores:"), tmp_path, SRC=str(source),
        DIR=str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert tree(tmp_path / "run") == local
