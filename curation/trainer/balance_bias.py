"""Keeps the experts of a mixture equally busy, without and with a loss.

Loss-free balancing (Wang et al. 2024, as GLM-4.5 and DeepSeek-V3 use it): an expert's bias decides
who is chosen, not how much the chosen count. After each step the bias of an expert that got fewer
tokens than the mean goes up by a fixed amount, of one that got more, down. The sequence-level
balance loss is a weak pull against a single sequence that asks a few experts only.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from curation.trainer.distributed import World


class Router(Protocol):
    """What one layer of experts tells of its forward passes."""

    bias: Tensor
    """float32 [experts]: added to the scores when experts are chosen."""
    load: Tensor
    """float32 [experts]: tokens that asked for each since it was last set to zero."""

    def take_balance_loss(self) -> Tensor | None:
        """Mean balance loss of the sequences of the last forward pass, once; null after that."""


class ExpertBalance:
    """Balances all layers of experts of a model; does nothing for one that has none."""

    def __init__(self, routers: Sequence[Router], *, rate: float, weight: float) -> None:
        self._routers, self._rate, self._weight = routers, rate, weight
        self._told = 0.0

    def loss(self, packs: int) -> Tensor | float:
        """Weighted balance loss of the pass just made, as one of `packs` of a step.

        A mean over the packs of all processes and over layers: like the loss it is added to, it
        is normalised over the step.
        """
        losses = [loss for r in self._routers if (loss := r.take_balance_loss()) is not None]
        if not losses:
            return 0.0
        mean = torch.stack(losses).mean() / packs
        self._told += float(mean.detach())
        return self._weight * mean

    @torch.no_grad()
    def update(self, world: World, *, learn: bool) -> dict[str, float]:
        """Moves the biases by what all processes saw in a step, and begins to count again.

        Returns `balance_loss` and `busiest_expert` of the step, nothing without experts. With
        `learn` false (the step updated nothing) biases stay.
        """
        if not self._routers:
            return {}
        loads = torch.stack([router.load.float() for router in self._routers])
        world.sum_in_place(loads)
        mean = loads.mean(dim=1, keepdim=True)
        for router, load, usual in zip(self._routers, loads, mean, strict=True):
            if learn:
                router.bias.add_(self._rate * (usual - load).sign().to(router.bias.dtype))
            router.load.zero_()
        told = world.total([self._told])[0]
        self._told = 0.0
        return {
            "balance_loss": told,
            "busiest_expert": float((loads / mean.clamp(min=1)).max()),
        }
