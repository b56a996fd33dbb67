"""Learning rate by step."""

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["cosine", "wsd"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up, then cosine, or warm-up, stable and decay (WSD, Hu et al. 2024, MiniCPM)."""

    shape: Shape = "cosine"
    steps: int
    """Steps of the whole run; after the last the rate is `floor`."""
    warmup: int = 0
    """Steps that the rate takes to its peak."""
    floor: float = 0.1
    """Rate at the end, as a share of the peak."""
    decay: float = 0.2
    """Share of the steps in which `wsd` goes down."""

    def __post_init__(self) -> None:
        if self.shape not in ("cosine", "wsd"):
            raise ValueError(f"schedule must be cosine or wsd, got {self.shape!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup must be 0 to steps ({self.steps}), got {self.warmup}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be 0 to 1, got {self.floor}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be 0 to 1, got {self.decay}")

    def share(self, step: int) -> float:
        """Share of the peak rate at `step`, from 1: `warmup` reaches it, `steps` the floor."""
        if step < self.warmup:
            return step / self.warmup
        if self.shape == "cosine":
            start, bend = self.warmup, _cosine
        else:
            start, bend = max(self.warmup, self.steps - round(self.decay * self.steps)), _linear
        if step <= start:
            return 1.0
        done = min(1.0, (step - start) / (self.steps - start))
        return self.floor + (1 - self.floor) * bend(done)


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


def _linear(done: float) -> float:
    return 1 - done
