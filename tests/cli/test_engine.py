"""Engine options: what means nothing is told in one line, before anything is done."""

import subprocess
import sys
from pathlib import Path

import pytest

from curation.cli.main import main
from tests.pipeline.corpora import tree, write_pairs

JOB = Path(__file__).parents[2] / "jobs" / "image_text.py"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--place", "klip.engine=ray"), "no stage 'klip'"),
        (("--place", "clip.engine=dask"), "engine must be one of"),
        (("--deadline", "-1"), "--deadline must be at least 0"),
        (("--worker-memory", "much"), "--worker-memory takes an amount"),
    ],
)
def test_options_that_mean_nothing(tmp_path, capsys, options, words):
    source = write_pairs(tmp_path / "source", 2)
    arguments = ("run", "image-text", "--input", str(source), "--out", str(tmp_path / "out"))
    assert main([*arguments, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("curate: ") and words in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_command_without_stages_places_none(tmp_path, capsys):
    source = write_pairs(tmp_path / "source", 2)
    out = str(tmp_path / "corpus")
    assert main(["ingest", str(source), "--out", out, "--place", "clip.engine=ray"]) == 2
    assert "no stages to place" in capsys.readouterr().err


def test_an_engine_that_is_not_installed(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    source = write_pairs(tmp_path / "source", 2)
    out = str(tmp_path / "corpus")
    assert main(["ingest", str(source), "--out", out, "--engine", "ray"]) == 2
    assert "engine ray needs ray: pip install 'curation[ray]'" in capsys.readouterr().err


def test_a_recipe_s_file_is_a_job_that_takes_what_run_takes(tmp_path):
    source = str(write_pairs(tmp_path / "source", 6))
    options = ["--workers", "0", "--set", "clip.floor=min_side>=1000000"]
    job = [sys.executable, str(JOB), "--input", source, "--out", str(tmp_path / "job"), *options]
    done = subprocess.run(job, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    run = ["run", "image-text", "--input", source, "--out", str(tmp_path / "run"), *options]
    assert main(run) == 0
    assert tree(tmp_path / "job") == tree(tmp_path / "run")


def test_the_training_recipe_s_file_is_curate_train(tmp_path):
    job = JOB.with_name("train.py")
    asked = [sys.executable, str(job), "--stage", "9", "--corpus", "x", "--out", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--stage 9: there are stages 1 and 2" in done.stderr


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--worker-memory", "10MB"), 2, "--worker-memory must be at least"),
        (("--deadline", "nan"), 2, "--deadline must be at least 0"),
        (("--place", "clip.gpus=nan"), 2, "gpus and pool must be at least 0"),
        (("--place", "clip.gpus=abc"), 2, "gpus takes a number"),
        (("--place", "clip.gpus=1"), 2, "only Ray hands out gpus; add --place clip.engine=ray"),
        (("--place", "clip.pool=9", "--engine", "spark"), 2, "only Ray hands out pool"),
        (("--place", "clip.engine=ray", "--place", "clip.gpus=1"), 2, "placed on 1 GPUs, but no"),
        (("--engine", "ray", "--ray-address", "127.0.0.1:1"), 1, "no Ray cluster at 127.0.0.1:1"),
        (("--engine", "spark", "--spark-master", "http://x:1"), 2, "Spark master 'http://x:1'"),
        (("--engine", "spark", "--spark-master", "spark://127.0.0.1:1"), 1, "no Spark master at"),
    ],
)  # fmt: skip
def test_a_cluster_or_an_amount_that_cannot_be_is_one_line(tmp_path, asked, code, said):
    source = str(write_pairs(tmp_path / "source", 2))
    command = [sys.executable, "-m", "curation", "run", "image-text", "--input", source]
    command += ["--out", str(tmp_path / "out"), *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("curate: ") and said in last
    assert "Traceback" not in done.stderr and "incubator" not in done.stderr
    assert not (tmp_path / "out" / "corpus" / "index").exists()  # said before anything is done
