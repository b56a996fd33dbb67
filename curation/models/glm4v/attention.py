"""Attention within the segments of a flat pack; nothing is attended to across their borders."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

_KERNEL_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Segments:
    """Where S segments lie in T positions."""

    cu_seqlens: Tensor
    """int32 [S+1]: borders, from 0 to T."""
    max_seqlen: int
    """At least the longest segment's length."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Segments":
        """From the lengths of segments that follow one another."""
        borders = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
        return cls(borders.to(device), max(lengths))

    @cached_property
    def lengths(self) -> list[int]:
        """Of each segment; read from the device, so only where no kernel takes the borders."""
        lengths: list[int] = self.cu_seqlens.diff().tolist()
        return lengths


def attend(q_THd: Tensor, k_TKd: Tensor, v_TKd: Tensor, segments: Segments, causal: bool) -> Tensor:
    """Softmax attention within each segment, [T, H, d]; H is a multiple of K (grouped queries).

    On a GPU in 16 bits torch's variable-length flash kernel; elsewhere
    `scaled_dot_product_attention` segment by segment, segments of equal length in a row being one
    batch. The kernel has not been run in our tests, which have no GPU.
    """
    if q_THd.is_cuda and q_THd.dtype in _KERNEL_DTYPES:
        from torch.nn.attention.varlen import varlen_attn

        borders, longest = segments.cu_seqlens, segments.max_seqlen
        out = varlen_attn(
            q_THd,
            k_TKd,
            v_TKd,
            borders,
            borders,
            longest,
            longest,
            window_size=(-1, 0) if causal else (-1, -1),
            enable_gqa=q_THd.shape[1] != k_TKd.shape[1],
        )
        assert isinstance(out, Tensor)
        return out
    mixed: Tensor = _by_segment(q_THd, k_TKd, v_TKd, segments, causal)
    return mixed


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _by_segment(
    q_THd: Tensor, k_TKd: Tensor, v_TKd: Tensor, segments: Segments, causal: bool
) -> Tensor:
    """Left out of compiled blocks: they would be compiled anew for every pack's lengths."""
    parts, start = [], 0
    for length, run in itertools.groupby(segments.lengths):
        count = len(list(run))
        stop = start + length * count
        if stop > start:
            q, k, v = (
                x[start:stop].view(count, length, *x.shape[1:]) for x in (q_THd, k_TKd, v_TKd)
            )
            parts.append(attend_batch(q, k, v, causal).flatten(0, 1))
        start = stop
    return torch.cat(parts)


def attend_batch(q_BTHd: Tensor, k_BSKd: Tensor, v_BSKd: Tensor, causal: bool) -> Tensor:
    """Softmax attention of T queries to S keys, [B, T, H, d]; `causal` wants T == S."""
    groups = q_BTHd.shape[2] // k_BSKd.shape[2]
    # keys repeated, not enable_gqa: with that the CPU falls back to a kernel of T x S memory
    k_BSHd, v_BSHd = (x.repeat_interleave(groups, dim=2) for x in (k_BSKd, v_BSKd))
    q, k, v = (x.transpose(1, 2) for x in (q_BTHd, k_BSHd, v_BSHd))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
