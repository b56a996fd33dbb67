"""Experts with sigmoid routing, a bias that balances them, and one that is always asked."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from curation.models.glm4v.config import MoeConfig
from curation.models.glm4v.layers import SwiGLU


class Routed(NamedTuple):
    """What one layer's router did in one pass."""

    load_E: Tensor
    """float32: tokens that asked for each expert, padding left out."""
    balance: Tensor
    """Sequence-level balance loss, a scalar: see `balance_loss`."""


class Router(nn.Module):
    """Chooses experts by sigmoid score plus bias, weighs them by score (DeepSeek-V3, GLM-4.5).

    Scores are taken in float32; under mixed precision weights come in rounded, as all others do.
    What a pass did is added by `count`, outside the pass itself, so that a pass repeated to spare
    memory counts once.
    """

    bias: Tensor
    """float32 [E]: decides who is chosen, not how much the chosen count; not learnt by gradient."""
    load: Tensor
    """float32 [E]: tokens that asked for each expert since it was last set to zero."""

    def __init__(self, width: int, config: MoeConfig) -> None:
        super().__init__()
        self.config = config
        experts = config.n_routed_experts
        self.weight = nn.Parameter(torch.empty(experts, width, dtype=torch.float32))
        self.register_buffer("bias", torch.zeros(experts, dtype=torch.float32))
        self.register_buffer("load", torch.zeros(experts, dtype=torch.float32), persistent=False)
        self._balance: Tensor | None = None

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [T, E], weights [T, chosen] and int64 experts [T, chosen]."""
        with torch.autocast(x_TD.device.type, enabled=False):
            scores_TE = functional.linear(x_TD.float(), self.weight.float()).sigmoid()
        chosen = (scores_TE.detach() + self.bias).topk(self.config.num_experts_per_tok).indices
        weights = scores_TE.gather(1, chosen)
        if self.config.norm_topk_prob:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        return scores_TE, weights * self.config.routed_scaling_factor, chosen

    def count(self, routed: Routed) -> None:
        """Takes note of a pass."""
        self.load += routed.load_E
        self._balance = routed.balance

    def take_balance_loss(self) -> Tensor | None:
        """Balance loss of the last pass, once; null after that."""
        balance, self._balance = self._balance, None
        return balance


def balance_loss(scores_TE: Tensor, asked_TE: Tensor, segments: Tensor, real_S: Tensor) -> Tensor:
    """Sequence-level balance loss (DeepSeek-V3, Liu et al. 2024, eq. 17-20), a scalar.

    For a sequence: the sum over experts of f * p, f being the expert's share of what was asked for
    times the number of experts, p its mean normalised score; 1 where all are asked alike. Mean over
    the segments that are `real_S` (float32 [S]) and not empty. `segments` is int64 [T], the segment
    of each position; `asked_TE` is float32, 1 where a position asks for an expert.
    """
    experts, count = scores_TE.shape[1], len(real_S)
    shares_TE = scores_TE / (scores_TE.sum(dim=-1, keepdim=True) + 1e-20)
    zero_SE = scores_TE.new_zeros(count, experts)
    asked_SE = zero_SE.index_add(0, segments, asked_TE)
    shares_SE = zero_SE.index_add(0, segments, shares_TE)
    f_SE = asked_SE * experts / asked_SE.sum(dim=-1, keepdim=True).clamp(min=1)
    p_SE = shares_SE / shares_SE.sum(dim=-1, keepdim=True).clamp(min=1e-20)
    losses_S = (f_SE * p_SE).sum(dim=-1)
    counted_S = real_S * (asked_SE.sum(dim=-1) > 0)
    return (losses_S * counted_S).sum() / counted_S.sum().clamp(min=1)


class Experts(nn.Module):
    """E SwiGLUs as two tensors."""

    def __init__(self, width: int, config: MoeConfig) -> None:
        super().__init__()
        experts, inner = config.n_routed_experts, config.moe_intermediate_size
        self.gate_up = nn.Parameter(torch.empty(experts, 2 * inner, width))
        self.down = nn.Parameter(torch.empty(experts, width, inner))

    def forward(self, x_TD: Tensor, weights: Tensor, chosen: Tensor, load_E: Tensor) -> Tensor:
        """Weighted sum of the chosen experts' answers, [T, D]; `load_E` is how many ask each.

        Positions are sorted by expert, so that each expert multiplies once: on a GPU in bfloat16
        all in one kernel (not run in our tests, which have no GPU), elsewhere one by one.
        """
        asked = chosen.flatten()
        order = asked.argsort(stable=True)
        x_ND = x_TD[order // chosen.shape[1]]
        counts_E = load_E.long()
        if x_TD.is_cuda and x_TD.dtype == torch.bfloat16:
            ends = counts_E.cumsum(0).int()
            y_ND = grouped_linear(
                _swiglu(grouped_linear(x_ND, self.gate_up, ends)), self.down, ends
            )
        else:
            parts = torch.split(x_ND, counts_E.tolist())
            y_ND = torch.cat(
                [
                    functional.linear(_swiglu(functional.linear(x, gate_up)), down)
                    for x, gate_up, down in zip(parts, self.gate_up, self.down, strict=True)
                ]
            )
        y_TKD = y_ND[order.argsort()].view(*chosen.shape, -1)
        out_TD: Tensor = (y_TKD * weights.to(y_TKD.dtype)[..., None]).sum(dim=1)
        return out_TD


def _swiglu(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def grouped_linear(x_ND: Tensor, weight: Tensor, ends_E: Tensor) -> Tensor:
    """Rows up to each of `ends_E` (int32) times that expert's matrix, [E, out, in]."""
    matrix = weight.to(x_ND.dtype).transpose(-2, -1)
    return functional.grouped_mm(x_ND, matrix, offs=ends_E)


class MoE(nn.Module):
    """Routed experts and the shared one."""

    def __init__(self, width: int, config: MoeConfig) -> None:
        super().__init__()
        self.router = Router(width, config)
        self.experts = Experts(width, config)
        self.shared = SwiGLU(width, config.moe_intermediate_size * config.n_shared_experts)

    def forward(self, x_TD: Tensor, segments: Tensor, real_S: Tensor) -> tuple[Tensor, Routed]:
        """[T, D] to [T, D]; `segments` and `real_S` as in `balance_loss`."""
        scores_TE, weights, chosen = self.router(x_TD)
        asked_TE = torch.zeros_like(scores_TE).scatter(1, chosen, 1.0)
        routed = Routed(
            load_E=(asked_TE * real_S[segments][:, None]).sum(dim=0),
            balance=balance_loss(scores_TE, asked_TE, segments, real_S),
        )
        return self.experts(x_TD, weights, chosen, asked_TE.sum(dim=0)) + self.shared(x_TD), routed
