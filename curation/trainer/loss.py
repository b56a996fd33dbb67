"""Cross-entropy over the supervised positions only, in chunks: whole logits never exist.

A vocabulary of 151,552 words and a pack of 32,768 tokens make 20 GB of float32 logits. Only
positions with a label need any, and a chunk of them at a time is enough: its share of the gradient
is taken while its logits are at hand (as in Liger-Kernel, Hsu et al. 2024), then they are dropped.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from curation.models.glm4v.batch import IGNORED, PackedBatch

Normalise = Literal["token", "sqrt"]


@dataclass(frozen=True)
class Supervision:
    """What a pack teaches: N supervised positions, in order."""

    places: Tensor
    """int64 [N]: positions in the pack."""
    labels: Tensor
    """int64 [N]: the token to predict at each."""
    weights: Tensor
    """float32 [N]: share of each in the loss, before it is normalised."""
    families: Tensor
    """int64 [N]: family of each, as a place in the `families` given."""


def supervision(batch: PackedBatch, families: tuple[str, ...], normalise: Normalise) -> Supervision:
    """The supervised positions of a pack.

    `token` weighs every token alike. `sqrt` weighs a sample of n supervised tokens by sqrt(n), so
    that long samples count for more than short ones but do not drown them (square averaging,
    InternVL 2.5, Chen et al. 2024).
    """
    places = (batch.labels != IGNORED).nonzero().squeeze(1)
    segments = torch.searchsorted(batch.cu_seqlens.long(), places, right=True) - 1
    counts = torch.bincount(segments, minlength=len(batch.sample_families))
    weights = torch.ones(len(places), device=places.device)
    if normalise == "sqrt":
        weights = counts[segments].float().rsqrt()
    known = {family: place for place, family in enumerate(families)}
    of_segment = torch.tensor(
        [known.get(family, -1) for family in batch.sample_families], device=places.device
    )
    return Supervision(places, batch.labels[places], weights, of_segment[segments])


def cross_entropy(
    hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, weights_N: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the cross-entropies of N positions, and each of them.

    Logits are `hidden_ND @ weight_VD.T`, computed `chunk` positions at a time; softmax and sums are
    float32 whatever the inputs are. The sum (float32, a scalar) has gradients for `hidden_ND` and
    `weight_VD`, that of the latter gathered in float32 and rounded once; the losses (float32 [N])
    are for the log and have none.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    total, losses = _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, labels_N, weights_N, chunk)
    return total, losses


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        labels_N: Tensor,
        weights_N: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        learns = any(ctx.needs_input_grad[:2])
        grad_ND = torch.zeros_like(hidden_ND) if learns else None
        grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if learns else None
        losses_N = torch.zeros(len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, len(labels_N), chunk):
            part = slice(start, start + chunk)
            labels_n1 = labels_N[part].unsqueeze(1)
            logits_nV = (hidden_ND[part] @ weight_VD.T).float()
            chosen_n1 = logits_nV.gather(1, labels_n1)
            norm_n1 = logits_nV.logsumexp(1, keepdim=True)
            losses_N[part] = (norm_n1 - chosen_n1).squeeze(1)
            if grad_ND is None or grad_VD is None:
                continue
            slope_nV = logits_nV.sub_(norm_n1).exp_()
            slope_nV.scatter_add_(1, labels_n1, torch.full_like(chosen_n1, -1.0))
            slope_nV = slope_nV.mul_(weights_N[part].unsqueeze(1)).to(weight_VD.dtype)
            grad_ND[part] = slope_nV @ weight_VD
            grad_VD += slope_nV.T @ hidden_ND[part]
        ctx.mark_non_differentiable(losses_N)
        if grad_ND is not None and grad_VD is not None:
            ctx.save_for_backward(grad_ND, grad_VD.to(weight_VD.dtype))
        return (losses_N * weights_N).sum(), losses_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_ND, grad_VD = ctx.saved_tensors
        return grad_ND * grads[0].to(grad_ND.dtype), grad_VD * grads[0].to(grad_VD.dtype), *_NONE


_NONE = (None, None, None)
