"""Samples in one pack do not see each other, whatever they hold."""

import copy

import pytest
import torch
from torch.nn import functional

from curation.models.glm4v.batch import IGNORED
from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.positions import rope_positions
from tests.models.glm4v.packs import assert_close, pack, sample, small

SHAPES = [(5, (1, 4, 6), 7), (6,), (2, (2, 2, 4), 3, (4, 6, 2), 1), ((1, 2, 2), 4, (2, 4, 4), 3)]
"""An image, words, two videos, an image and a video."""


def loss_of(model, batch):
    logits = model.head(model(batch))
    return logits, functional.cross_entropy(
        logits, batch.labels, ignore_index=IGNORED, reduction="sum"
    )


def test_a_packed_sample_is_what_it_is_alone(pair, generator):
    samples = [sample(generator, *shape) for shape in SHAPES]
    packed, _ = loss_of(pair.ours, pack(*samples, padding=5))
    start = 0
    for one in samples:
        alone, _ = loss_of(pair.ours, pack(one))
        stop = start + len(alone)
        torch.testing.assert_close(packed[start:stop], alone, rtol=0, atol=1e-5)
        start = stop


def test_gradients_of_a_pack_are_the_sum_of_those_alone(pair, generator):
    """To 1e-5 of each weight's largest. What is left is the order of sums: 6e-7 as measured, and
    1e-15 in float64."""
    samples = [sample(generator, *shape) for shape in SHAPES]
    model = copy.deepcopy(pair.ours).train()

    def gradients(*parts):
        model.zero_grad(set_to_none=True)
        for part in parts:
            loss_of(model, part)[1].backward()
        return {name: weight.grad for name, weight in model.named_parameters()}

    together = gradients(pack(*samples, padding=5))
    apart = gradients(*(pack(one) for one in samples))
    for name, wanted in apart.items():
        assert_close(together[name], wanted, 1e-5, name)


def test_nothing_flows_from_one_sample_to_another(pair, generator):
    samples = [sample(generator, *shape) for shape in SHAPES]
    batch = pack(*samples)
    batch.pixels.requires_grad_()
    lengths = batch.cu_seqlens.diff().tolist()
    second = slice(lengths[0], lengths[0] + lengths[1])
    pair.ours(batch)[second].sum().backward()
    assert not batch.pixels.grad.any()

    changed = pack(sample(generator, *SHAPES[0]), *samples[1:])
    with torch.no_grad():
        before, after = pair.ours(batch), pair.ours(changed)
    assert torch.equal(before[lengths[0] :], after[lengths[0] :])
    assert not torch.equal(before[: lengths[0]], after[: lengths[0]])


def test_a_pack_without_media_runs_the_vision_tower_in_training_only(generator):
    model = Glm4v.for_causal(small("dense"))
    batch = pack(sample(generator, 9))
    model.train()
    trained = model(batch)
    trained.sum().backward()
    for name, weight in model.vision.named_parameters():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name
    model.zero_grad(set_to_none=True)
    answered = model.eval()(batch)
    answered.sum().backward()
    assert all(weight.grad is None for weight in model.vision.parameters())
    assert torch.equal(trained, answered)


def test_segments_without_tokens_change_nothing(pair, generator):
    batch = pack(*(sample(generator, *shape) for shape in SHAPES))
    longer = copy.copy(batch)
    longer.cu_seqlens = torch.cat([batch.cu_seqlens, batch.cu_seqlens[-1:].repeat(3)])
    longer.sample_families = [*batch.sample_families, "", "", ""]
    with torch.no_grad():
        assert torch.equal(pair.ours(batch), pair.ours(longer))


def test_media_tokens_that_no_grid_explains_are_refused():
    media = torch.tensor([False, True, True, False])
    grids = torch.tensor([[1, 2, 2]])
    with pytest.raises(ValueError, match="2 media tokens for grids of 1"):
        rope_positions(media, torch.tensor([0, 4]), grids)


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_autocast_and_bfloat16_weights_come_near_float32(kind, generator):
    batch = pack(*(sample(generator, *shape) for shape in SHAPES))
    torch.manual_seed(0)
    model = Glm4v.for_causal(small(kind)).eval()
    exact = model.head(model(batch))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.head(model(batch))
    torch.manual_seed(0)
    short = Glm4v.for_causal(small(kind), dtype=torch.bfloat16).eval()
    assert all(router.weight.dtype == torch.float32 for router in short.routers())
    halved = short.head(short(batch))
    assert mixed.dtype == halved.dtype == torch.bfloat16
    assert_close(mixed.float(), exact, 0.05, "autocast")
    assert_close(halved.float(), exact, 0.2, "bfloat16")
