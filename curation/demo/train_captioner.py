"""Trains the small captioner on demo scenes: what `curation/models/demo_captioner` is.

    python -m curation.demo train-captioner --out DIR

DIR becomes a model folder that transformers and vLLM open.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.core.errors import RunError, UsageError
from curation.core.progress import SILENT, Progress
from curation.demo.captioner_crew import Crew, shared
from curation.demo.captioner_loss import Shown, media, telling_loss
from curation.demo.captions_eyes import heads, seeing_loss
from curation.demo.captions_pictures import VISION, Pixels, draw_pictures
from curation.demo.captions_tasks import PATTERN, WORDS, Asked, texts
from curation.demo.train_tokenizer import learn_tokenizer
from curation.engines.local import LocalEngine
from curation.models.captioner import weights_name
from curation.models.glm4v.config import Glm4vConfig, TextConfig, TokenIds, VisionConfig
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from curation.models.glm4v.model import Glm4v

SEED = 73
"""Of the scenes to learn from; those to be judged on are of the seed after it."""

METRICS_FILE = "metrics.json"
_PATIENCE = 600.0
"""Seconds that a process waits for another's part of a step."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and on what the model is trained."""

    scenes: int = 26_000
    seed: int = SEED
    texts: int = 6_000
    """Scenes whose captions the vocabulary is learnt from."""
    turns: int = 2
    """Times that a scene is shown, each time with another original and another claim."""
    first_turn: int = 0
    """Number of the first turn; where training goes on, one that was not asked before."""
    rewrites: int = 1
    """Originals that a scene is shown with at each turn, to be set right."""
    batch: int = 16
    """Scenes a step; each is seen once, and asked about two or three times."""
    start: str = ""
    """Folder of a model to go on from; empty: a new one."""
    stop: int = 0
    """Steps after which it ends, however the learning rate stands; 0: all."""
    looks: int = 3
    """Times that the vision tower sees all scenes before captions begin, told what is where."""
    seeing: float = 0.3
    """Weight of what the pictures show while captions are learnt."""
    look_batch: int = 32
    """Scenes a step then."""
    peak: float = 2e-3
    warmup: int = 300
    """Steps that the learning rate takes to its peak; then a cosine to a twentieth of it."""
    decay: float = 0.05
    bfloat16: bool = True
    """Autocast of matrix products."""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    """That train together; another number gives slightly other weights."""

    def __post_init__(self) -> None:
        for name in ("scenes", "texts", "turns", "rewrites", "batch", "look_batch", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.batch, self.look_batch) < self.processes:
            raise ValueError(f"batch must be at least {self.processes}, one scene a process")

    @property
    def look_steps(self) -> int:
        return max(1, self.scenes // self.look_batch) * self.looks

    @property
    def steps(self) -> int:
        return max(1, self.scenes // self.batch) * self.turns


def config() -> Glm4vConfig:
    """5 million parameters; heads of 64, which vLLM's CPU backend takes."""
    return Glm4vConfig(
        text=TextConfig(
            vocab_size=WORDS,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            mrope_section=(4, 6, 6),
            max_position_embeddings=4_096,
        ),
        vision=VisionConfig(
            depth=4, hidden_size=192, num_heads=3, intermediate_size=512, image_size=112
        ),
        tokens=TokenIds(**dict.fromkeys(asdict(TokenIds()), 0)),  # until a tokenizer names them
    )


def train_captioner(
    out: Path, training: Training, engine: LocalEngine, progress: Progress = SILENT
) -> dict[str, Any]:
    """Trains a model into `out`; returns the settings, losses and seconds.

    Raises UsageError where `out` holds other files than a model of this command.
    """
    if out.exists() and not {path.suffix for path in out.iterdir()} <= _OURS:
        raise UsageError(f"{out}: holds other files; choose another --out")
    start = time.monotonic()
    words = _vocabulary(out, training)
    pictures = draw_pictures(training.seed, training.scenes, engine, small=True, progress=progress)
    engine.close()
    drawn = time.monotonic()
    processor = Processor(Tokenizer(str(out)), VISION)
    losses = _fit(out, processor, pictures, training, progress)
    weights = (out / "model.safetensors").stat().st_size
    start_from = weights_name(Path(training.start)) if training.start else ""
    told = {
        "training": {**asdict(training), "start": start_from},
        "words": words,
        "bytes": weights,
        "last_loss": round(float(np.mean(losses[-100:])), 4),
        "seconds": {
            "drawing": round(drawn - start),
            "training": round(time.monotonic() - drawn),
        },
    }
    (out / METRICS_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return {**told, "losses": losses}


def _vocabulary(out: Path, training: Training) -> int:
    """Puts the tokenizer into the folder: a new one, or that of the model to go on from."""
    if not training.start:
        return learn_tokenizer(out, texts(training.seed, training.texts), WORDS, PATTERN)
    tokenizer = Tokenizer(training.start)
    words = tokenizer.vocabulary  # raises UsageError where there is none
    out.mkdir(parents=True, exist_ok=True)
    (out / TOKENIZER_FILE).write_bytes((Path(training.start) / TOKENIZER_FILE).read_bytes())
    return words


_OURS = {".json", ".safetensors", ".jinja", ".md"}


def _fit(
    out: Path,
    processor: Processor,
    pictures: list[Pixels],
    training: Training,
    progress: Progress,
) -> list[float]:
    """Trains a new model and writes its folder; the loss of each step.

    One process a core, each with a share of every batch and one thread: operations are too small
    to be worth sharing.
    """
    from curation.models.glm4v.checkpoint import save
    from curation.models.glm4v.processor_files import save_processor

    context = multiprocessing.get_context("fork")  # which shares the pictures
    model, eyes = _new(processor, training)
    size = sum(p.numel() for part in (model, eyes) for p in part.parameters())
    crew = Crew(
        gradients=shared(training.processes, size + 1),
        barrier=context.Barrier(training.processes, timeout=_PATIENCE),
    )
    others = [
        context.Process(
            target=_learn,
            args=(model, eyes, processor, pictures, training, crew, rank, SILENT),
            daemon=True,
        )
        for rank in range(1, training.processes)
    ]
    for other in others:
        other.start()
    try:
        losses = _learn(model, eyes, processor, pictures, training, crew, 0, progress)
    except threading.BrokenBarrierError as error:
        raise RunError("a process of the training ended, or hung; start it again") from error
    for other in others:
        other.join()
    model.eval()
    save(out, model.config, model.state_dict())
    save_processor(processor, out)
    return losses


def _new(processor: Processor, training: Training) -> "tuple[Glm4v, nn.ModuleDict]":
    """The model, and what its vision tower is judged by while it learns."""
    import torch

    from curation.models.glm4v.checkpoint import load
    from curation.models.glm4v.model import Glm4v

    torch.manual_seed(training.seed)
    tokenizer = processor.tokenizer
    shape = config().for_tokenizer(tokenizer.special, tokenizer.vocabulary)
    model = Glm4v.for_causal(shape).train()
    _widen(model)
    if training.start:
        load(model, Path(training.start))
    return model, heads(shape.text.hidden_size)


def _widen(model: "Glm4v") -> None:
    """New weights for a narrow model: what each layer gives is as large as what it takes.

    With GLM's standard deviation of 0.02 words and pictures would be drowned by the first layer's
    output, whose norm is one: copying, and seeing, began only after many more steps.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
                module.weight.normal_(std=module.weight[0].numel() ** -0.5)
        model.embed.weight.normal_(std=1.0)
        model.head.weight.normal_(std=0.02)
        model.vision.position.weight.normal_(std=0.3)
        for name, weight in model.named_parameters():
            if name.endswith("_post_norm.weight"):
                weight.fill_(0.4)


def _learn(
    model: "Glm4v",
    eyes: "nn.ModuleDict",
    processor: Processor,
    pictures: list[Pixels],
    training: Training,
    crew: Crew,
    rank: int,
    progress: Progress,
) -> list[float]:
    """Trains `model` as process `rank`: first to see, then to tell; the loss of each step."""
    import torch
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def look(numbers: list[int], turn: int) -> "Tensor":
        scenes = [Shown(pictures[n], processor, training.seed, n) for n in numbers]
        return seeing_loss(eyes, media(model, scenes), [scene.labels for scene in scenes])

    def tell(numbers: list[int], turn: int) -> "Tensor":
        turn += training.first_turn
        asked = Asked(turn=turn, rewrites=training.rewrites)
        scenes = [Shown(pictures[n], processor, training.seed, n, asked) for n in numbers]
        return telling_loss(model, eyes, scenes, training.seeing)

    torch.set_num_threads(1)
    whole = training.look_steps * training.look_batch + training.steps * training.batch
    losses: list[float] = []
    stages = (
        (nn.ModuleList([model.vision, eyes]), look, training.looks, training.look_batch),
        (nn.ModuleList([model, eyes]), tell, training.turns, training.batch),
    )
    with (
        progress.track("train", whole, "scenes") as tracker,
        sdpa_kernel(SDPBackend.MATH),  # faster than the fused kernel at this size
    ):
        for module, loss_of, turns, batch in stages:
            update = _updates(module, training, max(1, training.scenes // batch) * turns)
            for numbers, turn in _order(training, turns, batch):
                mine = numbers[rank :: training.processes]
                with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
                    loss = loss_of(sorted(mine, key=lambda n: pictures[n].shape), turn)
                torch.autograd.backward(loss)
                losses.append(crew.mean(module, float(loss.detach()), rank))
                next(update)
                tracker.advance(len(numbers))
                if len(losses) == training.stop:
                    return losses
    return losses


def _updates(module: "nn.Module", training: Training, steps: int) -> Iterator[None]:
    """Updates the weights each time that it is asked for the next item."""
    from curation.trainer.optim import adamw, clipped_step, set_rate
    from curation.trainer.schedule import Schedule

    optimiser = adamw(module, rate=training.peak, decay=training.decay, betas=(0.9, 0.98), eps=1e-8)
    schedule = Schedule(steps=steps, warmup=min(training.warmup, steps), floor=0.05)
    for step in range(1, steps + 1):
        set_rate(optimiser, training.peak * schedule.share(step))
        clipped_step(optimiser, module, 1.0)
        yield


def _order(training: Training, turns: int, batch: int) -> Iterator[tuple[list[int], int]]:
    """Scenes and turn of each batch."""
    rng = np.random.default_rng([training.seed, batch])
    for turn in range(turns):
        order = rng.permutation(training.scenes)
        for start in range(0, max(1, training.scenes - batch + 1), batch):
            yield order[start : start + batch].tolist(), turn
