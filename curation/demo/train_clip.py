"""Trains the small CLIP on clean demo pairs and says what it can and cannot tell.

    python -m curation.demo train-clip --out DIR

DIR becomes a model folder in open_clip's own layout: what `curation/models/demo_clip` is.
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.errors import UsageError
from curation.core.progress import SILENT, Progress
from curation.demo.clip_pairs import ClipPairs, draw_pairs
from curation.demo.vocabulary import BYTES, encoded, learn_merges
from curation.engines.local import LocalEngine
from curation.models.clip import ClipModel, computing, load_clip
from curation.models.clip_source import CONFIG_FILE, LOCAL, ClipSource

TRAIN_SEED = 71
"""Of the training pairs; the held-out ones are of the seed after it. The demo's is another."""

PAIRS = 32_000
HELD_OUT = 2_000
SIDE = 64
WORDS = 4_096
VOCABULARY_FILE = "vocabulary.txt.gz"
WEIGHTS_FILE = "model.safetensors"
METRICS_FILE = "metrics.json"

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_SEEN_OFTEN = 3
"""Times that a pair of letters must occur to be merged."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and on what the model is trained."""

    pairs: int = PAIRS
    seed: int = TRAIN_SEED
    epochs: int = 1
    """Times a picture is seen, each time with another of its captions."""
    batch: int = 128
    peak: float = 1.5e-3
    """Learning rate after the warm-up, before it falls off in a half cosine."""
    bfloat16: bool = True
    """Autocast; faster on idle cores that have it, no gain was seen on busy ones."""
    held_out: int = HELD_OUT
    """Pairs that the model is judged on."""
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Of training; another number gives slightly other weights."""

    def __post_init__(self) -> None:
        for name in ("pairs", "epochs", "batch", "held_out", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def config(words: int) -> dict[str, Any]:
    """The model in open_clip's own terms, for a vocabulary of so many entries."""
    return {
        "model_cfg": {
            "embed_dim": 128,
            "vision_cfg": {
                "image_size": SIDE,
                "layers": 4,
                "width": 192,
                "head_width": 64,
                "patch_size": 8,
            },
            "text_cfg": {
                "context_length": 36,
                "vocab_size": words,
                "width": 128,
                "heads": 2,
                "layers": 3,
                "tokenizer_kwargs": {"bpe_path": VOCABULARY_FILE},
            },
        },
        "preprocess_cfg": {
            "mean": _MEAN,
            "std": _STD,
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


def train_clip(
    out: Path, training: Training, engine: LocalEngine, progress: Progress = SILENT
) -> dict[str, Any]:
    """Trains a model into `out` and returns its metrics; `losses` are those of every step.

    Raises UsageError where `out` holds other files than a model of this command.
    """
    ours = {CONFIG_FILE, VOCABULARY_FILE, WEIGHTS_FILE, METRICS_FILE, "README.md"}
    if out.exists() and not {path.name for path in out.iterdir()} <= ours:
        raise UsageError(f"{out}: holds other files; choose another --out")
    start = time.monotonic()
    draw = partial(draw_pairs, engine=engine, side=SIDE, progress=progress)
    pairs = draw(training.seed, training.pairs, captions=training.epochs, small=True)
    held_out = draw(training.seed + 1, training.held_out)
    engine.close()
    out.mkdir(parents=True, exist_ok=True)
    merges = learn_merges((text for told in pairs.captions for text in told), WORDS, _SEEN_OFTEN)
    (out / VOCABULARY_FILE).write_bytes(encoded(merges))
    described = json.dumps(config(BYTES + len(merges)), indent=1)
    (out / CONFIG_FILE).write_text(described + "\n", encoding="utf-8")
    (out / WEIGHTS_FILE).unlink(missing_ok=True)
    drawn = time.monotonic()
    losses = _fit(out, pairs, training, progress)
    trained = time.monotonic()
    metrics = {
        "training": asdict(training),
        "words": BYTES + len(merges),
        "bytes": (out / WEIGHTS_FILE).stat().st_size,
        "last_loss": round(float(np.mean(losses[-20:])), 4),
        "auc": held_out_auc(out, held_out),
        "seconds": {"drawing": round(drawn - start), "training": round(trained - drawn)},
    }
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return {**metrics, "losses": losses}


def _fit(out: Path, pairs: ClipPairs, training: Training, progress: Progress) -> list[float]:
    """Trains the model of the folder `out` and writes its weights; the loss of each step."""
    import torch
    from safetensors.torch import save
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model = _unfitted(out)
    module = model.module.train().requires_grad_(True)
    count = len(pairs.captions)
    steps = max(1, count // training.batch) * training.epochs
    optimizer, schedule = _optimizer(module, training.peak, steps)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    rng = np.random.default_rng([training.seed, 0])
    losses: list[float] = []
    torch.manual_seed(training.seed)
    torch.set_num_threads(training.threads)
    with (
        progress.track("train", steps * training.batch, "pairs") as tracker,
        sdpa_kernel(SDPBackend.MATH),  # faster than the fused kernel at this size
    ):
        for epoch in range(training.epochs):
            order = rng.permutation(count)
            for start in range(0, max(1, count - training.batch + 1), training.batch):
                rows = order[start : start + training.batch]
                images = torch.from_numpy(pairs.pixels[rows]).permute(0, 3, 1, 2).float() / 255
                tokens = model.tokenize([pairs.captions[row][epoch] for row in rows])
                with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
                    image = module.encode_image((images - mean) / std)
                    text = module.encode_text(tokens)
                loss = _contrast(image, text, module.logit_scale)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
                tracker.advance(len(rows))
    tensors = {
        name: tensor.detach().half().contiguous() for name, tensor in module.state_dict().items()
    }
    (out / WEIGHTS_FILE).write_bytes(save(tensors))
    return losses


def _unfitted(out: Path) -> ClipModel:
    """The model of a folder that has no weights yet, randomly initialised."""
    return load_clip(ClipSource(model=LOCAL, checkpoint=str(out)), fresh=True)


def _optimizer(module: Any, peak: float, steps: int) -> tuple[Any, Any]:
    import torch

    plain = [p for p in module.parameters() if p.ndim < 2]
    decayed = [p for p in module.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), eps=1e-6)
    warm = max(1, min(100, steps // 10))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _contrast(image: Any, text: Any, logit_scale: Any) -> Any:
    """CLIP's symmetric cross-entropy over a batch (Radford et al. 2021)."""
    import torch
    from torch.nn.functional import cross_entropy, normalize

    image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
    logits = logit_scale.clamp(max=math.log(100)).exp() * image @ text.T
    here = torch.arange(len(logits))
    return (cross_entropy(logits, here) + cross_entropy(logits.T, here)) / 2


def held_out_auc(folder: Path, pairs: ClipPairs) -> dict[str, float]:
    """What the model of a folder tells apart: true captions from three kinds of false ones.

    Each is the chance that a true pair scores above a false one; 0.5 is a guess.
    """
    model = load_clip(ClipSource(model=LOCAL, checkpoint=str(folder)))
    said = [told[0] for told in pairs.captions]
    images = _embedded(model, pairs)
    true = _cosines(model, images, said)
    told = {"shuffled": auc(true, _cosines(model, images, [*said[1:], said[0]]))}
    for name, wrong in (("swapped_colour", pairs.recoloured), ("flipped_relation", pairs.turned)):
        rows = [row for row, text in enumerate(wrong) if text is not None]
        if rows:
            false = _cosines(model, images[rows], [wrong[row] or "" for row in rows])
            told[name] = auc(true[rows], false)
            told[f"{name}_pairs"] = len(rows)
    return {name: round(value, 4) for name, value in told.items()}


Floats = npt.NDArray[np.float32]


def _embedded(model: ClipModel, pairs: ClipPairs) -> Floats:
    import torch
    from PIL import Image

    parts = []
    with computing(os.cpu_count() or 1):
        for start in range(0, len(pairs.pixels), 256):
            given = pairs.pixels[start : start + 256]
            parts.append(
                model.images(torch.stack([model.preprocess(Image.fromarray(p)) for p in given]))
            )
    return torch.cat(parts).numpy()


def _cosines(model: ClipModel, images: Floats, texts: list[str]) -> Floats:
    with computing(os.cpu_count() or 1):
        parts = [
            model.texts(model.tokenize(texts[start : start + 256])).numpy()
            for start in range(0, len(texts), 256)
        ]
    cosines: Floats = (images * np.concatenate(parts)).sum(axis=1)
    return cosines


def auc(high: Floats, low: Floats) -> float:
    """Chance that one of `high` lies above one of `low`, ties counting half."""
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
    return float(below.mean() / 2 / len(low))
