"""Packs samples into sequences, and sequences of similar cost into steps.

Best fit decreasing (Johnson 1973) over a window of the stream: the longest sample first, each into
the fullest pack that takes it. Packs that are not full yet go back into the next window.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.core.draw import order_keys

ITEM = np.dtype(
    [
        ("corpus", "i4"),
        ("shard", "i4"),
        ("row", "i4"),
        ("first", "i4"),
        ("stop", "i4"),
        ("tokens", "i4"),
        ("supervised", "i4"),
        ("patches", "i4"),
        ("patch_squares", "i8"),
        ("offset", "i8"),
        ("size", "i8"),
    ]
)
"""A sample, or a part of one (segments `first` to `stop`), as a plan knows it."""

Items = npt.NDArray[Any]
"""A structured array of ITEM."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How samples are packed."""

    seq_len: int
    """Tokens of a pack."""
    window: int = 128
    """Packs' worth of samples that are packed together."""
    full: float = 0.998
    """Share of a pack that must be filled before it leaves the window."""
    carried: float = 0.125
    """Share of a window that may go back into the next; the fullest packs leave before."""
    patience: int = 8
    """Windows after which a sample is packed first, and its pack leaves if half full: no length
    waits for ever."""


def fit(
    lengths: npt.NDArray[np.int32], seq_len: int, early: npt.NDArray[np.bool_] | None = None
) -> list[list[int]]:
    """Positions of `lengths` by pack: best fit decreasing; no length is above `seq_len`.

    Those marked `early` come before the others, which then fill their packs.
    """
    packs: list[list[int]] = []
    by_space: list[list[int]] = [[] for _ in range(seq_len + 1)]
    spaces = 0  # bit s is set where a pack has s tokens left: the best fit is the lowest bit
    late = np.zeros(len(lengths), np.bool_) if early is None else ~early
    order = np.lexsort((-lengths.astype(np.int64), late)).tolist()
    sizes = lengths.tolist()
    for item in order:
        size = sizes[item]
        fitting = spaces >> size
        if fitting:
            space = size + (fitting & -fitting).bit_length() - 1
            pack = by_space[space].pop()
            if not by_space[space]:
                spaces ^= 1 << space
            packs[pack].append(item)
        else:
            space, pack = seq_len, len(packs)
            packs.append([item])
        left = space - size
        by_space[left].append(pack)
        spaces |= 1 << left
    return packs


class Packer:
    """Packs a stream of items; holds one window and what was carried over.

    Where `wanted` packs end the stream, the last window takes what was carried over and just enough
    to fill them: else the lengths that wait longest would be missing from a short training.
    """

    def __init__(self, packing: Packing, wanted: int | None = None) -> None:
        self._packing = packing
        self._wanted = wanted
        self._waiting: list[Items] = []
        self._turns: list[npt.NDArray[np.int32]] = []
        """Windows that each waiting sample has been in."""
        self._tokens = 0

    def add(self, items: Items) -> Iterator[Items]:
        """Takes items in stream order; gives the packs that are full."""
        while len(items) and self._wanted != 0:
            window = self._window()
            upto = np.cumsum(items["tokens"], dtype=np.int64)
            take = int(np.searchsorted(upto, window - self._tokens)) + 1
            part, items = items[:take], items[take:]
            self._waiting.append(part)
            self._turns.append(np.zeros(len(part), np.int32))
            self._tokens += int(part["tokens"].sum(dtype=np.int64))
            if self._tokens >= window:
                yield from self._pack(last=False)

    def _window(self) -> int:
        """Tokens that are packed together next."""
        packing = self._packing
        if self._wanted is None or self._wanted > packing.window:
            return packing.window * packing.seq_len
        return int(self._wanted * packing.seq_len * packing.full)

    def close(self) -> Iterator[Items]:
        """Gives all that is left, full or not."""
        if self._waiting:
            yield from self._pack(last=True)

    def _pack(self, *, last: bool) -> Iterator[Items]:
        items, turns = np.concatenate(self._waiting), np.concatenate(self._turns) + 1
        packs = fit(items["tokens"], self._packing.seq_len, turns >= self._packing.patience)
        back = set() if last else self._back(packs, items["tokens"], turns)
        again = sorted(item for pack in back for item in packs[pack])
        self._waiting = [items[again]] if again else []
        self._turns = [turns[again]] if again else []
        self._tokens = int(items["tokens"][again].sum(dtype=np.int64)) if again else 0
        for number, pack in enumerate(packs):
            if number not in back and self._wanted != 0:
                self._wanted = None if self._wanted is None else self._wanted - 1
                yield items[sorted(pack)]

    def _back(
        self,
        packs: list[list[int]],
        tokens: npt.NDArray[np.int32],
        turns: npt.NDArray[np.int32],
    ) -> set[int]:
        """Packs that go back: not full, the emptiest first."""
        packing = self._packing
        room = packing.carried * packing.window * packing.seq_len
        filled = np.array([int(tokens[pack].sum()) for pack in packs])
        scraps = filled < packing.seq_len / 2
        tired = np.array([int(turns[pack].max()) >= packing.patience for pack in packs])
        may = np.flatnonzero((scraps | ~tired) & (filled < packing.full * packing.seq_len))
        emptiest = may[np.argsort(filled[may], kind="stable")]
        back = emptiest[np.cumsum(filled[emptiest]) <= room]
        if self._wanted is not None and self._wanted <= packing.window:
            # The last window. What is over are scraps, then the latest packs: the emptiest ones
            # would always be of the same lengths.
            order = np.lexsort(([-np.mean(pack) for pack in packs], ~scraps))
            back = order[: max(0, len(packs) - self._wanted)]
        return set(back.tolist())


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Predicted work of a pack in FLOPs, forward and backward.

    The defaults are GLM-4.1V-9B's: 6 a parameter of the decoder (8.2e9) and of the vision tower
    with its merger (7.3e8 a patch), causal attention of 40 layers of width 4,096, attention within
    a frame of 24 layers of width 1,536.
    """

    token: float = 4.9e10
    square: float = 9.8e5
    """A pair of tokens of one sample, counted as length squared."""
    patch: float = 4.4e9
    patch_square: float = 4.4e5
    """A pair of patches of one frame."""

    def cost(self, pack: Items) -> float:
        """Of one pack; integer sums, so that the order of samples does not matter."""
        tokens = pack["tokens"].astype(np.int64)
        return (
            self.token * int(tokens.sum())
            + self.square * int((tokens * tokens).sum())
            + self.patch * int(pack["patches"].sum(dtype=np.int64))
            + self.patch_square * int(pack["patch_squares"].sum())
        )


@dataclass
class Balance:
    """Work of the slowest rank against the mean, summed over steps; 1 is perfect."""

    slowest: float = 0.0
    mean: float = 0.0

    def add(self, costs: npt.NDArray[np.float64], ranks: int) -> None:
        """Packs of whole steps in order; every `ranks` of them run at one time."""
        together = costs[: len(costs) // ranks * ranks].reshape(-1, ranks)
        self.slowest += float(together.max(1).sum())
        self.mean += float(together.mean(1).sum())

    @property
    def ratio(self) -> float:
        return self.slowest / self.mean if self.mean else 1.0


@dataclass
class Grouped:
    """Steps of similar cost, in the order they are trained; each a list of packs."""

    steps: list[list[Items]]
    costs: npt.NDArray[np.float64]
    """Of the packs, step after step."""


def group_steps(
    packs: Iterable[Items], weights: CostWeights, global_batch: int, *, seed: int, block: int
) -> tuple[Grouped, npt.NDArray[np.float64]]:
    """Cuts packs, sorted by cost, into steps and shuffles those; packs of a step fall in cost.

    `block` numbers this call, so that each shuffles by draws of its own. Returns the costs in
    packing order too. The number of packs is a multiple of `global_batch`.
    """
    taken = list(packs)
    costs = np.array([weights.cost(pack) for pack in taken])
    order = np.argsort(-costs, kind="stable").reshape(-1, global_batch)
    numbers = np.arange(len(order))
    keys = order_keys(seed, "plan-steps", np.full(len(order), block), numbers)
    shuffled = order[np.lexsort((numbers, keys))]
    steps = [[taken[pack] for pack in step] for step in shuffled.tolist()]
    return Grouped(steps, costs[shuffled.reshape(-1)]), costs
