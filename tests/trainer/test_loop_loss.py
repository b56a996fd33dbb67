"""Chunked cross-entropy against the plain one."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from curation.models.glm4v.batch import IGNORED, PackedBatch
from curation.trainer.loss import cross_entropy, supervision

WORDS, WIDTH = 97, 16


def _case(count: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(count)
    hidden = torch.randn(count, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(WORDS, WIDTH, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(WORDS, (count,)), torch.rand(count)


@pytest.mark.parametrize("chunk", [1, 7, 32, 1024])
def test_loss_and_gradients_equal_the_plain_ones(chunk: int) -> None:
    hidden, weight, labels, weights = _case(45)
    total, losses = cross_entropy(hidden, weight, labels, weights, chunk)
    (3.0 * total).backward()
    ours = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    plain = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    (3.0 * (plain * weights).sum()).backward()
    assert torch.allclose(losses, plain, atol=1e-5)
    assert torch.allclose(total, (plain * weights).sum(), rtol=1e-5)
    for mine, other in zip(ours, (hidden.grad, weight.grad), strict=True):
        assert mine is not None and other is not None
        assert torch.allclose(mine, other, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_summed_in_float32() -> None:
    hidden, weight, labels, weights = _case(300, torch.bfloat16)
    total, _ = cross_entropy(hidden, weight, labels, weights, 16)
    total.backward()
    exact_hidden, exact_weight = hidden.detach().float(), weight.detach().float()
    exact_weight.requires_grad_()
    losses = functional.cross_entropy(exact_hidden @ exact_weight.T, labels, reduction="none")
    (losses * weights).sum().backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx((losses * weights).sum().item(), rel=1e-2)
    assert weight.grad is not None and exact_weight.grad is not None
    error = (weight.grad.float() - exact_weight.grad).norm() / exact_weight.grad.norm()
    assert error < 0.01


def test_nothing_to_learn_has_a_gradient_of_zero() -> None:
    hidden, weight, labels, weights = _case(0)
    total, losses = cross_entropy(hidden, weight, labels, weights, 8)
    total.backward()
    assert total.item() == 0.0 and len(losses) == 0
    assert weight.grad is not None and not weight.grad.any()


def test_whole_logits_never_exist() -> None:
    """The largest tensor made while training is a chunk's logits, not the pack's."""
    hidden, weight, labels, weights = _case(640)
    largest = 0

    class _Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            if isinstance(made, Tensor):
                largest = max(largest, made.numel())
            return made

    with _Watch():
        total, _ = cross_entropy(hidden, weight, labels, weights, 16)
        total.backward()
    assert largest < 640 * WORDS // 4
    assert largest >= 16 * WORDS


def _batch(labels: list[int], borders: list[int], families: list[str]) -> PackedBatch:
    count = len(labels)
    return PackedBatch(
        tokens=torch.zeros(count, dtype=torch.int64),
        labels=torch.tensor(labels),
        positions=torch.zeros(3, count, dtype=torch.int64),
        cu_seqlens=torch.tensor(borders, dtype=torch.int32),
        max_seqlen=max(b - a for a, b in pairwise(borders)),
        pixels=torch.zeros(0, 1176),
        grids=torch.zeros(0, 3, dtype=torch.int64),
        media_tokens=torch.zeros(count, dtype=torch.bool),
        sample_families=families,
        sample_ids=[f"corpus/{n}" for n in range(len(families))],
    )


def test_supervision_names_places_families_and_weights() -> None:
    labels = [IGNORED, 5, 6, IGNORED, 7, 8, 9, 4, IGNORED, IGNORED]
    batch = _batch(labels, [0, 4, 8, 10], ["gui", "ocr", ""])
    token = supervision(batch, ("ocr", "gui"), "token")
    assert token.places.tolist() == [1, 2, 4, 5, 6, 7]
    assert token.labels.tolist() == [5, 6, 7, 8, 9, 4]
    assert token.families.tolist() == [1, 1, 0, 0, 0, 0]
    assert token.weights.tolist() == [1.0] * 6
    root = supervision(batch, ("ocr", "gui"), "sqrt")
    assert root.weights.tolist() == pytest.approx([2**-0.5] * 2 + [0.5] * 4)
