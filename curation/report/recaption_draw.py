"""Which pairs are shown: of each fate the smallest hashes, found in the pass that counts.

Of captions that nothing is held against most may have nothing marked: four of five of those are
drawn from the ones with a fact or a claim to be seen, so that a page shows what was checked.
"""

import heapq
import itertools
from collections.abc import Iterator
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

FAULTLESS = (NEW, PLAIN)
"""Fates without a fault to show: of these, pairs with something marked are preferred."""
ANY = 5
"""Of so many pairs of such a fate one is drawn from all of them, the others from those marked."""

Fate = tuple[str, str]
"""Choice and its reason; or what was found, and nothing."""

Drawn = tuple[int, int, int, dict[str, Any]]
"""Hash, shard, row, and the row's columns."""
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass
class Draw:
    """The pairs drawn so far; `add` takes a shard's at a time. Bounded by `pairs` rows a fate, and
    as many again of each in FAULTLESS."""

    pairs: int
    """Pairs to show."""
    seed: int = 0
    drawn: dict[Fate, list[Drawn]] = field(default_factory=dict)
    """Of each fate those with the smallest hashes, in their order."""
    marked: dict[Fate, list[Drawn]] = field(default_factory=dict)
    """The same of those with something marked, of the fates in FAULTLESS."""
    totals: dict[Fate, int] = field(default_factory=dict)
    with_marks: dict[Fate, int] = field(default_factory=dict)
    """Of the totals those with something marked, of the fates in FAULTLESS."""

    def add(self, part: Part) -> None:
        rows = part.captioned().rows
        if not rows.num_rows or not self.pairs:
            return
        keys = order_keys(
            self.seed, "recaption-report", rows["shard"].to_numpy(), rows["row"].to_numpy()
        )
        codes, fates = _fates(part.captioned())
        marks = _marks(rows)
        for code, fate in enumerate(fates):
            places = np.flatnonzero(codes == code)
            self.totals[fate] = self.totals.get(fate, 0) + len(places)
            self.drawn[fate] = self._smallest(self.drawn.get(fate, []), rows, keys, places)
            if fate[0] in FAULTLESS:
                places = places[marks[places]]
                self.with_marks[fate] = self.with_marks.get(fate, 0) + len(places)
                self.marked[fate] = self._smallest(self.marked.get(fate, []), rows, keys, places)

    def _smallest(
        self, held: list[Drawn], rows: pa.Table, keys: Numbers, places: Numbers
    ) -> list[Drawn]:
        """`held` and the rows at `places`, as far as their hashes are among the smallest."""
        if len(held) >= self.pairs:
            places = places[keys[places] < held[-1][0]]
        places = places[np.argsort(keys[places])][: self.pairs]
        found = [
            (int(keys[at]), row["shard"], row["row"], _cut(row))
            for at, row in zip(places, rows.take(places).to_pylist(), strict=True)
        ]
        merged = heapq.merge(held, found, key=lambda item: item[:3])
        return [item for _, item in zip(range(self.pairs), merged, strict=False)]

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
            for fate in self.drawn
            if fate[0] == kind
            for nth, item in enumerate(self._in_turn(fate))
        ]
        turns.sort(key=lambda turn: (turn[0], common(turn[1])))
        taken = [(fate, row) for _, fate, row in turns[:room]]
        return sorted(taken, key=lambda pair: common(pair[0]))

    def _in_turn(self, fate: Fate) -> Iterator[Drawn]:
        """Every pair held of a fate, once, in the order in which they are taken."""
        everyone, marked = iter(self.drawn[fate]), iter(self.marked.get(fate, []))
        seen: set[tuple[int, int]] = set()
        for nth in itertools.count(1):
            first, second = (everyone, marked) if nth % ANY == 0 else (marked, everyone)
            unseen = (d for d in itertools.chain(first, second) if (d[1], d[2]) not in seen)
            item = next(unseen, None)
            if item is None:
                return
            seen.add((item[1], item[2]))
            yield item


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the ends of endless captions, their whole lengths beside them."""
    for column in ("text", "recaption"):
        said = row.get(column) or ""
        row |= {column: said[:LOOK], f"{column}_length": len(said)}
    return row


def _marks(rows: pa.Table) -> Flags:
    """Whether a row has a fact of the original, kept or lost, or a claim of the new caption."""
    found: Flags = np.zeros(rows.num_rows, np.bool_)
    for column in ("facts", "facts_original"):
        if column in rows.column_names:
            lengths = pc.list_value_length(rows[column])
            found |= pc.fill_null(pc.greater(lengths, 0), False).to_numpy()
    return found


def _fates(part: Part) -> tuple[Numbers, list[Fate]]:
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
