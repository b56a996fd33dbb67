"""The job that ships, submitted to real clusters, alone and mixed: the bytes of one machine."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
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


OPERATOR = '''
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.operator import Operator, append


@dataclass(frozen=True, kw_only=True)
class Vowels(Operator):
    """How often a caption has the letter a."""

    name = "vowels"

    @property
    def requires(self):
        return pa.schema([("text", pa.string())])

    @property
    def provides(self):
        return pa.schema([("vowels", pa.int32())])

    def open(self):
        def measured(batch):
            counts = pc.count_substring(batch["text"], "a")
            return append(batch, self.provides, {"vowels": pc.cast(counts, pa.int32())})

        return measured
'''

RECIPE = """
from dataclasses import replace

from curation.cli import submitted
from curation.relational.select import Rule
from jobs import image_text
from own_vowels import Vowels


def recipe():
    shipped = image_text.recipe()
    heuristics, *others = shipped.stages
    rule = Rule(reason="vowels", column="vowels", kind="at_least", threshold=3, source="own")
    heuristics = replace(heuristics, rules=(*heuristics.rules, rule))
    return replace(
        shipped, operators=(Vowels(), *shipped.operators), stages=(heuristics, *others)
    )


if __name__ == "__main__":
    submitted("image-text", recipe)
"""


SHIPPED = """
import curation

assert "runtime_resources" in curation.__file__, curation.__file__
"""


@pytest.fixture
def own(tmp_path) -> tuple[Path, Path]:
    """A recipe of one's own, and the package of its operator."""
    script, package = tmp_path / "own.py", tmp_path / "packages" / "own_vowels"
    package.mkdir(parents=True)
    script.write_text(RECIPE)
    (package / "__init__.py").write_text(OPERATOR)
    return script, package


@pytest.fixture
def own_local(own, options, tmp_path) -> dict[str, str]:
    script, package = own
    command = [sys.executable, str(script), *options, "--out", str(tmp_path / "here")]
    environment = {**os.environ, "PYTHONPATH": f"{package.parent}:{JOB.parents[1]}"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    manifest = json.loads((tmp_path / "here" / "corpus" / "manifest.json").read_text())
    assert "vowels" in {layer["operator"] for layer in manifest["layers"]}
    assert any("vowels" in json.dumps(stage) for stage in manifest["stages"])
    return tree(tmp_path / "here")


def test_spark_submit_of_a_recipe_and_an_operator_of_ones_own(own, own_local, options, tmp_path):
    """Executors have the package from `--py-files` alone."""
    script, package = own
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.write(package / "__init__.py", "own_vowels/__init__.py")
    with spark_cluster() as cluster:
        cluster.start(workers=1)
        sent = ("--py-files", str(tmp_path / "mine.zip"))
        ended(cluster.submit(script, *options, "--out", str(tmp_path / "run"), options=sent))
    assert tree(tmp_path / "run") == own_local


def test_ray_job_submit_with_the_package_shipped(own, own_local, options, tmp_path):
    """Nodes have ours, and that of the operator, from `py_modules` alone."""
    script, package = own
    shipped = tmp_path / "shipped"
    for name in ("curation", "jobs", "schemas", "recaption_prompts"):
        shutil.copytree(
            JOB.parents[1] / name, shipped / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    modules = [str(path) for path in (*sorted(shipped.iterdir()), package)]
    script.write_text(f"{SHIPPED}{RECIPE}")  # the driver has the shipped package
    where = package / "__init__.py"
    where.write_text(f"{SHIPPED}{where.read_text()}")  # and so has every worker
    sent = ("--runtime-env-json", json.dumps({"py_modules": modules}))
    with ray_cluster(package=False) as cluster:
        cluster.start(workers=1)
        job = cluster.submit(str(script), *options, "--out", str(tmp_path / "run"), options=sent)
        ended(job)
    assert tree(tmp_path / "run") == own_local
