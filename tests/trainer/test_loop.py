"""The loop on a plain network: kills, processes, checkpoints, faults."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from curation.core.errors import CorpusError, RunError
from curation.models.glm4v.batch import IGNORED
from curation.trainer.balance_bias import ExpertBalance
from curation.trainer.course import Course
from curation.trainer.distributed import joined, prepared, sharded
from curation.trainer.loop import MOST_SKIPPED, Learner, Loop, Work
from curation.trainer.metrics import SPIKES, MetricsLog, read_metrics
from curation.trainer.optim import adamw
from curation.trainer.state import Checkpoints
from curation.trainer.unreadable import Unreadable
from tests.trainer import plain_run

pytestmark = pytest.mark.usefixtures("one_thread")

PROGRAM = Path(plain_run.__file__)
TIMED = {"seconds", "data_wait", "tokens_per_second", "supervised_per_second", "memory", "tflops"}


def _start(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[2])}
    return subprocess.run(
        [*start, str(PROGRAM), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _curve(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key not in TIMED}
        for record in read_metrics(folder)
    ]


@pytest.mark.slow
def test_a_run_killed_twice_has_the_loss_curve_of_one_that_was_not(tmp_path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    plain_run.run(whole, plain_run.recipe_of(20, 2, 4))
    for step in (7, 15):
        died = _start(killed, 20, "--die-at", step)
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(_curve(killed)) == 15
    last = _start(killed, 20)
    assert last.returncode == 0, last.stderr
    assert _curve(killed) == _curve(whole)
    assert [record["step"] for record in _curve(killed)] == list(range(1, 21))
    assert sorted(p.name for p in (killed / "checkpoints").iterdir() if p.name[0] != ".") == [
        "000000016",
        "000000020",
    ]


@pytest.mark.slow
def test_two_processes_one_without_images_learn_as_one_does_and_hand_over(tmp_path) -> None:
    """Rank 1 never sees an image; the run is killed and ended by a single process."""
    alone, two = tmp_path / "alone", tmp_path / "two"
    alone.mkdir()
    plain_run.run(alone, plain_run.recipe_of(12, 4, 4), lonely=True)
    died = _start(two, 12, "--packs", 4, "--lonely", "--die-at", 10, processes=2)
    assert died.returncode != 0
    expected, found = _curve(alone), _curve(two)
    assert len(found) == 10, died.stderr[-2000:]
    for one, other in zip(expected, found, strict=False):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
        assert other["losses"] == pytest.approx(one["losses"], rel=1e-5)
        same = ("tokens", "supervised_tokens", "samples", "busiest_expert", "learning_rate")
        assert [other[key] for key in same] == [one[key] for key in same]
        assert other["balance_loss"] == pytest.approx(one["balance_loss"], rel=1e-5)
    plain_run.run(two, plain_run.recipe_of(12, 4, 4), lonely=True)
    for one, other in zip(expected, _curve(two), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_recomputed_blocks_give_the_same_gradients() -> None:
    batch = plain_run.pack_of(0, 0, True)
    kept, recomputed = plain_run.PlainNet(), plain_run.PlainNet()
    prepared([recomputed.vision, *recomputed.blocks], recompute=True, compiled=False)
    for net in (kept, recomputed):
        net(batch).square().sum().backward()
    for one, other in zip(kept.named_parameters(), recomputed.named_parameters(), strict=True):
        assert one[0] == other[0]
        assert one[1].grad is None or torch.equal(one[1].grad, other[1].grad)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own
def test_a_compiled_block_gives_the_same_gradients() -> None:
    torch._dynamo.reset()
    batch = plain_run.pack_of(0, 0, True)
    plain, compiled = plain_run.PlainNet(), plain_run.PlainNet()
    prepared(compiled.blocks[:1], recompute=True, compiled=True)
    for net in (plain, compiled):
        net(batch).square().sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for one, other in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
        assert one[0] == other[0]
        if one[1].grad is not None:
            assert torch.allclose(one[1].grad, other[1].grad, rtol=1e-4, atol=1e-6)


def test_bfloat16_computes_and_float32_is_kept() -> None:
    step = plain_run.Step(0, [plain_run.pack_of(0, n, True) for n in range(2)])
    recipe = plain_run.recipe_of(4, 2, 4)
    losses = []
    with joined("cpu") as world:
        for dtype in (torch.float32, torch.bfloat16):
            net = plain_run.PlainNet()
            loop = _loop(world, recipe, net)
            seen: list[torch.dtype] = []
            net.blocks[0].up.register_forward_hook(lambda _, __, out, s=seen: s.append(out.dtype))
            sharded(loop.learner, [net.vision, *net.blocks], world, dtype=dtype)
            loop.optimiser = adamw(loop.learner, rate=1e-3, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
            losses.append(loop.step(step, 0.0).loss)
            assert set(seen) == {dtype}
            assert {p.dtype for p in net.parameters()} == {torch.float32}
            moments = [state["exp_avg"].dtype for state in loop.optimiser.state.values()]
            assert set(moments) == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert losses[1] != losses[0]


class _Broken:
    """Says what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, record: object) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


def _loop(world: Any, recipe: Any, net: nn.Module) -> Loop:
    learner = Learner(net, chunk=8)
    return Loop(
        recipe=recipe,
        world=world,
        learner=learner,
        optimiser=adamw(learner, rate=1e-3, decay=0.0, betas=(0.9, 0.95), eps=1e-8),
        balance=ExpertBalance([], rate=0.0, weight=0.0),
        work=lambda pack: Work(1.0, 1.0),
        plan_hash="plain",
        course=Course(guess=math.log(plain_run.WORDS)),
    )


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(plain_run.WORDS, 8)
        self.head = nn.Linear(8, plain_run.WORDS, bias=False)

    def forward(self, batch: Any) -> torch.Tensor:
        return self.words(batch.tokens)  # type: ignore[no-any-return]


def _step(number: int, packs: int = 2) -> plain_run.Step:
    return plain_run.Step(number, [plain_run.pack_of(number, n, False) for n in range(packs)])


def test_a_step_is_normalised_by_all_that_it_teaches_whatever_the_packs() -> None:
    """Gradient of the whole step at once, against packs of unequal supervision one by one."""
    recipe = replace(plain_run.recipe_of(4, 2, 4), clip_norm=1e9)
    step = _step(0)
    step.packs[1].labels[:14] = IGNORED
    with joined("cpu") as world:
        loop = _loop(world, recipe, _Words())
        record = loop.step(step, 0.0)
    net = _Words()
    tokens = torch.cat([pack.tokens for pack in step.packs])
    labels = torch.cat([pack.labels for pack in step.packs])
    logits = net.head(net.words(tokens))
    loss = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED)
    loss.backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.stack([grad.norm() for grad in grads]).norm().item()
    assert record.loss == pytest.approx(loss.item(), rel=1e-5)
    assert record.gradient_norm == pytest.approx(norm, rel=1e-5)
    assert record.supervised_tokens == int((labels != IGNORED).sum())
    assert record.tokens == 2 * 18 and record.samples == 4


def test_a_step_with_nothing_to_learn_passes() -> None:
    step = _step(0)
    for pack in step.packs:
        pack.labels.fill_(IGNORED)
    with joined("cpu") as world:
        record = _loop(world, plain_run.recipe_of(4, 2, 4), _Words()).step(step, 0.0)
    assert record.loss == 0.0 and record.gradient_norm == 0.0 and not record.losses


def test_a_gradient_that_stays_broken_ends_the_run_and_names_its_samples(tmp_path) -> None:
    net = _Words()
    with torch.no_grad():
        net.words.weight.fill_(math.nan)
    recipe = plain_run.recipe_of(50, 2, 100)
    watcher = _Broken()
    with joined("cpu") as world, MetricsLog(tmp_path, 0) as log:
        checkpoints = Checkpoints(tmp_path / "checkpoints", world, keep=1)
        with pytest.raises(RunError, match=f"step {MOST_SKIPPED}: .* lower the learning rate"):
            _loop(world, recipe, net).run(
                (_step(number) for number in range(50)), checkpoints, log, watcher
            )
    assert [record["skipped"] for record in read_metrics(tmp_path)] == [True] * MOST_SKIPPED
    told = json.loads((tmp_path / SPIKES).read_text().splitlines()[0])
    assert told["samples"] == ["plain/0-0-0", "plain/0-0-1", "plain/0-1-0", "plain/0-1-1"]
    assert watcher.lines[0].startswith("step 1: spike in loss nan")


def test_a_rate_of_unreadable_samples_ends_a_run_resumed_or_not() -> None:
    with joined("cpu") as world:
        whole, parts = Unreadable(0.1), [Unreadable(0.1), Unreadable(0.1)]
        for step in range(1, 5):
            if step == 3:
                parts[1].resume(json.loads(json.dumps(parts[0].state())))
            for one in (whole, parts[step > 2]):
                one.judge(world, step, 50, 6, ["a (b)"] if step == 4 else [])  # 18 are too few
                if step == 3:
                    assert one.state() == [150, 18]
                    one.most = 0.13  # 24 of 200 are fewer
        for one in (whole, parts[1]):
            one.judge(world, 5, 150, 0, [])
            one.most = 0.05
            with pytest.raises(RunError, match=r"step 6: 31 of 351 .* the 5\.0% .* one is a \(b\)"):
                one.judge(world, 6, 1, 7, ["c (d)", "a (b)"])


@pytest.mark.slow
def test_unreadable_samples_of_one_rank_end_all_ranks_at_one_step(tmp_path) -> None:
    """7 of 8 samples of a step, all of them rank 1's: a rank by itself would go on or hang."""
    ended = _start(tmp_path, 9, "--packs", 4, "--spoilt", processes=2)
    assert ended.returncode != 0
    assert len(_curve(tmp_path)) == 2
    first, second = ((tmp_path / f"rank-{rank}.txt").read_text() for rank in (0, 1))
    said = "step 3: 21 of 24 samples could not be read, more than the 1.0% allowed; one is"
    assert first.startswith(f"RunError 1: {said}")
    assert second.startswith(f"FollowedError 1: {said}")


@pytest.mark.slow
def test_a_fault_of_one_ranks_loader_ends_all_ranks_at_one_step(tmp_path) -> None:
    """Rank 0 would wait for the gradients of a rank that is gone."""
    ended = _start(tmp_path, 9, "--packs", 4, "--broken", 3, processes=2)
    assert ended.returncode != 0
    assert len(_curve(tmp_path)) == 3
    first, second = ((tmp_path / f"rank-{rank}.txt").read_text() for rank in (0, 1))
    assert first == "CorpusError 1: plain.tar: no such file"
    assert second == "FollowedError 1: plain.tar: no such file"


@pytest.mark.slow
def test_a_rank_that_is_killed_is_one_line_on_the_other(tmp_path) -> None:
    ended = _start(tmp_path, 9, "--packs", 4, "--lost", 3, processes=2)
    assert ended.returncode != 0
    assert len(_curve(tmp_path)) == 3
    told = (tmp_path / "rank-0.txt").read_text()
    assert told.startswith("RunError 1: another process of this run ended") and "\n" not in told


def test_a_fault_of_the_loader_is_raised_as_it_is(tmp_path) -> None:
    with joined("cpu") as world, MetricsLog(tmp_path, 0) as log:
        recipe = plain_run.recipe_of(9, 2, 100)
        given = plain_run.steps(world, recipe, 0, lonely=False, broken=2)
        checkpoints = Checkpoints(tmp_path / "checkpoints", world, keep=1)
        with pytest.raises(CorpusError, match=r"plain\.tar: no such file"):
            _loop(world, recipe, _Words()).run(given, checkpoints, log, _Broken())
        checkpoints.close()
    assert len(read_metrics(tmp_path)) == 2


def test_a_checkpoint_holds_what_was_when_it_was_taken(tmp_path) -> None:
    """Training goes on while it is written."""
    with joined("cpu") as world:
        net = _Words()
        optimiser = adamw(net, rate=0.1, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
        checkpoints = Checkpoints(tmp_path / "checkpoints", world, keep=1)
        before = net.words.weight.detach().clone()
        checkpoints.save(3, net, optimiser, {"spikes": 1})
        with torch.no_grad():
            net.words.weight.zero_()
        assert not (tmp_path / "checkpoints" / "000000003").exists()
        checkpoints.finish()
        assert checkpoints.latest() == 3
        other = _Words()
        again = adamw(other, rate=0.1, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
        assert checkpoints.load(3, other, again) == {"spikes": 1}
        assert torch.equal(other.words.weight, before)
        checkpoints.close()


def test_a_damaged_checkpoint_is_a_line(tmp_path) -> None:
    with joined("cpu") as world:
        net = _Words()
        optimiser = adamw(net, rate=0.1, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
        checkpoints = Checkpoints(tmp_path / "checkpoints", world, keep=1)
        checkpoints.save(3, net, optimiser, {})
        checkpoints.finish()
        for file in (tmp_path / "checkpoints" / "000000003").glob("*.distcp"):
            file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(RunError, match="000000003: damaged checkpoint") as caught:
            checkpoints.load(3, net, optimiser)
        assert "\n" not in str(caught.value)
        checkpoints.close()


def test_a_checkpoint_that_cannot_be_written_is_a_line(tmp_path, monkeypatch) -> None:
    with joined("cpu") as world:
        net = _Words()
        optimiser = adamw(net, rate=0.1, decay=0.0, betas=(0.9, 0.95), eps=1e-8)
        checkpoints = Checkpoints(tmp_path / "checkpoints", world, keep=1)
        (tmp_path / "checkpoints" / ".tmp" / "000000003").write_text("in the way")
        with pytest.raises(RunError, match="could not be written"):
            checkpoints.save(3, net, optimiser, {})
            checkpoints.finish()
        checkpoints.close()


def test_the_bias_moves_towards_the_idle_expert() -> None:
    class Router:
        def __init__(self) -> None:
            self.bias = torch.zeros(3)
            self.load = torch.tensor([9.0, 3.0, 0.0])
            self.losses = [torch.tensor(2.0)]

        def take_balance_loss(self) -> torch.Tensor | None:
            return self.losses.pop() if self.losses else None

    with joined("cpu") as world:
        router = Router()
        balance = ExpertBalance([router], rate=0.5, weight=0.1)
        assert float(balance.loss(4)) == pytest.approx(0.05)
        assert balance.loss(4) == 0.0
        told = balance.update(world, learn=True)
    assert router.bias.tolist() == [-0.5, 0.5, 0.5]
    assert router.load.tolist() == [0.0, 0.0, 0.0]
    assert told == {"balance_loss": pytest.approx(0.5), "busiest_expert": pytest.approx(2.25)}
    assert not dist.is_initialized()
