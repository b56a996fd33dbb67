"""The steps of a run: gradients of all packs, one update, one record, now and then a checkpoint."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from curation.core.errors import CurationError, RunError
from curation.models.glm4v.batch import PackedBatch
from curation.trainer.balance_bias import ExpertBalance
from curation.trainer.course import Course
from curation.trainer.distributed import World
from curation.trainer.loss import Supervision, cross_entropy, supervision
from curation.trainer.metrics import MetricsLog, StepRecord, Watcher, memory_held, peak_flops
from curation.trainer.optim import clipped_step, set_rate
from curation.trainer.recipe import TrainRecipe
from curation.trainer.spikes import SpikeDetector
from curation.trainer.state import Checkpoints
from curation.trainer.unreadable import Unreadable

MOST_SKIPPED = 20
"""Steps in a row without a finite gradient that end a run."""


class Step(Protocol):
    """What the loader gives this process for one step."""

    @property
    def number(self) -> int:
        """From 0: steps before it."""

    @property
    def packs(self) -> list[PackedBatch]:
        """As many on every process."""

    @property
    def failures(self) -> Sequence[object]:
        """Samples of these packs that could not be decoded."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one pack, forward and backward."""

    model: float
    """As the model needs them."""
    hardware: float
    """With what is computed a second time."""


class Learner(nn.Module):
    """Model and loss as one module: within its forward the head's weights are whole (FSDP)."""

    def __init__(self, model: nn.Module, chunk: int) -> None:
        super().__init__()
        self.model = model
        self._chunk = chunk

    def forward(
        self, batch: PackedBatch, learnt: Supervision, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Scaled sum of the pack's losses, and each of the N losses (float32)."""
        hidden_TD = self.model(batch)
        head: Any = self.model.head
        return cross_entropy(
            hidden_TD[learnt.places],
            head.weight,
            learnt.labels,
            learnt.weights * scale,
            self._chunk,
        )


@dataclass(kw_only=True)
class Loop:
    """What a run has in hand between its steps; every process has its own, in step."""

    recipe: TrainRecipe
    world: World
    learner: Learner
    optimiser: torch.optim.Optimizer
    balance: ExpertBalance
    work: Callable[[PackedBatch], Work]
    plan_hash: str
    course: Course
    spikes: SpikeDetector = field(default_factory=SpikeDetector)
    skipped: int = 0
    """Steps in a row that updated nothing."""

    def __post_init__(self) -> None:
        self.unreadable = Unreadable(self.recipe.most_unreadable)
        self._rates = self.recipe.rates()
        self._peak = peak_flops(self.world.device)
        self._ended: float | None = None

    def run(
        self,
        steps: Iterable[Step],
        checkpoints: Checkpoints,
        log: MetricsLog | None,
        watcher: Watcher,
    ) -> None:
        """Takes all steps. `log` is null on all processes but the leading one.

        Raises RunError, on all, where the gradient stays without a finite value, a checkpoint
        fails, or one process cannot read its packs.
        """
        given = iter(steps)
        while (drawn := _drawn(given)) is not None:
            if isinstance(drawn, CurationError):
                self._agreed(_Counted(faults=1.0), drawn)
                raise drawn
            step, waited = drawn
            record = self.step(step, waited)
            if log is not None:
                log.write(record)
                watcher.step(record)
            self._look(step, record, log, watcher)
            checkpoints.settle()
            if record.step % self.recipe.checkpoint_every == 0 or record.step == self.recipe.steps:
                state = self.state(record.step)
                checkpoints.save(record.step, self.learner, self.optimiser, state)
        checkpoints.finish()

    def state(self, step: int) -> dict[str, Any]:
        """What a checkpoint keeps beside weights and moments, `step` steps being done."""
        loader = {"plan_hash": self.plan_hash, "step": step}
        return {
            "loader": loader,
            "spikes": self.spikes.state(),
            "course": self.course.state(),
            "skipped": self.skipped,
            "unreadable": self.unreadable.state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        self.spikes.resume(state["spikes"])
        if "course" in state:
            self.course.resume(state["course"])
        self.skipped = state["skipped"]
        self.unreadable.resume(state.get("unreadable", [0, 0]))

    def step(self, step: Step, waited: float) -> StepRecord:
        """One update from this process's packs and those of all others.

        Raises RunError, on all, where too many samples could not be read, and what another process
        could not go on for.
        """
        begun = time.perf_counter()
        families = self.recipe.families
        packs = [self._sent(pack) for pack in step.packs]
        learnt = [supervision(pack, families, self.recipe.normalise) for pack in packs]
        counted = _Counted.of(step, learnt, waited, [self.work(pack) for pack in step.packs])
        counted = self._agreed(counted, None)
        self.unreadable.judge(
            self.world,
            step.number + 1,
            int(counted.samples),
            int(counted.quarantined),
            step.failures,
        )
        rate = self.recipe.learning_rate * self._rates.share(step.number + 1)
        set_rate(self.optimiser, rate)

        scale = 1 / max(counted.weight, 1e-9)
        sums = torch.zeros(2, len(families), dtype=torch.float64, device=self.world.device)
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        for pack, taught in zip(packs, learnt, strict=True):
            loss, losses = self.learner(pack, taught, scale)
            (loss + self.balance.loss(self.recipe.global_batch)).backward()
            total += loss.detach()
            sums += _by_family(taught, losses, len(families))
        norm = clipped_step(self.optimiser, self.learner, self.recipe.clip_norm)
        balanced = self.balance.update(self.world, learn=math.isfinite(norm))
        told = self.world.total([total.item(), *sums.flatten().tolist()])
        # From end to end: what is logged and saved between steps is part of the next.
        ended = time.perf_counter()
        seconds = ended - (begun - waited if self._ended is None else self._ended)
        self._ended = ended
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        return self._record(step.number + 1, counted, told, rate, norm, seconds, balanced)

    def _agreed(self, counted: "_Counted", fault: CurationError | None) -> "_Counted":
        """Sums over all processes. Raises, on all, what kept one of them from its packs."""
        summed = _Counted(*self.world.total(counted.values()))
        if summed.faults:
            self.world.fail_first(fault)
        return summed

    def _sent(self, pack: PackedBatch) -> PackedBatch:
        """A pack on this process's device, its longest segment told alike for all packs where each
        other number would be compiled for again."""
        if self.recipe.compiled:
            pack = replace(pack, max_seqlen=self.recipe.sequence_length)
        return pack.to(self.world.device, non_blocking=True)

    def _record(
        self,
        number: int,
        counted: "_Counted",
        told: list[float],
        rate: float,
        norm: float,
        seconds: float,
        balanced: dict[str, float],
    ) -> StepRecord:
        families = self.recipe.families
        sums, counts = told[1 : 1 + len(families)], told[1 + len(families) :]
        able = None if self._peak is None else seconds * self.world.size * self._peak
        return StepRecord(
            step=number,
            loss=told[0],
            losses={
                family: amount / count
                for family, amount, count in zip(families, sums, counts, strict=True)
                if count
            },
            learning_rate=rate,
            gradient_norm=norm,
            skipped=not math.isfinite(norm),
            tokens=int(counted.tokens),
            supervised_tokens=int(counted.supervised),
            samples=int(counted.samples),
            quarantined=int(counted.quarantined),
            seconds=seconds,
            data_wait=counted.waited / self.world.size,
            tokens_per_second=counted.tokens / seconds,
            supervised_per_second=counted.supervised / seconds,
            tflops=counted.model_work / seconds / self.world.size / 1e12,
            mfu=None if able is None else counted.model_work / able,
            hfu=None if able is None else counted.hardware_work / able,
            memory=memory_held(self.world.device),
            **balanced,
        )

    def _look(
        self, step: Step, record: StepRecord, log: MetricsLog | None, watcher: Watcher
    ) -> None:
        """Tells of a step that stands out; every process sees the same numbers."""
        if record.supervised_tokens:
            self.course.see(record.loss)
        found = [str(spike) for spike in self.spikes.see(record.loss, record.gradient_norm)]
        if found:
            names = [name for pack in step.packs for name in pack.sample_ids if name]
            samples = [name for part in self.world.gather(names) for name in part]
            if log is not None:
                log.spike(record.step, found, samples)
                watcher.say(f"step {record.step}: spike in {'; '.join(found)}")
        if self.skipped >= MOST_SKIPPED:
            self.world.fail(
                RunError(
                    f"step {record.step}: {self.skipped} steps in a row without a finite gradient; "
                    "lower the learning rate, or look at the samples named in spikes.jsonl"
                )
            )


@dataclass(frozen=True)
class _Counted:
    """Sums over packs, and then over processes."""

    weight: float = 0.0
    tokens: float = 0.0
    supervised: float = 0.0
    samples: float = 0.0
    quarantined: float = 0.0
    waited: float = 0.0
    model_work: float = 0.0
    hardware_work: float = 0.0
    faults: float = 0.0
    """Processes that have no packs, for a fault of theirs."""

    @staticmethod
    def of(step: Step, learnt: list[Supervision], waited: float, work: list[Work]) -> "_Counted":
        spans = [
            length
            for pack in step.packs
            for length, family in zip(
                pack.cu_seqlens.diff().tolist(), pack.sample_families, strict=True
            )
            if family
        ]
        return _Counted(
            weight=float(sum(taught.weights.double().sum() for taught in learnt)),
            tokens=sum(spans),
            supervised=sum(len(taught.places) for taught in learnt),
            samples=len(spans),
            quarantined=len(step.failures),
            waited=waited,
            model_work=sum(w.model for w in work),
            hardware_work=sum(w.hardware for w in work),
        )

    def values(self) -> list[float]:
        return list(vars(self).values())


def _by_family(taught: Supervision, losses_N: Tensor, families: int) -> Tensor:
    """Sum and number of the losses of each family, float64 [2, families]."""
    known = taught.families >= 0
    places = taught.families[known]
    sums = torch.bincount(places, losses_N[known].double(), minlength=families)
    return torch.stack([sums, torch.bincount(places, minlength=families).double()])


def _drawn(steps: Iterator[Step]) -> tuple[Step, float] | CurationError | None:
    """The next step and the seconds that it was waited for, or why there is none; null: no more."""
    begun = time.perf_counter()
    try:
        step = next(steps, None)
    except CurationError as fault:
        return fault
    return None if step is None else (step, time.perf_counter() - begun)
