"""The formula of MFU against operations that torch counted."""

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from curation.models.glm4v.batch import IGNORED
from curation.models.glm4v.flops import pack_flops
from curation.models.glm4v.model import Glm4v
from tests.models.glm4v.packs import pack, sample, small

SHAPES = [(5, (1, 4, 6), 7), (30,), (2, (2, 2, 4), 3, (4, 6, 2), 1)]


def counted(model, batch, *, backward):
    learnt = batch.labels != IGNORED
    # torch counts attention only where it is made of plain multiplications
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logits = model.head(model(batch)[learnt])
        loss = functional.cross_entropy(logits, batch.labels[learnt])
        if backward:
            loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_the_formula_is_what_torch_counts(kind, generator):
    torch.manual_seed(0)
    model = Glm4v.for_causal(small(kind)).train()
    batch = pack(*(sample(generator, *shape) for shape in SHAPES))
    told = pack_flops(model.config, batch)
    # torch counts causal attention as a whole square, the formula as half of one
    assert counted(model, batch, backward=False) == told.forward + told.attention
    assert counted(model, batch, backward=True) == told.model + 3 * told.attention
    assert told.hardware(recompute=False) == told.model
    again = told.decoder + told.attention + told.vision + told.vision_attention
    assert told.hardware(recompute=True) == told.model + again


def test_padding_is_no_work(generator):
    words = sample(generator, 30)
    config = small("dense")
    assert pack_flops(config, pack(words)) == pack_flops(config, pack(words, padding=40))
