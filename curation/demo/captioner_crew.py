"""Processes that train one model together on a CPU: a share of every batch each, and a thread."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def shared(rows: int, columns: int) -> "Tensor":
    """Zeros in memory that forked processes share."""
    import torch

    zeros = torch.zeros(rows, columns)
    torch.Tensor.share_memory_(zeros)  # type: ignore[no-untyped-call]
    return zeros


@dataclass(frozen=True)
class Crew:
    """Processes that learn together, each from a share of every batch."""

    gradients: "Tensor"
    """Of each process: all of the model's in one row, and the loss."""
    barrier: Any

    def mean(self, module: "nn.Module", loss: float, rank: int) -> float:
        """Gives every process the mean of their gradients; returns that of their losses."""
        import torch

        parameters = list(module.parameters())
        size = sum(p.numel() for p in parameters)
        mine = self.gradients[rank]
        torch.cat([p.grad.flatten() for p in parameters if p.grad is not None], out=mine[:size])
        mine[-1] = loss
        self.barrier.wait()
        mean = self.gradients.mean(0)
        self.barrier.wait()
        at = 0
        for p in parameters:
            p.grad = mean[at : at + p.numel()].view_as(p)
            at += p.numel()
        return float(mean[-1])
