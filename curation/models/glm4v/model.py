"""The whole model: what a pack's tokens and media become, before words are chosen.

Letters of shapes: T tokens of a pack, D the decoder's width, H heads, K heads of keys and values,
d a head's width, P patches, C the vision tower's width, E experts, S segments.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from curation.models.glm4v.batch import PackedBatch
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.decoder import Block, KeyValues, TokenLayout
from curation.models.glm4v.layers import RMSNorm
from curation.models.glm4v.moe import Experts, MoE, Routed, Router
from curation.models.glm4v.vision import VisionTower

INIT_STD = 0.02
"""Standard deviation of new weights, as in transformers' Glm4v."""


class Glm4v(nn.Module):
    """GLM-4.1V or GLM-4.5V by its configuration."""

    def __init__(self, config: Glm4vConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        self.vision = VisionTower(config)
        self.embed = nn.Embedding(text.vocab_size, text.hidden_size)
        self.layers = nn.ModuleList(Block(text, n) for n in range(text.num_hidden_layers))
        self.norm = RMSNorm(text.hidden_size, text.rms_norm_eps)
        self.head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)

    @classmethod
    def for_causal(
        cls,
        config: Glm4vConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Glm4v":
        """A new model with random weights (`torch.manual_seed` decides them).

        On the meta device it has shapes only: `to_empty`, then `init_weights` or a checkpoint.
        Routers stay float32 whatever `dtype` is.
        """
        with _default_dtype(dtype), torch.device(device):
            model = cls(config)
        if torch.device(device).type != "meta":
            model.init_weights()
        return model

    @torch.no_grad()
    def init_weights(self) -> None:
        """New weights: normal of INIT_STD; norms one, biases zero."""
        for module in self.modules():
            if isinstance(module, nn.RMSNorm | nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, Experts):
                nn.init.normal_(module.gate_up, std=INIT_STD)
                nn.init.normal_(module.down, std=INIT_STD)
            elif isinstance(module, Router):
                nn.init.normal_(module.weight, std=INIT_STD)
                module.bias.zero_()
                module.load.zero_()
            elif isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d | nn.Conv3d):
                nn.init.normal_(module.weight, std=INIT_STD)
                if not isinstance(module, nn.Embedding) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Hidden states [T, D] after the final norm; `head` makes logits of them.

        In training the vision tower takes part without media too, so that no rank of FSDP waits
        for one that has none.
        """
        return self.decode(self.embeddings(batch), TokenLayout.of(batch, self.config.text))

    def embeddings(self, batch: PackedBatch) -> Tensor:
        """Words and media as the decoder takes them, [T, D]."""
        x_TD: Tensor = self.embed(batch.tokens)
        if len(batch.grids):
            media = self.vision(batch.pixels, batch.grids).to(x_TD.dtype)
            return x_TD.masked_scatter(batch.media_tokens[:, None], media)
        if self.training:
            merge = self.config.vision.spatial_merge_size
            grid = torch.tensor([[1, merge, merge]], device=x_TD.device)
            blank = torch.zeros(merge**2, self.config.vision.patch_values, device=x_TD.device)
            x_TD = x_TD + 0 * self.vision(blank, grid).sum().to(x_TD.dtype)
        return x_TD

    def decode(
        self, x_TD: Tensor, layout: TokenLayout, caches: list[KeyValues] | None = None
    ) -> Tensor:
        """Hidden states [T, D] of embeddings; `caches`, one a layer, hold the tokens before."""
        passes: list[Routed] = []
        for number, block in enumerate(self.layers):
            x_TD, routed = block(x_TD, layout, caches and caches[number])
            passes += [routed] if routed is not None else []
        if self.training:
            for router, routed in zip(self.routers(), passes, strict=True):
                router.count(routed)
        out: Tensor = self.norm(x_TD)
        return out

    def routers(self) -> list[Router]:
        """Routers of the layers with experts, from the bottom."""
        return [block.mlp.router for block in self.layers if isinstance(block.mlp, MoE)]


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
