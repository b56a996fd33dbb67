"""What a pack costs a model, for grouping packs and for a plan's cost."""

from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.flops import decoder_parameters, flops
from curation.trainer.packing import CostWeights


def cost_weights(config: Glm4vConfig) -> CostWeights:
    """FLOPs, forward and backward, by what a plan knows of a pack (curation.models.glm4v.flops)."""
    merged = config.vision.spatial_merge_size**2
    words = flops(config, lengths=[1], frames=[], supervised=0)
    frame = flops(config, lengths=[], frames=[merged], supervised=0)
    learnt = flops(config, lengths=[], frames=[], supervised=1)
    return CostWeights(
        token=6.0 * decoder_parameters(config),
        square=3.0 * words.attention,
        patch=(frame.model - 3.0 * frame.vision_attention) / merged,
        patch_square=3.0 * frame.vision_attention / merged**2,
        supervised=learnt.model,
    )
