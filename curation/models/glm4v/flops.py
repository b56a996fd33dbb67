"""Floating-point operations that a model needs for a pack: the honest side of MFU.

Counted are multiplications of matrices, two operations for each multiply-and-add: 6 N a token for a
decoder of N active parameters (embedding left out, padding left out), the head only where a word
is predicted, causal attention as half of each sample's square, the vision tower and projector by
patches. Norms, activations, rotations and interpolation are not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from curation.models.glm4v.batch import IGNORED, PackedBatch
from curation.models.glm4v.config import Glm4vConfig


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of one forward pass, by part."""

    decoder: float
    attention: float
    head: float
    patches: float
    """The tower's first layer: its input needs no gradient."""
    vision: float
    vision_attention: float
    projector: float

    @property
    def forward(self) -> float:
        """All of one forward pass."""
        return self._blocks + self.head + self.patches + self.projector

    @property
    def model(self) -> float:
        """Forward and backward, as the model needs them: what MFU counts."""
        return 3 * self.forward - self.patches

    def hardware(self, *, recompute: bool) -> float:
        """What HFU counts: with `recompute` the blocks' forward pass a second time."""
        return self.model + (self._blocks if recompute else 0.0)

    @property
    def _blocks(self) -> float:
        return self.decoder + self.attention + self.vision + self.vision_attention


def decoder_parameters(config: Glm4vConfig) -> int:
    """Active parameters of the decoder's matrices: what multiplies one token."""
    text, moe = config.text, config.text.moe
    width, head = text.hidden_size, text.head_dim
    attention = 2 * width * head * (text.num_attention_heads + text.num_key_value_heads)
    dense = 3 * width * text.intermediate_size
    layers = text.num_hidden_layers
    if moe is None:
        return layers * (attention + dense)
    below = min(moe.first_k_dense_replace, layers)
    asked = moe.num_experts_per_tok + moe.n_shared_experts
    expert = 3 * width * moe.moe_intermediate_size
    routed = width * moe.n_routed_experts + asked * expert
    return layers * attention + below * dense + (layers - below) * routed


def flops(
    config: Glm4vConfig, *, lengths: Iterable[int], frames: Iterable[int], supervised: int
) -> Flops:
    """For samples of so many tokens, frames of so many patches, and words to predict."""
    text, vision = config.text, config.vision
    lengths, frames = list(lengths), list(frames)
    width, inner, patches = text.hidden_size, vision.hidden_size, sum(frames)
    merge = vision.spatial_merge_size**2
    block = 4 * inner**2 + 3 * inner * width
    projector = merge * inner * width + width**2 + 3 * width * vision.intermediate_size
    heads = text.num_hidden_layers * text.num_attention_heads * text.head_dim
    return Flops(
        decoder=2.0 * decoder_parameters(config) * sum(lengths),
        attention=2.0 * heads * sum(length**2 for length in lengths),
        head=2.0 * width * text.vocab_size * supervised,
        patches=2.0 * vision.patch_values * inner * patches,
        vision=2.0 * vision.depth * block * patches,
        vision_attention=4.0 * vision.depth * inner * sum(frame**2 for frame in frames),
        projector=2.0 * projector * (patches // merge),
    )


def pack_flops(config: Glm4vConfig, batch: PackedBatch) -> Flops:
    """For one pack, best asked before it goes to a GPU."""
    spans = batch.cu_seqlens.diff().tolist()
    return flops(
        config,
        lengths=[n for n, name in zip(spans, batch.sample_families, strict=True) if name],
        frames=[tall * wide for time, tall, wide in batch.grids.tolist() for _ in range(time)],
        supervised=int((batch.labels != IGNORED).sum()),
    )
