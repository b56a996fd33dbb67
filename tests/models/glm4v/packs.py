"""Small packs of random words, images and videos, and transformers' model of the same shape."""

import warnings
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.models.glm4v import checkpoint
from curation.models.glm4v.batch import IGNORED, PackedBatch
from curation.models.glm4v.config import Glm4vConfig, TokenIds, tiny, tiny_moe
from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.positions import rope_positions

VOCABULARY = 160
TOKENS = TokenIds(
    image_token_id=150,
    video_token_id=151,
    image_start_token_id=152,
    image_end_token_id=153,
    video_start_token_id=154,
    video_end_token_id=155,
    pad_token_id=156,
)


def small(kind: str) -> Glm4vConfig:
    """tiny (`dense`) or tiny-moe (`moe`) with a vocabulary of 160 words."""
    config = tiny() if kind == "dense" else tiny_moe()
    return replace(config, text=replace(config.text, vocab_size=VOCABULARY), tokens=TOKENS)


@dataclass
class Sample:
    """One sample: words, and media between them."""

    ids: list[int]
    images: list[tuple[int, int, int]]
    videos: list[tuple[int, int, int]]
    pixels: Tensor
    learnt: Tensor


def sample(generator: torch.Generator, *parts: int | tuple[int, int, int]) -> Sample:
    """Parts in order: a number of words, or a grid of patches (time above 1 is a video)."""
    ids: list[int] = []
    images, videos = [], []
    for part in parts:
        if isinstance(part, int):
            ids += torch.randint(0, 150, (part,), generator=generator).tolist()
            continue
        time, tall, wide = part
        frame = [152, *[150] * (tall * wide // 4), 153]
        if time == 1:
            images.append(part)
            ids += frame
            continue
        videos.append(part)
        ids.append(154)
        for second in range(time):
            ids += [*frame, second]
        ids.append(155)
    patches = sum(t * h * w for t, h, w in [p for p in parts if not isinstance(p, int)])
    return Sample(
        ids,
        images,
        videos,
        torch.randn(patches, 3 * 2 * 14 * 14, generator=generator),
        torch.rand(len(ids), generator=generator) < 0.6,
    )


def grids_of(parts: list[Sample]) -> Tensor:
    """All grids in order; a sample's images come before its videos."""
    grids = [grid for part in parts for grid in [*part.images, *part.videos]]
    return torch.tensor(grids, dtype=torch.int64).reshape(-1, 3)


def pack(*samples: Sample, padding: int = 0) -> PackedBatch:
    """The samples one behind another."""
    parts = list(samples)
    rows = [torch.tensor(part.ids) for part in parts]
    labels = []
    for row, part in zip(rows, parts, strict=True):
        after = torch.cat([row[1:], torch.tensor([IGNORED])])
        labels.append(torch.where(part.learnt, after, IGNORED))
    families, names = ["pairs"] * len(parts), [f"corpus/{n}" for n in range(len(parts))]
    if padding:
        rows.append(torch.full((padding,), 156))
        labels.append(torch.full((padding,), IGNORED))
        families, names = [*families, ""], [*names, ""]
    tokens = torch.cat(rows)
    lengths = [len(row) for row in rows]
    borders = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    media = tokens == 150
    return PackedBatch(
        tokens=tokens,
        labels=torch.cat(labels),
        positions=rope_positions(media, borders, grids_of(parts)),
        cu_seqlens=borders,
        max_seqlen=max(lengths),
        pixels=torch.cat([part.pixels for part in parts]),
        grids=grids_of(parts),
        media_tokens=media,
        sample_families=families,
        sample_ids=names,
    )


def oracle_of(config: Glm4vConfig, attention: str = "sdpa") -> Any:
    """transformers' model by our config.json, every weight random (norms and biases too)."""
    from transformers import Glm4vForConditionalGeneration, Glm4vMoeForConditionalGeneration
    from transformers.models.glm4v.configuration_glm4v import Glm4vConfig as Dense
    from transformers.models.glm4v_moe.configuration_glm4v_moe import Glm4vMoeConfig as Moe

    written = config.to_hf()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if config.text.moe is None:
            model: Any = Glm4vForConditionalGeneration(Dense(**written))
        else:
            model = Glm4vMoeForConditionalGeneration(Moe(**written))
    model.set_attn_implementation(attention)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "inv_freq" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            norm = tensor.ndim == 1 and name.endswith("weight")
            tensor.copy_(1 + 0.2 * noise if norm else 0.08 * noise)
    return model.eval()


def ours_of(oracle: Any, folder: Path) -> Glm4v:
    """Our model with the weights that transformers saved."""
    oracle.save_pretrained(folder)
    return checkpoint.load_pretrained(folder)


def oracle_gradients(oracle: Any) -> dict[str, Tensor]:
    """Gradients by the names of Hugging Face's files, where experts are single matrices."""
    found = {}
    for name, weight in oracle.named_parameters():
        if ".experts.gate_up_proj" in name:
            for number, row in enumerate(weight.grad):
                before = name.replace("gate_up_proj", f"{number}.")
                found[f"{before}gate_proj.weight"], found[f"{before}up_proj.weight"] = row.chunk(2)
        elif ".experts.down_proj" in name:
            for number, row in enumerate(weight.grad):
                found[name.replace("down_proj", f"{number}.down_proj.weight")] = row
        else:
            found[name] = weight.grad
    return found


def assert_close(found: Tensor, wanted: Tensor, relative: float, what: str = "") -> None:
    """Largest difference, as a share of the largest wanted number."""
    assert found.shape == wanted.shape, what
    with torch.no_grad():
        gap = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
    assert gap <= relative, f"{what}: differs by {gap:.1e} of its largest"
