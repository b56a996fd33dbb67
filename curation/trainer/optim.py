"""AdamW with its parameter groups, and the clipped step."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def adamw(
    model: nn.Module,
    *,
    rate: float,
    decay: float,
    betas: tuple[float, float],
    eps: float,
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of `model`, fused where the device has a fused kernel.

    Matrices decay; vectors (norms, biases) and embeddings do not: decay would pull the scale of a
    norm to zero, and the rows of words that a corpus lacks.
    """
    spared = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decaying = [p for _, p in named if p.ndim > 1 and id(p) not in spared]
    still = [p for _, p in named if p.ndim <= 1 or id(p) in spared]
    groups = [
        {"params": params, "weight_decay": amount}
        for params, amount in ((decaying, decay), (still, 0.0))
        if params
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=_has_fused(named))


def _has_fused(named: list[tuple[str, nn.Parameter]]) -> bool:
    return all(p.device.type in ("cuda", "cpu") and p.is_floating_point() for _, p in named)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip(parameters: Iterable[Tensor], most: float) -> float:
    """Scales the gradients down to a norm of `most` over all ranks; returns the norm before."""
    norm = nn.utils.clip_grad_norm_(parameters, most)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def clipped_step(optimiser: torch.optim.Optimizer, model: nn.Module, most: float) -> float:
    """One update with clipped gradients; returns their norm.

    Nothing is updated where the norm is not finite. The norm is of the whole gradient, so every
    rank decides alike. The gradients are gone afterwards.
    """
    norm = clip(model.parameters(), most)
    if math.isfinite(norm):
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm
