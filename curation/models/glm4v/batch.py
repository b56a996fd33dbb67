"""What a Glm4v model is fed: samples packed one behind another, without padding between them."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""Label of a position where nothing is learnt."""


@dataclass
class PackedBatch:
    """One pack of T tokens in S segments (samples, then padding), with M media of P patches."""

    tokens: Tensor
    """int64 [T]; media placeholders are image or video token ids."""
    labels: Tensor
    """int64 [T]: the token to predict AT each position (already shifted within its sample);
    IGNORED where nothing is learnt."""
    positions: Tensor
    """int64 [3, T]: M-RoPE's time, height, width; they restart in every segment."""
    cu_seqlens: Tensor
    """int32 [S+1]: borders of the segments; padding at the end is a segment of its own."""
    max_seqlen: int
    """At least the longest segment's tokens."""
    pixels: Tensor
    """float32 [P, 3*2*14*14]: patches in the order and layout of transformers' pixel_values, images
    and videos in order of appearance."""
    grids: Tensor
    """int64 [M, 3]: time, height, width in patches, one row a medium, in order of appearance."""
    media_tokens: Tensor
    """bool [T]: positions that take a merged vision embedding, in order."""
    sample_families: list[str]
    """Family of each segment, "" for padding."""
    sample_ids: list[str]
    """`<corpus>/<uid or key>` of each segment."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "PackedBatch":
        """The same pack with its tensors on a device."""
        moved: dict[str, Any] = {
            part.name: value.to(device, non_blocking=non_blocking)
            for part in fields(self)
            if isinstance(value := getattr(self, part.name), Tensor)
        }
        return replace(self, **moved)

    def pin_memory(self) -> "PackedBatch":
        """The same pack in page-locked memory, which a GPU reads asynchronously."""
        pinned: dict[str, Any] = {
            part.name: value.pin_memory()
            for part in fields(self)
            if isinstance(value := getattr(self, part.name), Tensor)
        }
        return replace(self, **pinned)
