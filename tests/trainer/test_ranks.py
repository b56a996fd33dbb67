"""Two processes under torchrun (gloo) train the real tiny models as one does, and fail as one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curation.trainer.metrics import read_metrics
from tests.trainer.plans import spoil
from tests.trainer.samples import write_export

FAMILIES = ("image-text", "gui", "interleaved")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpora")
    for family in FAMILIES:
        write_export(root / family, family, count=60)
    return root


def train(
    out: Path, *asked: object, processes: int = 1, steps: int = 3, ray: bool = False
) -> subprocess.CompletedProcess[str]:
    """`curate train` for some steps of four packs, in so many processes, torchrun's or Ray's."""
    start = [sys.executable]
    if ray:
        start += ["-m", "jobs.train_on_ray", "--processes", str(processes)]
        start += ["--scratch", str(out.parent / "scratch"), "--"]
    elif processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        start += ["-m", "curation", "train"]
    else:
        start += ["-m", "curation", "train"]
    small = [
        "--stage",
        "1",
        "--steps",
        str(steps),
        "--global-batch",
        "4",
        "--sequence-length",
        "256",
    ]
    small += ["--sequence-length", "256", "--workers", "0"]
    small += ["--set", "warmup=0", "--set", "vision.image_max_pixels=31360"]
    command = [*start, *small, "--out", str(out), *map(str, asked)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if ray:
        environment["RAY_ADDRESS"] = "local"  # not that of another test, which ends before this one
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.mark.parametrize("config", ["tiny", "tiny-moe"])
def test_two_processes_train_the_model_that_one_trains(corpora, tmp_path, config) -> None:
    """Sums over packs are taken in another order, so float32 rounds otherwise: as measured losses
    differ by 1e-8, the gradient's norm by 1e-5; weights (Adam divides what hardly has a gradient,
    the bias of keys, by as little) by 1e-4 of their own norm."""
    asked = ["--config", config]
    for family in FAMILIES:
        asked += ["--corpus", f"{corpora / family}:1"]
    found: list[tuple[list[dict[str, Any]], dict[str, torch.Tensor]]] = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = train(out, *asked, processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append((read_metrics(out), load_file(out / "model" / "model.safetensors")))
    (one, alone), (two, shared) = found
    assert [record["step"] for record in one] == [record["step"] for record in two] == [1, 2, 3]
    for first, second in zip(one, two, strict=True):
        exact = ("tokens", "supervised_tokens", "samples", "learning_rate")
        assert [first[key] for key in exact] == [second[key] for key in exact]
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-6)
        assert second["losses"] == pytest.approx(first["losses"], rel=1e-6)
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-4)
        balances = [record.get("balance_loss") or 0.0 for record in (first, second)]
        assert balances[1] == pytest.approx(balances[0], rel=1e-5)
    assert (config == "tiny-moe") == ("busiest_expert" in one[0])
    assert alone.keys() == shared.keys()
    for name, weight in alone.items():
        assert (shared[name] - weight).norm() <= 1e-3 * weight.norm().clamp(min=1e-2), name


def test_workers_of_ray_train_train_as_one_process_does(corpora, tmp_path) -> None:
    asked = ["--config", "tiny", "--corpus", f"{corpora / FAMILIES[0]}:1"]
    alone = train(tmp_path / "alone", *asked)
    assert alone.returncode == 0, alone.stderr[-3000:]
    shared = train(tmp_path / "ray", *asked, processes=2, ray=True)
    assert shared.returncode == 0, shared.stderr[-3000:]
    one, two = (read_metrics(tmp_path / name) for name in ("alone", "ray"))
    assert [r["step"] for r in two] == [1, 2, 3]
    assert [r["tokens"] for r in two] == [r["tokens"] for r in one]
    assert [r["loss"] for r in two] == pytest.approx([r["loss"] for r in one], rel=1e-6)


def test_a_corpus_that_is_missing_is_said_by_ray_too(tmp_path) -> None:
    ended = train(tmp_path / "out", "--corpus", tmp_path / "nowhere", processes=2, ray=True)
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert [line for line in ended.stderr.splitlines() if line.startswith("train_on_ray: ")]


def test_a_corpus_that_is_missing_is_said_once(tmp_path) -> None:
    ended = train(tmp_path / "out", "--corpus", tmp_path / "nowhere", processes=2)
    assert ended.returncode != 0
    told = [line for line in ended.stderr.splitlines() if line.startswith("curate: ")]
    assert len(told) == 1 and "nowhere" in told[0]
    assert "core/errors" not in ended.stderr  # no traceback of ours


def test_too_many_unreadable_samples_end_all_processes_with_one_line(corpora, tmp_path) -> None:
    spoilt = write_export(tmp_path / "spoilt", "gui", count=200)
    assert spoil(spoilt, 3) == 67
    ended = train(tmp_path / "out", "--config", "tiny", "--corpus", spoilt, processes=2, steps=9)
    assert ended.returncode != 0
    told = [line for line in ended.stderr.splitlines() if line.startswith("curate: ")]
    assert len(told) == 1 and "samples could not be read, more than the 1.0% allowed" in told[0]
    assert (tmp_path / "out" / "quarantine.jsonl").read_text().count("\n") >= 20


def one_line(ended: subprocess.CompletedProcess[str]) -> str:
    """What the leading process says; there is one line of it, and no traceback but torchrun's."""
    assert ended.returncode != 0
    (told,) = [line for line in ended.stderr.splitlines() if line.startswith("curate: ")]
    assert "/curation/" not in re.sub(r"curate: .*", "", ended.stderr)  # a file of ours
    assert "gloo" not in ended.stderr
    return told


@pytest.mark.parametrize("processes", [1, 2])
def test_a_tar_that_went_after_the_plan_is_said_before_training(tmp_path, processes) -> None:
    export = write_export(tmp_path / "gui", "gui", count=60, shard_samples=20)
    asked = ["--config", "tiny", "--corpus", export]
    planned = train(tmp_path / "out", *asked, "--plan-only")
    assert planned.returncode == 0, planned.stderr[-3000:]
    gone = sorted(export.glob("*.tar"))[1:]
    for tar in gone:
        tar.unlink()
    told = one_line(train(tmp_path / "out", *asked, processes=processes))
    assert told.startswith(f"curate: {gone[0]}: no such file (and 1 more tars of the plan)")
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tar_that_one_process_cannot_read_ends_both_with_one_line(tmp_path, workers) -> None:
    """A file that is there and fails when it is read, as on a broken disk."""
    export = write_export(tmp_path / "gui", "gui", count=60, shard_samples=30)
    asked = ["--config", "tiny", "--corpus", export, "--workers", workers]
    planned = train(tmp_path / "out", *asked, "--plan-only")
    assert planned.returncode == 0, planned.stderr[-3000:]
    broken = sorted(export.glob("*.tar"))[1]
    broken.unlink()
    broken.symlink_to("/proc/self/mem")
    told = one_line(train(tmp_path / "out", *asked, processes=2))
    assert told == f"curate: {broken}: the device reports an input/output error"
