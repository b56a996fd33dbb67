"""Steps whose loss or gradient is far from what the steps before had."""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Spike:
    """One measure of one step that stands out."""

    kind: str
    """loss or gradient."""
    value: float
    usual: float
    """Median of the steps before."""

    def __str__(self) -> str:
        return f"{self.kind} {self.value:.4g}, usually {self.usual:.4g}"


@dataclass(kw_only=True)
class SpikeDetector:
    """Compares each step with the median of the last steps.

    Median and median absolute deviation, not mean and deviation: a spike must not hide the next.
    """

    window: int = 128
    """Steps looked back on."""
    least: int = 16
    """Steps that a median is taken of."""
    early: float = 3.0
    """Before that, what is so often the highest yet is a spike: loss falls and gradients wander in
    the first steps, but a run that breaks at once, or a short one, must not go unnoticed."""
    deviations: float = 8.0
    """Deviations (1.4826 x the median absolute one) above the median that make a spike."""
    factor: float = 1.2
    """And at least this many medians, so that a flat stretch makes no spike of a ripple."""
    _losses: deque[float] = field(default_factory=deque)
    _norms: deque[float] = field(default_factory=deque)

    def see(self, loss: float, norm: float) -> list[Spike]:
        """The spikes of a step; it joins the window unless it is not finite."""
        found = []
        for kind, value, seen in (("loss", loss, self._losses), ("gradient", norm, self._norms)):
            if not math.isfinite(value):
                found.append(Spike(kind, value, median(seen) if seen else math.nan))
                continue
            if seen and value > self._limit(seen):
                found.append(Spike(kind, value, median(seen)))
            seen.append(value)
            if len(seen) > self.window:
                seen.popleft()
        return found

    def _limit(self, seen: deque[float]) -> float:
        if len(seen) < self.least:
            return self.early * max(seen)
        middle = median(seen)
        spread = 1.4826 * median(abs(value - middle) for value in seen)
        return max(middle + self.deviations * spread, self.factor * middle)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"losses": list(self._losses), "norms": list(self._norms)}

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        self._losses = deque(state["losses"])
        self._norms = deque(state["norms"])
