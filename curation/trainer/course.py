"""Whether a training went somewhere: its loss in the end against what it began with and had."""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any


@dataclass(kw_only=True)
class Course:
    """The losses of a run, told as one judgement at its end.

    A diverged run is not one with a bad loss: mixtures differ, and so do steps. It is one that ends
    worse than a model that knows nothing, or far worse than it was itself.
    """

    guess: float
    """Loss of guessing evenly: the logarithm of the vocabulary's size."""
    window: int = 32
    """Steps that are looked at together: a step by itself may be of easy samples only."""
    margin: float = 1.2
    """How often the loss of knowing nothing (or the first loss, where that was above it)."""
    factor: float = 2.0
    """How often the lowest mean of a window, and at least one nat above it."""
    _first: float | None = None
    _best: float = math.inf
    _seen: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def see(self, loss: float) -> None:
        """Takes the loss of a step that taught something."""
        loss = loss if math.isfinite(loss) else math.inf
        self._first = loss if self._first is None else self._first
        self._seen += 1
        self._recent.append(loss)
        if len(self._recent) > self.window:
            self._recent.popleft()
        if len(self._recent) == self.window:
            self._best = min(self._best, fmean(self._recent))

    def diverged(self) -> str:
        """How a run that ends here diverged; empty where it did not.

        Judged by the last steps, half of them in a run shorter than two windows.
        """
        if self._first is None:
            return ""
        last = list(self._recent)[-max(1, min(self.window, self._seen // 2)) :]
        ended = min(fmean(last), median(last))  # a spike among them says nothing
        if not math.isfinite(ended):
            return "its loss is no finite number in the end"
        worst = max(self.guess, self._first if math.isfinite(self._first) else 0.0)
        if ended > self.margin * worst:
            return (
                f"its loss is {ended:.4g} in the end, was {self._first:.4g} in the beginning, and "
                f"is {self.guess:.4g} for a model that knows nothing"
            )
        if ended > max(self.factor * self._best, self._best + 1):
            return f"its loss is {ended:.4g} in the end and was {self._best:.4g} before"
        return ""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "first": _kept(self._first),
            "best": _kept(self._best),
            "seen": self._seen,
            "recent": [_kept(loss) for loss in self._recent],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        self._seen = state["seen"]
        self._first = _read(state["first"]) if self._seen else None
        self._best = _read(state["best"])
        self._recent = deque(_read(loss) for loss in state["recent"])


def _kept(loss: float | None) -> float | None:
    """JSON has no infinity: null."""
    return loss if loss is not None and math.isfinite(loss) else None


def _read(loss: float | None) -> float:
    return math.inf if loss is None else loss
