"""The same batches for any workers, ranks, kills and resumes: on 20,000 samples of all families and
on real pairs, some of which cannot be decoded.

The plan is made once, and every step of it hashed once (ids and every tensor of its packs). Each
pair of workers and ranks goes through all steps, in three sessions, and must give those hashes.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.loader import resume_step
from curation.trainer.pack import Failure
from curation.trainer.plan import Plan
from tests.io.images import REALDATA
from tests.trainer import hash_run
from tests.trainer.plans import pack_hashes, planned, spoil

CELLS = [*itertools.product((0, 1, 3), (1, 2, 4))]
"""Workers and ranks."""

TINY = VisionSettings(
    image_min_pixels=28 * 28 * 2, image_max_pixels=28 * 28 * 2 * 4, video_max_pixels=28 * 28 * 20
)
Hashes = dict[int, list[str]]


@dataclass(frozen=True)
class Whole:
    """A plan, what one pass over all of it gave, and what that could not read."""

    plan: Plan
    hashes: Hashes
    failed: set[Failure]


def passed(plan: Plan, spoilt: int) -> Whole:
    """One pass; no two packs of it are alike, and some of the spoilt samples are met."""
    failed: set[Failure] = set()
    hashes = pack_hashes(plan, workers=2, failed=failed)
    packs = [name for step in hashes.values() for name in step]
    assert len(set(packs)) == len(packs) == plan.steps * plan.global_batch
    assert 0 < len(failed) <= spoilt
    assert {failure.error for failure in failed} <= {"corrupt_video", "unsupported_format"}
    return Whole(plan, hashes, failed)


def check_cell(whole: Whole, workers: int, world: int) -> None:
    """Goes through every step: begun, resumed, and resumed again."""
    plan = whole.plan
    found: Hashes = {}
    failed: set[Failure] = set()
    borders = [plan.steps * n // 3 for n in range(4)]
    for start, stop in itertools.pairwise(borders):
        state = json.loads(json.dumps({"plan_hash": plan.plan_hash, "step": start}))
        how = {"start": resume_step(plan, state), "stop": stop, "failed": failed}
        found |= pack_hashes(plan, workers=workers, world=world, **how)
    assert list(found) == list(range(plan.steps))
    assert found == whole.hashes
    assert failed == whole.failed


def killed(plan: Plan, out: Path, world: int, workers: int, start: int, steps: int) -> int:
    """Runs all ranks in processes of their own and kills them all after some steps.

    Returns where every rank can go on. What they told is added to the files of `out`.
    """
    files = [out / f"rank-{rank}.jsonl" for rank in range(world)]
    before = [len(_lines(file)) for file in files]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ranks = []
    for rank, file in enumerate(files):
        asked = [plan.url, *map(str, (file, rank, world, workers, start))]
        command = [sys.executable, hash_run.__file__, *asked]
        ranks.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    enough = steps * plan.global_batch // world
    try:
        end = time.monotonic() + 240
        while any(len(_lines(f)) - n < enough for f, n in zip(files, before, strict=True)):
            assert time.monotonic() < end and all(rank.poll() is None for rank in ranks)
            time.sleep(0.02)
    finally:
        for rank in ranks:
            rank.send_signal(signal.SIGKILL)
            rank.communicate()
    return min(_lines(file)[-1][3] for file in files)


def _lines(file: Path) -> list[list[object]]:
    """Whole lines of a file."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture(scope="module")
def exact(large, tmp_path_factory) -> Whole:
    """One pass over 20,000 samples."""
    spoilt = sum(spoil(folder, 250) for folder in large)
    plan = planned(tmp_path_factory.mktemp("exact"), large, seq_len=8192, global_batch=8,
                   vision=TINY)  # fmt: skip
    assert sum(share.samples_usable for share in plan.shares) == 20_000
    assert plan.steps > 40
    return passed(plan, spoilt)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "world"), CELLS)
def test_twenty_thousand_samples_come_alike_for_any_workers_and_ranks(
    exact, workers, world
) -> None:
    check_cell(exact, workers, world)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "world"), [(3, 1), (1, 2)])
def test_killed_ranks_go_on_with_the_same_batches(exact, tmp_path, workers, world) -> None:
    """Killed twice, at whatever moment; the decoding workers go with their ranks."""
    plan, whole = exact.plan, exact.hashes
    at = killed(plan, tmp_path, world, workers, 20, 2)
    at = killed(plan, tmp_path, world, workers, at, 2)
    assert at >= 22
    told = [line for rank in range(world) for line in _lines(tmp_path / f"rank-{rank}.jsonl")]
    assert all(whole[step][place] == name for step, place, name, _ in told)
    every = {(step, place) for step in range(20, at) for place in range(plan.global_batch)}
    assert every <= {(step, place) for step, place, _, _ in told}


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """The export of a run over real pairs."""
    if not REALDATA.is_dir():
        pytest.skip("../shared/realdata is absent")
    from tests.pipeline.corpora import curate

    out = tmp_path_factory.mktemp("real") / "run"
    curate(REALDATA / "pairs", out, workers=0)  # which starts no fork server without torch
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seq_len", [8192, 32768])
def test_real_pairs_in_a_mixture_fill_packs(real, large, tmp_path, seq_len) -> None:
    corpora = [(real, 0.5), *((folder, 0.1) for folder in large[:5])]
    plan = planned(tmp_path / "p", corpora, seq_len=seq_len, global_batch=8,
                   steps=400_000 // seq_len,
                   vision=VisionSettings(image_max_pixels=28 * 28 * 2 * 1500))  # fmt: skip
    assert plan.fill >= 0.995
    assert plan.balance_after < plan.balance_before


@pytest.fixture(scope="module")
def real_exact(real, exports, tmp_path_factory) -> Whole:
    """One pass over real pairs and clips."""
    vision = VisionSettings(image_max_pixels=28 * 28 * 2 * 100)
    plan = planned(
        tmp_path_factory.mktemp("exact"),
        [real, exports["video"]],
        seq_len=1024,
        global_batch=4,
        vision=vision,
    )
    return passed(plan, spoil(real / "export", 50))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "world"), CELLS)
def test_real_pairs_come_alike_for_any_workers_and_ranks(real_exact, workers, world) -> None:
    check_cell(real_exact, workers, world)
