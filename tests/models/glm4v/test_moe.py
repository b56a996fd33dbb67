"""Routing of experts, and what balances it."""

import copy

import pytest
import torch

from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.moe import Router, balance_loss, grouped_linear
from tests.models.glm4v.packs import pack, sample, small


@pytest.fixture
def model() -> Glm4v:
    torch.manual_seed(1)
    return Glm4v.for_causal(small("moe")).train()


def test_the_bias_decides_who_is_chosen_and_not_how_much_they_count():
    moe = small("moe").text.moe
    router = Router(8, moe)
    torch.nn.init.normal_(router.weight)
    x = torch.randn(5, 8)
    scores, _, before = router(x)
    router.bias[3] = 10
    _, weights, chosen = router(x)
    assert (chosen == 3).any(dim=1).all()
    assert not torch.equal(before.sort().values, chosen.sort().values)
    picked = scores.gather(1, chosen)
    torch.testing.assert_close(weights, picked / picked.sum(1, keepdim=True))


def test_load_counts_what_samples_ask_for_until_it_is_cleared(model, generator):
    words = [sample(generator, 9), sample(generator, 4)]
    model(pack(*words, padding=6))
    asked = small("moe").text.moe.num_experts_per_tok
    (router,) = model.routers()
    assert router.load.sum() == 13 * asked
    alone = copy.deepcopy(router.load)
    model(pack(*words))
    assert torch.equal(router.load, 2 * alone)
    model.eval()(pack(*words))
    assert torch.equal(router.load, 2 * alone)


def test_balance_loss_is_taken_once_and_reaches_the_router(model, generator):
    (router,) = model.routers()
    assert router.take_balance_loss() is None
    model(pack(sample(generator, 9), padding=6))
    router.take_balance_loss().backward()
    assert router.weight.grad.any()
    assert router.take_balance_loss() is None


def test_balance_loss_is_the_mean_over_samples_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(7, 4, generator=generator)
    asked = torch.zeros(7, 4).scatter(1, scores.topk(2).indices, 1.0)
    segments = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    wanted = []
    for part in (slice(0, 3), slice(3, 5)):  # the third is padding
        f = asked[part].sum(0) * 4 / (2 * len(asked[part]))
        p = (scores[part] / scores[part].sum(1, keepdim=True)).mean(0)
        wanted.append((f * p).sum())
    found = balance_loss(scores, asked, segments, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def test_experts_asked_alike_lose_one():
    scores, asked = torch.full((4, 4), 0.5), torch.eye(4)
    found = balance_loss(scores, asked, torch.zeros(4, dtype=torch.int64), torch.ones(1))
    assert found.item() == pytest.approx(1.0)


def test_the_grouped_kernel_is_each_expert_by_itself():
    x = torch.randn(9, 16)
    weight = torch.randn(3, 32, 16)
    results = []
    for grouped in (True, False):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        if grouped:  # the second expert is asked nothing
            out = grouped_linear(*inputs, torch.tensor([4, 4, 9], dtype=torch.int32))
        else:
            parts = inputs[0].split([4, 0, 5])
            out = torch.cat([part @ one.T for part, one in zip(parts, inputs[1], strict=True)])
        (out * torch.arange(32.0)).sum().backward()
        results.append((out, inputs[0].grad, inputs[1].grad))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_pass_repeated_to_spare_memory_counts_once(model, generator):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    batch = pack(sample(generator, 9, (1, 4, 4)))
    model(batch).sum().backward()
    gradient = model.embed.weight.grad.clone()
    (router,) = model.routers()
    once = router.load.clone()
    router.load.zero_()
    model.zero_grad(set_to_none=True)
    for number, block in enumerate(model.layers):
        model.layers[number] = checkpoint_wrapper(block)
    model(batch).sum().backward()
    (router,) = model.routers()
    assert torch.equal(router.load, once)
    assert torch.equal(model.embed.weight.grad, gradient)
