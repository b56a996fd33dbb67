"""Packs samples into sequences, and sequences of similar cost into steps.

Best fit decreasing (Johnson 1973) over a window of the stream: the longest sample first, each into
the fullest pack that takes it. Packs that are not full yet go back into the next window.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Packs:
    """Packs, their items one behind another."""

    items: Items
    sizes: npt.NDArray[np.int64]
    """Items of each pack, at least 1."""

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each pack begins in `items`."""
        return np.cumsum(self.sizes) - self.sizes

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Sum of a number of each item, by pack."""
        if not len(self):
            return np.zeros(0, np.int64)
        summed: npt.NDArray[np.int64] = np.add.reduceat(values.astype(np.int64), self.starts)
        return summed

    def places(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where in `items` those of packs of these numbers are, in this order."""
        sizes = self.sizes[order]
        shift = self.starts[order] - (np.cumsum(sizes) - sizes)
        places: npt.NDArray[np.int64] = np.repeat(shift, sizes) + np.arange(sizes.sum())
        return places

    def take(self, order: npt.NDArray[np.int64]) -> "Packs":
        """Packs of these numbers, in this order."""
        return Packs(self.items[self.places(order)], self.sizes[order])

    def each(self) -> list[Items]:
        """Each pack's items."""
        return np.split(self.items, self.starts[1:]) if len(self) else []


def joined_packs(parts: Sequence[Packs]) -> Packs:
    """All of them, in this order; at least one."""
    items = np.concatenate([part.items for part in parts])
    return Packs(items, np.concatenate([part.sizes for part in parts]))


_PACK_BITS = 32
_PACK = (1 << _PACK_BITS) - 1


def fit(
    lengths: npt.NDArray[np.int32], seq_len: int, early: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Number of the pack of each length: best fit decreasing; no length is above `seq_len`.

    Those marked `early` come before the others, which then fill their packs.
    """
    late = np.zeros(len(lengths), np.bool_) if early is None else ~early
    order = np.lexsort((-lengths.astype(np.int64), late))
    least = int(lengths.min(initial=seq_len))
    spaces: list[int] = []  # space << 32 | pack of what takes more, ascending: the first is best
    found: list[int] = []
    packs = 0
    for size in lengths[order].tolist():
        place = bisect_left(spaces, size << _PACK_BITS)
        if place < len(spaces):
            best = spaces.pop(place)
            pack, left = best & _PACK, (best >> _PACK_BITS) - size
        else:
            pack, left = packs, seq_len - size
            packs += 1
        if left >= least:
            insort(spaces, left << _PACK_BITS | pack)
        found.append(pack)
    numbers = np.empty(len(lengths), np.int64)
    numbers[order] = found
    return numbers


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

    def add(self, items: Items) -> Iterator[Packs]:
        """Takes items in stream order; gives the packs that are full, a window's at a time."""
        while len(items) and self._wanted != 0:
            window = self._window()
            upto = np.cumsum(items["tokens"], dtype=np.int64)
            done = 0  # of `items`
            while done < len(items) and self._wanted != 0 and window == self._window():
                before = int(upto[done - 1]) if done else 0
                stop = int(np.searchsorted(upto, before + window - self._tokens)) + 1
                part = items[done:stop]
                self._waiting.append(part)
                self._turns.append(np.zeros(len(part), np.int32))
                done += len(part)
                self._tokens += int(upto[done - 1]) - before
                if self._tokens >= window:
                    yield from self._pack(last=False)
            items = items[done:]

    def _window(self) -> int:
        """Tokens that are packed together next."""
        packing = self._packing
        if self._wanted is None or self._wanted > packing.window:
            return packing.window * packing.seq_len
        return int(self._wanted * packing.seq_len * packing.full)

    def close(self) -> Iterator[Packs]:
        """Gives all that is left, full or not."""
        if self._waiting:
            yield from self._pack(last=True)

    def _pack(self, *, last: bool) -> Iterator[Packs]:
        items, turns = np.concatenate(self._waiting), np.concatenate(self._turns) + 1
        number = fit(items["tokens"], self._packing.seq_len, turns >= self._packing.patience)
        order = np.argsort(number, kind="stable")
        packs = Packs(items[order], np.bincount(number))
        back = np.zeros(len(packs), np.bool_)
        if not last:
            oldest = np.maximum.reduceat(turns[order], packs.starts)
            back[self._back(packs, oldest, packs.sums(order) / packs.sizes)] = True
        again = back[number]
        self._waiting, self._turns = [items[again]], [turns[again]]
        self._tokens = int(items["tokens"][again].sum(dtype=np.int64))
        full = np.flatnonzero(~back)[: self._wanted]
        if self._wanted is not None:
            self._wanted -= len(full)
        if len(full):
            yield packs.take(full)

    def _back(
        self,
        packs: Packs,
        oldest: npt.NDArray[np.int32],
        places: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.int64]:
        """Packs that go back: not full, the emptiest first.

        `oldest` are the most windows that an item of each pack has been in, `places` the mean place
        of its items in the stream.
        """
        packing = self._packing
        room = packing.carried * packing.window * packing.seq_len
        filled = packs.sums(packs.items["tokens"])
        scraps = filled < packing.seq_len / 2
        tired = oldest >= packing.patience
        if self._wanted is not None and self._wanted <= packing.window:
            # The last window. What is over are scraps, then the latest packs: the emptiest ones
            # would always be of the same lengths.
            order = np.lexsort((-places, ~scraps))
            return order[: max(0, len(packs) - self._wanted)]
        may = np.flatnonzero((scraps | ~tired) & (filled < packing.full * packing.seq_len))
        emptiest = may[np.argsort(filled[may], kind="stable")]
        return emptiest[np.cumsum(filled[emptiest]) <= room]


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Predicted work of a pack in FLOPs, forward and backward.

    The defaults are GLM-4.1V-9B's: 6 a parameter of the decoder (8.2e9) and of the vision tower
    with its merger (7.3e8 a patch), causal attention of 40 layers of width 4,096, attention within
    a frame of 24 layers of width 1,536, and its head of 6.2e8 for a word to predict.
    """

    token: float = 4.9e10
    square: float = 9.8e5
    """A pair of tokens of one sample, counted as length squared."""
    patch: float = 4.4e9
    patch_square: float = 4.4e5
    """A pair of patches of one frame."""
    supervised: float = 3.7e9
    """A token to learn: the head, which in a small model is most of the work."""

    def costs(self, packs: Packs) -> npt.NDArray[np.float64]:
        """Of each pack; integer sums, so that the order of samples does not matter."""
        tokens = packs.items["tokens"].astype(np.int64)
        costs: npt.NDArray[np.float64] = (
            self.token * packs.sums(tokens)
            + self.square * packs.sums(tokens * tokens)
            + self.patch * packs.sums(packs.items["patches"])
            + self.patch_square * packs.sums(packs.items["patch_squares"])
            + self.supervised * packs.sums(packs.items["supervised"])
        )
        return costs


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


def group_steps(
    costs: npt.NDArray[np.float64], global_batch: int, *, seed: int, block: int
) -> npt.NDArray[np.int64]:
    """Cuts packs, sorted by cost, into steps and shuffles those; packs of a step fall in cost.

    Gives pack numbers, step after step. `block` numbers this call, so that each shuffles by draws
    of its own. The number of packs is a multiple of `global_batch`.
    """
    order = np.argsort(-costs, kind="stable").reshape(-1, global_batch)
    numbers = np.arange(len(order))
    keys = order_keys(seed, "plan-steps", np.full(len(order), block), numbers)
    return order[np.lexsort((numbers, keys))].reshape(-1)
