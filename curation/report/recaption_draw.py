"""Which pairs are shown: of each fate the smallest hashes, found in the pass that counts."""

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import order_keys
from curation.operators.text.caption_facts import LOOK
from curation.report.recaption_columns import Part
from schemas import NEW, ORIGINAL, REPAIRED

TALKING, UNSUPPORTED, LOST, PLAIN = "talking", "unsupported", "lost", "plain"
"""What a new caption is shown as where nothing was chosen yet: the first that is true of it."""

_ORDER = (ORIGINAL, REPAIRED, NEW, TALKING, UNSUPPORTED, LOST, PLAIN)
_SHARE = {ORIGINAL: 3, REPAIRED: 3, NEW: 2, TALKING: 2, UNSUPPORTED: 3, LOST: 2, PLAIN: 1}
"""Parts of the room that a fate may take, the worst before the best."""

Fate = tuple[str, str]
"""Choice and its reason; or what was found, and nothing."""


@dataclass
class Draw:
    """The pairs drawn so far; `add` takes a shard's at a time. Bounded by `pairs` rows a fate."""

    pairs: int
    """Pairs to show."""
    seed: int = 0
    drawn: dict[Fate, list[tuple[int, int, int, dict[str, Any]]]] = field(default_factory=dict)
    """Hash, shard, row and columns of each, in the order of the hashes."""
    totals: dict[Fate, int] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        rows = part.captioned().rows
        if not rows.num_rows or not self.pairs:
            return
        keys = order_keys(
            self.seed, "recaption-report", rows["shard"].to_numpy(), rows["row"].to_numpy()
        )
        codes, fates = _fates(part.captioned())
        for code, fate in enumerate(fates):
            places = np.flatnonzero(codes == code)
            self.totals[fate] = self.totals.get(fate, 0) + len(places)
            held = self.drawn.setdefault(fate, [])
            if len(held) >= self.pairs:
                places = places[keys[places] < held[-1][0]]
            places = places[np.argsort(keys[places])][: self.pairs]
            found = [
                (int(keys[at]), row["shard"], row["row"], _cut(row))
                for at, row in zip(places, rows.take(places).to_pylist(), strict=True)
            ]
            merged = heapq.merge(held, found, key=lambda item: item[:3])
            self.drawn[fate] = [item for _, item in zip(range(self.pairs), merged, strict=False)]

    def chosen(self) -> list[tuple[Fate, dict[str, Any]]]:
        """At most `pairs` of them, the worst fates first, each reason as often as the others."""
        held = {
            kind: sum(len(rows) for (of, _), rows in self.drawn.items() if of == kind)
            for kind in _ORDER
        }
        parts = sum(_SHARE[kind] for kind, number in held.items() if number)
        room = {
            kind: min(held[kind], self.pairs * _SHARE[kind] // max(1, parts)) for kind in _ORDER
        }
        for kind in _ORDER:
            room[kind] += min(held[kind] - room[kind], self.pairs - sum(room.values()))
        return [pair for kind in _ORDER for pair in self._of(kind, room[kind])]

    def _of(self, kind: str, room: int) -> list[tuple[Fate, dict[str, Any]]]:
        """`room` pairs of one kind: one of each reason in turn, then together by reason."""

        def common(fate: Fate) -> tuple[int, Fate]:
            return -self.totals[fate], fate

        turns = [
            (nth, fate, item[3])
            for fate, items in self.drawn.items()
            if fate[0] == kind
            for nth, item in enumerate(items)
        ]
        turns.sort(key=lambda turn: (turn[0], common(turn[1])))
        taken = [(fate, row) for _, fate, row in turns[:room]]
        return sorted(taken, key=lambda pair: common(pair[0]))


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the ends of endless captions, their whole lengths beside them."""
    for column in ("text", "recaption"):
        said = row.get(column) or ""
        row |= {column: said[:LOOK], f"{column}_length": len(said)}
    return row


def _fates(part: Part) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[Fate]]:
    """A number for each row, and the fate that each number stands for."""
    rows = part.rows
    if part.has("choice"):
        # A sample that is kept reached the last stage; one without a choice was decided otherwise.
        choice = pc.fill_null(rows["choice"], NEW)
        named = pc.binary_join_element_wise(choice, pc.fill_null(rows["reason"], ""), "\x1f")
    else:
        named = pc.binary_join_element_wise(_found(part), "", "\x1f")
    if isinstance(named, pa.ChunkedArray):
        named = named.combine_chunks()
    encoded = named.dictionary_encode()
    parts = [name.partition("\x1f") for name in encoded.dictionary.to_pylist()]
    fates = [(kind, reason) for kind, _, reason in parts]
    return encoded.indices.to_numpy().astype(np.int64), fates


def _found(part: Part) -> Any:
    rows = part.rows
    if not part.has("facts"):
        return pa.array([PLAIN] * rows.num_rows)
    talking = pc.fill_null(pc.greater(rows["recaption_residue"], 0), False)
    unsupported = pc.fill_null(pc.less(rows["facts_precision"], 1), False)
    lost = pc.fill_null(pc.less(rows["facts_retention"], 1), False)
    return pc.if_else(
        talking, TALKING, pc.if_else(unsupported, UNSUPPORTED, pc.if_else(lost, LOST, PLAIN))
    )
