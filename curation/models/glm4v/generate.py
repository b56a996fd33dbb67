"""Answers of a model: one word after another, the likeliest or drawn by chance."""

import math
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from curation.core.errors import RunError, UsageError
from curation.models.glm4v.attention import Segments
from curation.models.glm4v.batch import IGNORED, PackedBatch
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.decoder import KeyValues, TokenLayout
from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.positions import rope_positions
from curation.models.glm4v.rope import text_rope


def prompt(
    config: Glm4vConfig,
    ids: Sequence[int],
    pixels: Tensor | None = None,
    grids: Tensor | None = None,
) -> PackedBatch:
    """A pack of one sample to go on from; `pixels` and `grids` as in PackedBatch."""
    tokens = torch.tensor(ids, dtype=torch.int64)
    if grids is None or pixels is None:
        grids = torch.zeros(0, 3, dtype=torch.int64)
        pixels = torch.zeros(0, config.vision.patch_values)
    borders = torch.tensor([0, len(ids)], dtype=torch.int32)
    media = (tokens == config.tokens.image_token_id) | (tokens == config.tokens.video_token_id)
    return PackedBatch(
        tokens=tokens,
        labels=torch.full_like(tokens, IGNORED),
        positions=rope_positions(media, borders, grids, config.vision.spatial_merge_size),
        cu_seqlens=borders,
        max_seqlen=len(ids),
        pixels=pixels,
        grids=grids,
        media_tokens=media,
        sample_families=["prompt"],
        sample_ids=["prompt"],
    )


@torch.no_grad()
def generate(
    model: Glm4v,
    batch: PackedBatch,
    *,
    most: int,
    stop: Collection[int] = (),
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Up to `most` tokens after a prompt, until one of `stop`, which is not told.

    At temperature 0 the likeliest token each time; else drawn by softmax(logits / temperature).
    The model must be in eval mode, the batch on its device. An answer ends where the model's
    positions do. Raises UsageError for a prompt that leaves none, RunError for a model whose
    numbers are not finite.
    """
    text = model.config.text
    x_TD = model.embeddings(batch)
    place = int(batch.positions.max()) + 1
    if place >= text.max_position_embeddings:
        raise UsageError(
            f"the prompt takes {place:,} of the model's {text.max_position_embeddings:,} positions "
            "and leaves none to answer; shorten it"
        )
    most = min(most, text.max_position_embeddings - place)
    shape = (len(x_TD) + most, text.num_key_value_heads, text.head_dim)
    caches = [KeyValues(x_TD.new_empty(shape), x_TD.new_empty(shape)) for _ in model.layers]
    layout = TokenLayout.of(batch, text)
    for number in range(most):
        hidden_TD = model.decode(x_TD, layout, caches)
        token = _chosen(model.head(hidden_TD[-1]), temperature, generator)
        if token in stop:
            return
        yield token
        x_TD = model.embed(torch.tensor([token], device=x_TD.device))
        layout = _one_more(place + number, layout, model.config)


def _chosen(logits_V: Tensor, temperature: float, generator: torch.Generator | None) -> int:
    best = logits_V.max()
    if not math.isfinite(best):
        raise RunError(
            f"the model's output is not finite ({float(best)}): it diverged in training, or its "
            "weights are damaged; take an earlier checkpoint"
        )
    if temperature == 0:
        return int(logits_V.argmax())
    # In 64 bits a temperature above 0 stays above it; nothing is above the likeliest, so nothing
    # overflows.
    shares = ((logits_V.double() - best) / temperature).softmax(dim=-1)
    return int(torch.multinomial(shares, 1, generator=generator))


def _one_more(place: int, before: TokenLayout, config: Glm4vConfig) -> TokenLayout:
    """Layout of the one token at `place`."""
    device = before.cos.device
    positions = torch.full((3, 1), place, device=device)
    return TokenLayout(
        *text_rope(positions, config.text),
        segments=Segments.of([1], device),
        segment_T=torch.zeros(1, dtype=torch.int64, device=device),
        real_S=before.real_S,
    )
