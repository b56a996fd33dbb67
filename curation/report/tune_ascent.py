"""Thresholds that together decide as labels do: moved only where the whole recipe gains by it.

Coordinate ascent on the F1 of what all rules together keep. One threshold at a time goes where
that F1 is highest; of several the one that gains most, of equals the first of the recipe. Where
none gains by itself, all thresholds that stand against one sample labelled keep are loosened
together as far as lets it in. Then thresholds without which F1 is no lower go back to the recipe's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curation.report.tune_curve import Bools, Measured, splits

TRIED = 400
"""Samples labelled keep that are let in by several thresholds, at most, each time none moves."""

Thresholds = tuple[float, ...]


@dataclass(kw_only=True)
class Ascent:
    """All thresholds of a recipe before one set of labels."""

    measures: Sequence[Measured]
    keeps: Bools
    """Labelled samples that are to be kept; one at least."""
    free: Bools
    """Labelled samples that no rule or stage but these thresholds stands against."""
    thresholds: Thresholds
    """Where they stand now."""
    _passes: npt.NDArray[np.bool_] = field(init=False)
    """By threshold and sample."""

    def __post_init__(self) -> None:
        self._recipe = self.thresholds
        self._total = int(np.count_nonzero(self.keeps))
        held = zip(self.measures, self.thresholds, strict=True)
        self._passes = np.array([one.passes(threshold) for one, threshold in held], bool)

    def run(self) -> Thresholds:
        """Where nothing gains any more. F1 never falls on the way and rises with each move, so it
        ends."""
        while True:
            while self._move_one() or self._let_in():
                pass
            self._go_back()
            if not self._gains():
                return self.thresholds

    def resting(self, n: int) -> int:
        """Labelled samples that would be decided otherwise, were this one at the recipe's."""
        against = self._against()
        without = against - ~self._passes[n] + ~self.measures[n].passes(self._recipe[n])
        return int(np.count_nonzero((against == 0) != (without == 0)))

    @property
    def f1(self) -> float:
        """Of all of them together."""
        return self._f1(self._against() == 0)

    def _against(self) -> npt.NDArray[np.int64]:
        """How many thresholds stand against each sample, one more where something else does."""
        against: npt.NDArray[np.int64] = np.count_nonzero(~self._passes, axis=0) + ~self.free
        return against

    def _f1(self, kept: Bools) -> float:
        good, wrong = np.count_nonzero(kept & self.keeps), np.count_nonzero(kept & ~self.keeps)
        return float(2 * good / (good + wrong + self._total))

    def _set(self, moved: dict[int, float]) -> None:
        self.thresholds = tuple(moved.get(n, now) for n, now in enumerate(self.thresholds))
        for n, threshold in moved.items():
            self._passes[n] = self.measures[n].passes(threshold)

    def _best(self) -> tuple[float, int, float]:
        """The highest F1 that one threshold can reach, which one, and where it goes."""
        against = self._against()
        best = (-1.0, 0, 0.0)
        for n, held in enumerate(self.measures):
            others = against - ~self._passes[n] == 0
            limits, good, wrong = splits(held, self.keeps, others)
            if len(limits):
                f1 = 2 * good / (good + wrong + self._total)
                at = int(np.argmax(f1))  # of equals the loosest
                if f1[at] > best[0]:
                    best = (float(f1[at]), n, float(limits[at]))
        return best

    def _gains(self) -> bool:
        return self._best()[0] > self.f1

    def _move_one(self) -> bool:
        f1, n, threshold = self._best()
        if f1 <= self.f1:
            return False
        self._set({n: threshold})
        return True

    def _let_in(self) -> bool:
        """Loosens several thresholds at once, where that gains."""
        now, against = self.f1, self._against()
        best, chosen = now, None
        for moved in self._ways_in(against):
            rows = list(moved)
            then = np.array([self.measures[n].passes(threshold) for n, threshold in moved.items()])
            left = against - np.count_nonzero(~self._passes[rows], axis=0)
            f1 = self._f1(left + np.count_nonzero(~then, axis=0) == 0)
            if f1 > best:
                best, chosen = f1, moved
        if chosen is None:
            return False
        self._set(chosen)
        return True

    def _ways_in(self, against: npt.NDArray[np.int64]) -> list[dict[int, float]]:
        """For samples labelled keep that several thresholds stand against: where those must go.

        Samples that the fewest stand against come first.
        """
        lost = np.flatnonzero(self.keeps & self.free & (against > 1))
        ways: dict[tuple[tuple[int, float], ...], None] = {}
        for sample in lost[np.argsort(against[lost], kind="stable")]:
            rows: list[int] = np.flatnonzero(~self._passes[:, sample]).tolist()
            moved = tuple((n, float(self.measures[n].values[sample])) for n in rows)
            if all(np.isfinite(value) for _, value in moved):
                ways[moved] = None
            if len(ways) == TRIED:
                break
        return [dict(moved) for moved in ways]

    def _go_back(self) -> None:
        """Until each that is left is needed; the last of the recipe first."""
        while any(self._needless(n) for n in reversed(range(len(self.measures)))):
            pass

    def _needless(self, n: int) -> bool:
        """Puts a threshold back to the recipe's unless F1 falls by it; says whether it did."""
        there, now = self.thresholds[n], self.f1
        if there == self._recipe[n]:
            return False
        self._set({n: self._recipe[n]})
        if self.f1 >= now:
            return True
        self._set({n: there})
        return False
