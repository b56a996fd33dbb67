"""The vision tower (AIMv2-like, at native resolution) and the projector into the decoder's width.

P patches of all media lie one behind another, those of a merged 2 x 2 square together. Attention
stays within a frame.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from curation.models.glm4v.attention import Segments, attend
from curation.models.glm4v.config import Glm4vConfig, VisionConfig
from curation.models.glm4v.layers import RMSNorm, SwiGLU
from curation.models.glm4v.rope import rotate, vision_rope


@dataclass(frozen=True)
class PatchLayout:
    """Where patches lie."""

    places_P2: Tensor
    """float32: row and column in the frame, as a share of its sides, in [-1, 1]."""
    cos: Tensor
    sin: Tensor
    frames: Segments

    @classmethod
    def of(cls, grids: Tensor, config: VisionConfig) -> "PatchLayout":
        """From int [M, 3] grids of time, height and width in patches; they are read once."""
        merge = config.spatial_merge_size
        rows, columns, places, lengths = [], [], [], []
        for time, tall, wide in grids.tolist():
            row = torch.arange(tall).view(tall // merge, 1, merge, 1)
            column = torch.arange(wide).view(1, wide // merge, 1, merge)
            shape = (tall // merge, wide // merge, merge, merge)
            row, column = (x.expand(shape).flatten().repeat(time) for x in (row, column))
            places.append(torch.stack([(column + 0.5) / wide, (row + 0.5) / tall], dim=-1))
            rows.append(row)
            columns.append(column)
            lengths += [tall * wide] * time
        device = grids.device
        cos, sin = vision_rope(torch.cat(rows), torch.cat(columns), config)
        places_P2 = torch.cat(places) * 2 - 1
        return cls(
            places_P2.to(device), cos.to(device), sin.to(device), Segments.of(lengths, device)
        )


class VisionAttention(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x_PC: Tensor, layout: PatchLayout) -> Tensor:
        q, k, v = self.qkv(x_PC).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = (rotate(x, layout.cos, layout.sin, interleaved=False) for x in (q, k))
        out: Tensor = self.proj(attend(q, k, v, layout.frames, causal=False).flatten(1))
        return out


class VisionBlock(nn.Module):
    def __init__(self, config: VisionConfig, inner: int) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attn = VisionAttention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config.hidden_size, inner)

    def forward(self, x_PC: Tensor, layout: PatchLayout) -> Tensor:
        x_PC = x_PC + self.attn(self.attn_norm(x_PC), layout)
        out: Tensor = x_PC + self.mlp(self.mlp_norm(x_PC))
        return out


class Merger(nn.Module):
    """The projector: an MLP on merged patches."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.mlp = SwiGLU(width, inner)

    def forward(self, x_ND: Tensor) -> Tensor:
        out: Tensor = self.mlp(functional.gelu(self.norm(self.proj(x_ND))))
        return out


class VisionTower(nn.Module):
    """Patches to embeddings of the decoder's width, one for each merged square."""

    def __init__(self, config: Glm4vConfig) -> None:
        super().__init__()
        vision, width = config.vision, config.text.hidden_size
        self.config = vision
        side, depth = vision.patch_size, vision.temporal_patch_size
        kernel, merge = (depth, side, side), vision.spatial_merge_size
        self.patch = nn.Conv3d(3, vision.hidden_size, kernel, stride=kernel)
        self.patch_norm = RMSNorm(vision.hidden_size, vision.rms_norm_eps)
        self.position = nn.Embedding((vision.image_size // side) ** 2, vision.hidden_size)
        self.blocks = nn.ModuleList(VisionBlock(vision, width) for _ in range(vision.depth))
        self.norm = RMSNorm(vision.hidden_size, vision.rms_norm_eps)
        self.downsample = nn.Conv2d(vision.hidden_size, width, merge, stride=merge)
        self.merger = Merger(width, vision.intermediate_size)

    def forward(self, pixels: Tensor, grids: Tensor) -> Tensor:
        """[P, patch values] and int [M, 3] to [P / merged patches, D]."""
        layout = PatchLayout.of(grids, self.config)
        side, depth = self.config.patch_size, self.config.temporal_patch_size
        patches = pixels.view(-1, 3, depth, side, side).to(self.patch.weight.dtype)
        x_PC = self.patch_norm(self.patch(patches).flatten(1))
        x_PC = x_PC + self._absolute(layout.places_P2).to(x_PC.dtype)
        for block in self.blocks:
            x_PC = block(x_PC, layout)
        merge = self.config.spatial_merge_size
        squares = self.norm(x_PC).unflatten(0, (-1, merge, merge)).permute(0, 3, 1, 2)
        merged: Tensor = self.merger(self.downsample(squares).flatten(1))
        return merged

    def _absolute(self, places_P2: Tensor) -> Tensor:
        """Learnt positions, interpolated bicubically to where each patch lies; [P, C]."""
        table = self.position.weight.float()
        side = self.config.image_size // self.config.patch_size
        table_1CSS = table.view(side, side, -1).permute(2, 0, 1)[None]
        found = functional.grid_sample(
            table_1CSS,
            places_P2[None, :, None],
            mode="bicubic",
            padding_mode="border",
            align_corners=False,
        )
        return found[0, :, :, 0].T
