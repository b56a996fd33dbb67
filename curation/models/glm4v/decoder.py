"""A layer of the decoder: grouped-query attention with M-RoPE, then an MLP or experts."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from curation.models.glm4v.attention import Segments, attend, attend_batch
from curation.models.glm4v.batch import PackedBatch
from curation.models.glm4v.config import TextConfig
from curation.models.glm4v.layers import RMSNorm, SwiGLU
from curation.models.glm4v.moe import MoE, Routed
from curation.models.glm4v.rope import rotate, text_rope


@dataclass(frozen=True)
class TokenLayout:
    """Where T tokens lie. Not a tuple of tensors: FSDP would round cosines to 16 bits."""

    cos: Tensor
    sin: Tensor
    segments: Segments
    segment_T: Tensor
    """int64: the segment of each token."""
    real_S: Tensor
    """float32: 1 for samples, 0 for padding."""

    @classmethod
    def of(cls, batch: PackedBatch, config: TextConfig) -> "TokenLayout":
        borders = batch.cu_seqlens
        places = torch.arange(len(batch.tokens), device=borders.device, dtype=borders.dtype)
        real = [float(bool(family)) for family in batch.sample_families]
        return cls(
            *text_rope(batch.positions, config),
            segments=Segments(borders, batch.max_seqlen),
            segment_T=torch.searchsorted(borders, places, right=True) - 1,
            real_S=torch.tensor(real, device=borders.device),
        )


@dataclass
class KeyValues:
    """Keys and values of one sequence so far, for one layer."""

    keys: Tensor
    """[capacity, K, d]"""
    values: Tensor
    length: int = field(default=0)

    def extend(self, k_TKd: Tensor, v_TKd: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, with those of T more tokens."""
        start, self.length = self.length, self.length + len(k_TKd)
        self.keys[start : self.length] = k_TKd
        self.values[start : self.length] = v_TKd
        return self.keys[: self.length], self.values[: self.length]


class Attention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_dim
        self.head_dim = head
        self.interleaved = config.moe is None
        self.q = nn.Linear(width, config.num_attention_heads * head)
        self.k = nn.Linear(width, config.num_key_value_heads * head)
        self.v = nn.Linear(width, config.num_key_value_heads * head)
        self.o = nn.Linear(config.num_attention_heads * head, width, bias=False)

    def forward(self, x_TD: Tensor, layout: TokenLayout, cache: KeyValues | None) -> Tensor:
        q, k, v = (p(x_TD).unflatten(-1, (-1, self.head_dim)) for p in (self.q, self.k, self.v))
        q, k = (rotate(x, layout.cos, layout.sin, interleaved=self.interleaved) for x in (q, k))
        if cache is not None and cache.length:  # one more token, which sees all before it
            k, v = cache.extend(k, v)
            mixed = attend_batch(q[None], k[None], v[None], causal=False)[0]
        else:
            if cache is not None:
                cache.extend(k, v)
            mixed = attend(q, k, v, layout.segments, causal=True)
        out: Tensor = self.o(mixed.flatten(1))
        return out


class Block(nn.Module):
    """One layer. Without experts (GLM-4.1V) what attention and MLP add is normed too."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        sandwich = config.moe is None
        self.attn_norm = RMSNorm(width, eps)
        self.attn = Attention(config)
        self.attn_post_norm = RMSNorm(width, eps) if sandwich else nn.Identity()
        self.mlp_norm = RMSNorm(width, eps)
        self.mlp: nn.Module
        if config.moe is not None and config.has_experts(layer):
            self.mlp = MoE(width, config.moe)
        else:
            self.mlp = SwiGLU(width, config.intermediate_size)
        self.mlp_post_norm = RMSNorm(width, eps) if sandwich else nn.Identity()

    def forward(
        self, x_TD: Tensor, layout: TokenLayout, cache: KeyValues | None = None
    ) -> tuple[Tensor, Routed | None]:
        """[T, D] to [T, D], and what the experts' router did, if there are any."""
        x_TD = x_TD + self.attn_post_norm(self.attn(self.attn_norm(x_TD), layout, cache))
        normed = self.mlp_norm(x_TD)
        routed = None
        if isinstance(self.mlp, MoE):
            added, routed = self.mlp(normed, layout.segment_T, layout.real_S)
        else:
            added = self.mlp(normed)
        return x_TD + self.mlp_post_norm(added), routed
