"""A whole run of the loop on a small plain network and hand-made packs; torchrun can start it.

plain_run.py OUT STEPS [--checkpoint-every N] [--packs N] [--die-at STEP] [--lonely] [--spoilt]
             [--broken STEP] [--lost STEP]

Where it cannot go on, each rank writes what it raised to OUT/rank-<number>.txt.
"""

import argparse
import math
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from curation.core.errors import CorpusError, CurationError
from curation.models.glm4v.batch import IGNORED, PackedBatch
from curation.trainer.balance_bias import ExpertBalance
from curation.trainer.course import Course
from curation.trainer.distributed import World, joined, prepared, rank_here, sharded
from curation.trainer.loop import Learner, Loop, Work
from curation.trainer.metrics import MetricsLog, StepRecord
from curation.trainer.optim import adamw
from curation.trainer.recipe import TrainRecipe
from curation.trainer.state import Checkpoints
from jobs.train import stage

WORDS, WIDTH, LENGTH, PATCH = 61, 16, 24, 12


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))  # type: ignore[no-any-return]


class Experts(nn.Module):
    """Two experts, one a token: what the loop asks of a layer of experts, in its smallest form."""

    bias: Tensor
    load: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 2, bias=False)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.register_buffer("bias", torch.zeros(2))
        self.register_buffer("load", torch.zeros(2), persistent=False)
        self._loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        score = self.gate(x).sigmoid()
        chosen = (score + self.bias).argmax(1)
        share = torch.bincount(chosen, minlength=2)
        self.load += share
        self._loss = (score.mean(0) * share / len(x)).sum()
        each = torch.stack([expert(x) for expert in self.experts], 1)
        rows = torch.arange(len(x))
        return x + score[rows, chosen].unsqueeze(1) * each[rows, chosen]

    def take_balance_loss(self) -> Tensor | None:
        loss, self._loss = self._loss, None
        return loss


class PlainNet(nn.Module):
    """Words and patches through a block each; a dummy patch where a pack has none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.patches = nn.Linear(PATCH, WIDTH)
        self.vision = Block(WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH), Block(WIDTH)])
        self.experts = Experts(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, batch: PackedBatch) -> Tensor:
        x = self.words(batch.tokens)
        pixels = batch.pixels if len(batch.pixels) else batch.pixels.new_zeros(1, PATCH)
        seen = self.vision(self.patches(pixels.to(x.dtype)))
        x = x + 0.0 * seen.sum()
        if len(batch.pixels):
            x = x.masked_scatter(batch.media_tokens.unsqueeze(1), seen)
        for block in self.blocks:
            x = block(x)
        return self.experts(x)  # type: ignore[no-any-return]


def pack_of(step: int, number: int, images: bool) -> PackedBatch:
    """Two samples that count upwards, and padding."""
    draw = torch.Generator().manual_seed(1_000 * step + number)
    first, second = (int(n) for n in torch.randint(0, WORDS, (2,), generator=draw))
    tokens = torch.tensor([(first + n) % WORDS for n in range(12)] + [second] * 6 + [0] * 6)
    labels = torch.cat([tokens[1:], tokens[:1]])
    labels[[0, 11]] = IGNORED
    labels[17:] = IGNORED
    media = torch.zeros(LENGTH, dtype=torch.bool)
    media[1:3] = images
    return PackedBatch(
        tokens=tokens,
        labels=labels,
        positions=torch.zeros(3, LENGTH, dtype=torch.int64),
        cu_seqlens=torch.tensor([0, 12, 18, LENGTH], dtype=torch.int32),
        max_seqlen=12,
        pixels=torch.randn(2 if images else 0, PATCH, generator=draw),
        grids=torch.tensor([[1, 1, 2]] if images else []).reshape(-1, 3),
        media_tokens=media,
        sample_families=["image-text", "ocr", ""],
        sample_ids=[f"plain/{step}-{number}-0", f"plain/{step}-{number}-1", ""],
    )


@dataclass
class Step:
    number: int
    packs: list[PackedBatch]
    failures: list[object] = field(default_factory=list)


def steps(
    world: World,
    recipe: TrainRecipe,
    start: int,
    *,
    lonely: bool,
    spoilt: bool = False,
    broken: int = -1,
    lost: int = -1,
) -> Iterator[Step]:
    """This rank's packs; with `lonely` every other pack, all of rank 0 of 2, has images. With
    `spoilt` the last rank alone has unreadable samples: seven a step; it cannot read its packs of
    the step `broken`, and is killed before the step `lost`."""
    mine = range(world.rank, recipe.global_batch, world.size)
    for number in range(start, recipe.steps):
        if world.rank == world.size - 1 and number == broken:
            raise CorpusError("plain.tar: no such file")
        if world.rank == world.size - 1 and number == lost:
            os.kill(os.getpid(), signal.SIGKILL)
        failures = [f"plain/{number}-{n}" for n in range(7)] if spoilt and mine.start else []
        packs = [pack_of(number, n, n % 2 == 0 or not lonely) for n in mine]
        yield Step(number, packs, [*failures])


class Deadly:
    """Kills its own process when a step is done."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, record: StepRecord) -> None:
        if record.step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, line: str) -> None:
        print(line, flush=True)


def recipe_of(total: int, packs: int, every: int) -> TrainRecipe:
    return replace(
        stage(1, "tiny"), steps=total, warmup=2, global_batch=packs, checkpoint_every=every
    )


def run(out: Path, recipe: TrainRecipe, *, die_at: int = 0, **how: Any) -> None:
    """Begins or goes on in `out`; `how` is that of `steps`."""
    try:
        with joined("cpu") as world:
            _run(out, recipe, world, die_at, {"lonely": False, **how})
    except CurationError as error:
        told = f"{type(error).__name__} {error.exit_code}: {error}"
        (out / f"rank-{rank_here()}.txt").write_text(told, encoding="utf-8")
        raise


def _run(out: Path, recipe: TrainRecipe, world: World, die_at: int, how: dict[str, Any]) -> None:
    net = PlainNet()
    blocks = [net.vision, *net.blocks]
    prepared(blocks, recompute=recipe.recompute, compiled=False)
    learner = Learner(net, chunk=5)
    sharded(learner, blocks, world, dtype=torch.float32)
    optimiser = adamw(
        learner, rate=recipe.learning_rate, decay=0.1, betas=recipe.betas, eps=recipe.eps
    )
    loop = Loop(
        recipe=recipe,
        world=world,
        learner=learner,
        optimiser=optimiser,
        balance=ExpertBalance([net.experts], rate=1e-3, weight=1e-4),
        work=lambda pack: Work(1.0, 2.0),
        plan_hash="plain",
        course=Course(guess=math.log(WORDS)),
    )
    checkpoints = Checkpoints(out / "checkpoints", world, keep=2)
    start = checkpoints.latest() or 0
    if start:
        loop.resume(checkpoints.load(start, learner, optimiser))
    with MetricsLog(out, start) if world.leads else nullcontext() as log:
        loop.run(steps(world, recipe, start, **how), checkpoints, log, Deadly(die_at))
    checkpoints.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--checkpoint-every", type=int, default=4)
    parser.add_argument("--packs", type=int, default=2)
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--lonely", action="store_true")
    parser.add_argument("--spoilt", action="store_true")
    parser.add_argument("--broken", type=int, default=-1)
    parser.add_argument("--lost", type=int, default=-1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    run(
        given.out,
        recipe_of(given.steps, given.packs, given.checkpoint_every),
        die_at=given.die_at,
        lonely=given.lonely,
        spoilt=given.spoilt,
        broken=given.broken,
        lost=given.lost,
    )
