"""Rotary positions: in three directions for the decoder, in two for the vision tower."""

import torch
from torch import Tensor

from curation.models.glm4v.config import TextConfig, VisionConfig


def text_rope(positions_3T: Tensor, config: TextConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, float32 [T, rotary_dim / 2].

    The first frequencies turn with time, the next with height, the last with width
    (`mrope_section`; Qwen2-VL's M-RoPE).
    """
    size = config.rotary_dim // 2
    angles_3TR = positions_3T.float()[..., None] * _frequencies(
        size, config.rope_theta, positions_3T.device
    )
    parts = torch.split(angles_3TR, list(config.mrope_section), dim=-1)
    angles_TR = torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
    return angles_TR.cos(), angles_TR.sin()


def vision_rope(rows_P: Tensor, columns_P: Tensor, config: VisionConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each patch's angles, float32 [P, head_dim / 2]: by row, then by column."""
    frequencies = _frequencies(config.head_dim // 4, config.rope_theta, rows_P.device)
    places_P2 = torch.stack([rows_P, columns_P], dim=-1).float()
    angles = (places_P2[..., None] * frequencies).flatten(1)
    return angles.cos(), angles.sin()


def _frequencies(size: int, theta: float, device: torch.device) -> Tensor:
    return theta ** -(torch.arange(size, dtype=torch.float32, device=device) / size)


def rotate(x_THd: Tensor, cos_TR: Tensor, sin_TR: Tensor, *, interleaved: bool) -> Tensor:
    """Turns the first 2R dimensions of every head, in float32; the others stay.

    Turned together are neighbours where `interleaved` (GLM-4.1V's decoder), else the first half's
    with the second half's (GLM-4.5V's decoder, both vision towers).
    """
    size = cos_TR.shape[-1]
    turned, rest = x_THd[..., : 2 * size].float(), x_THd[..., 2 * size :]
    cos, sin = cos_TR.unsqueeze(1), sin_TR.unsqueeze(1)
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        out = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    else:
        a, b = turned[..., :size], turned[..., size:]
        out = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return torch.cat([out.to(x_THd.dtype), rest], dim=-1)
