"""Schedule, optimiser and spikes: on plain modules."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from curation.core.errors import UsageError
from curation.trainer.course import Course
from curation.trainer.metrics import METRICS, MetricsLog, StepRecord, read_metrics
from curation.trainer.optim import adamw, clipped_step, set_rate
from curation.trainer.recipe import check_same
from curation.trainer.schedule import Schedule
from curation.trainer.spikes import SpikeDetector
from jobs.train import stage


def test_cosine_warms_up_to_the_peak_and_ends_at_the_floor() -> None:
    rates = Schedule(shape="cosine", steps=100, warmup=10, floor=0.1)
    assert [rates.share(step) for step in (1, 5, 10, 55, 100, 120)] == pytest.approx(
        [0.1, 0.5, 1.0, 0.55, 0.1, 0.1]
    )


def test_wsd_stays_at_the_peak_until_it_decays() -> None:
    rates = Schedule(shape="wsd", steps=100, warmup=10, floor=0.0, decay=0.2)
    assert [rates.share(step) for step in (5, 10, 80, 90, 100)] == pytest.approx(
        [0.5, 1.0, 1.0, 0.5, 0.0]
    )


@pytest.mark.parametrize("shape", ["cosine", "wsd"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_a_rate_is_never_zero_before_the_end_nor_above_the_peak(
    shape: str, warmup: int, decay: float
) -> None:
    rates = Schedule(shape=shape, steps=7, warmup=warmup, floor=0.0, decay=decay)  # type: ignore[arg-type]
    shares = [rates.share(step) for step in range(1, 7)]
    assert all(0 < share <= 1 for share in shares)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shape": "step"}, "cosine or wsd"),
        ({"steps": 0}, "steps must be"),
        ({"warmup": 11}, "warmup must be"),
        ({"floor": 2.0}, "floor must be"),
    ],
)
def test_a_schedule_that_cannot_be_says_why(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Schedule(**{"steps": 10, **wrong})  # type: ignore[arg-type]


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(8, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.words(tokens)))  # type: ignore[no-any-return]


def test_only_matrices_decay() -> None:
    torch.manual_seed(0)
    net = _Net()
    optimiser = adamw(net, rate=0.1, decay=0.5, betas=(0.9, 0.95), eps=1e-8)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"out.weight"}
    assert torch.allclose(net.out.weight, before["out.weight"] * (1 - 0.1 * 0.5))
    assert all(group["fused"] for group in optimiser.param_groups)


def test_a_gradient_that_is_not_finite_updates_nothing() -> None:
    net = _Net()
    optimiser = adamw(net, rate=0.1, decay=0.1, betas=(0.9, 0.95), eps=1e-8)
    before = [p.detach().clone() for p in net.parameters()]
    (net(torch.tensor([1, 2])).sum() * math.inf).backward()
    assert not math.isfinite(clipped_step(optimiser, net, 1.0))
    assert all(torch.equal(p, was) for p, was in zip(net.parameters(), before, strict=True))
    assert all(p.grad is None for p in net.parameters())


def test_gradients_are_clipped_to_the_norm() -> None:
    net = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        net.weight.zero_()
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    (net(torch.ones(1, 1)) * torch.tensor([[30.0, 40.0]])).sum().backward()
    assert clipped_step(sgd, net, 1.0) == pytest.approx(50.0)
    assert net.weight.flatten().tolist() == pytest.approx([-0.6, -0.8], rel=1e-4)
    set_rate(sgd, 0.25)
    assert sgd.param_groups[0]["lr"] == 0.25


def _calm(detector: SpikeDetector, steps: int = 40) -> None:
    for step in range(steps):
        assert detector.see(2.0 + 0.01 * (step % 5), 1.0 + 0.02 * (step % 3)) == []


def test_a_spike_in_loss_or_gradient_is_told_and_hides_no_other() -> None:
    detector = SpikeDetector()
    _calm(detector)
    assert [s.kind for s in detector.see(4.0, 1.0)] == ["loss"]
    assert [s.kind for s in detector.see(2.0, 9.0)] == ["gradient"]
    assert [s.kind for s in detector.see(4.0, 9.0)] == ["loss", "gradient"]
    assert "4, usually 2.0" in str(detector.see(4.0, 1.0)[0])


def test_what_is_not_finite_is_a_spike_and_leaves_the_window_alone() -> None:
    detector = SpikeDetector()
    _calm(detector)
    before = detector.state()
    assert [s.kind for s in detector.see(math.nan, math.inf)] == ["loss", "gradient"]
    assert detector.state() == before


def test_the_first_steps_of_a_run_are_no_spikes() -> None:
    detector = SpikeDetector(least=16)
    assert all(detector.see(12.0 - step * 0.5, 30.0 / (step + 1)) == [] for step in range(16))


@pytest.mark.parametrize("steps", [1, 2, 6, 15])
def test_a_run_that_breaks_in_its_first_steps_spikes_at_once(steps: int) -> None:
    detector = SpikeDetector()
    assert all(detector.see(7.2 + 0.5 * (n % 2), 1.0 + n % 2) == [] for n in range(steps))
    assert [spike.kind for spike in detector.see(1e6, 1e3)] == ["loss", "gradient"]


def _course(*losses: float) -> str:
    """The judgement of a run with a vocabulary of 1,339 words (7.2 nats), resumed at each step."""
    course = Course(guess=7.2)
    for loss in losses:
        before = json.dumps(course.state(), allow_nan=False)
        course = Course(guess=7.2)
        course.resume(json.loads(before))
        course.see(loss)
    return course.diverged()


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([7.2, 1e3, 1e6, 1e9, 1e11, 1.4e13], "is 1e+11 in the end, was 7.2 in the beginning"),
        ([7.2, 20.0], "is 20 in the end"),
        ([2.0] * 40 + [6.0] * 40, "is 6 in the end and was 2 before"),
        ([7.2] * 10 + [math.nan] * 10, "no finite number"),
        ([math.nan, *[30.0] * 9], "is 30 in the end"),
        ([7.2], ""),
        ([7.2, 7.4], ""),
        ([7.2 - 0.2 * n for n in range(30)], ""),
        ([2.0, 1.0, 3.0, 1.0, 3.0, 3.0, 3.0], ""),  # a first step of easy samples
        ([30.0 - n for n in range(6)], ""),  # began worse than knowing nothing, and learns
        ([2.0] * 60 + [900.0] + [2.0] * 5, ""),  # a spike that passed
        ([2.0] * 60 + [math.nan], ""),
        ([0.01] * 60 + [0.05] * 60, ""),  # learnt by heart: doubled, but by next to nothing
        ([], ""),
    ],
)
def test_a_run_that_ends_worse_than_it_was_diverged(losses: list[float], said: str) -> None:
    found = _course(*losses)
    assert said in found and bool(said) == bool(found)


def test_a_resumed_detector_sees_what_the_first_would_have() -> None:
    detector, other = SpikeDetector(), SpikeDetector()
    _calm(detector)
    other.resume(json.loads(json.dumps(detector.state())))
    assert other.see(4.0, 1.0) == detector.see(4.0, 1.0) != []


def _record(step: int, loss: float) -> StepRecord:
    return StepRecord(
        step=step,
        loss=loss,
        losses={"image-text": loss},
        learning_rate=1e-3,
        gradient_norm=1.0,
        tokens=100,
        supervised_tokens=50,
        samples=3,
        seconds=1.0,
        data_wait=0.1,
        tokens_per_second=100.0,
        supervised_per_second=50.0,
        tflops=0.5,
        mfu=None,
        hfu=None,
        memory=1 << 30,
    )


def test_a_resumed_run_has_one_line_a_step_even_after_a_cut_line(tmp_path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(_record(step, 5.0 - step))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "lo')
    with MetricsLog(tmp_path, 2) as log:
        log.write(_record(3, 9.0))
    found = read_metrics(tmp_path)
    assert [(line["step"], line["loss"]) for line in found] == [(1, 4.0), (2, 3.0), (3, 9.0)]
    assert "mfu" not in found[0]


def test_curves_reach_tensorboard(tmp_path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with MetricsLog(tmp_path, 0) as log:
        for step in (1, 2):
            log.write(_record(step, 5.0 - step))
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in board.Scalars("loss/image-text")] == [(1, 4.0), (2, 3.0)]
    assert {"loss", "tokens_per_second", "data_wait", "memory"} <= set(board.Tags()["scalars"])


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("config", ["tiny", "tiny-moe", "demo", "1b", "9b", "106b"])
def test_every_recipe_holds_together(number: int, config: str) -> None:
    recipe = stage(number, config)
    assert recipe.config == config
    assert ("video" in recipe.families) == (number == 2)


def test_the_reference_recipes_have_the_reference_numbers() -> None:
    first, second = stage(1, "106b"), stage(2, "106b")
    assert (first.sequence_length, first.global_batch, first.steps) == (8_192, 1_536, 120_000)
    assert (second.sequence_length, second.global_batch, second.steps) == (32_768, 1_536, 10_000)
    assert (first.balance_rate, first.balance_loss) == (1e-3, 1e-4)


def test_an_unknown_config_or_stage_is_a_line() -> None:
    with pytest.raises(UsageError, match="there are tiny, tiny-moe, demo, 1b, 9b, 106b"):
        stage(1, "70b")
    with pytest.raises(UsageError, match="stages 1 and 2"):
        stage(3, "tiny")


def test_a_run_goes_on_with_its_own_plan_only() -> None:
    recipe = stage(1, "tiny")
    found = {"plan": "a", "recipe": recipe.told()}
    check_same(json.loads(json.dumps(found)), found, "out")
    freer = {"plan": "a", "recipe": replace(recipe, checkpoint_every=3).told()}
    check_same(found, freer, "out")
    other = {"plan": "a", "recipe": replace(recipe, learning_rate=1e-2).told()}
    with pytest.raises(UsageError, match=r"out: .*recipe.learning_rate was 0.002, now 0.01"):
        check_same(found, other, "out")
    with pytest.raises(UsageError, match="plan was a, now b"):
        check_same(found, {**found, "plan": "b"}, "out")
