"""Distributions of captions before and after: exact counts of small whole numbers."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

MOST = 10_000
"""Steps that are told apart; what is larger counts as this."""


@dataclass
class Tally:
    """How often each value came, in steps of 1 / `steps`."""

    steps: int = 1
    counts: Numbers = field(default_factory=lambda: np.zeros(MOST + 1, np.int64))
    sum: float = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """`values` are at least 0."""
        at = np.clip(np.rint(values * self.steps), 0, MOST).astype(np.int64)
        self.counts += np.bincount(at, minlength=MOST + 1)
        self.sum += float(values.sum())

    @property
    def number(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        return self.sum / self.number if self.number else None

    def quantile(self, share: float) -> float | None:
        """The smallest value that at least `share` of the values do not exceed."""
        total = np.cumsum(self.counts)
        if not total[-1]:
            return None
        at = np.searchsorted(total, max(1.0, share * float(total[-1])))
        return float(at) / self.steps


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One measure of captions, of the originals and of the new ones."""

    name: str
    meaning: str
    before: Tally
    after: Tally


QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}


def told(tally: Tally) -> dict[str, float | int | None]:
    """Its figures as JSON types."""
    mean = None if tally.mean is None else round(tally.mean, 4)
    quantiles = {name: tally.quantile(share) for name, share in QUANTILES.items()}
    return {"captions": tally.number, "mean": mean, **quantiles}
