"""Which samples are seen, how often and when: shares of tokens, drawn in one common time.

A corpus asked for so many tokens is read `epochs` times over training. Sample n of pass k comes at
time (k + u) / epochs, u its uniform draw for that pass: every corpus is spread evenly over the
training, and a pass ends before the next begins.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import uniforms
from curation.core.errors import UsageError
from curation.io.store import Store
from curation.io.tables import encode_table, read_table
from curation.trainer.packing import ITEM, Items
from curation.trainer.token_count import ENDS, STARTS

MANY_EPOCHS = 4
"""Above it repeated tokens are worth less than new ones (Muennighoff et al. 2023)."""

ITEMS = pa.schema([(name, pa.from_numpy_dtype(ITEM[name])) for name in ITEM.names or ()])
DRAWN = pa.schema([("time", pa.float64()), *ITEMS])


@dataclass(frozen=True, kw_only=True)
class CorpusShare:
    """An export, and its share of all tokens trained on."""

    url: str
    """Export or run directory."""
    share: float | None = None
    """Above 0, relative to the other corpora's; null for all means by size."""


def shares_of(corpora: Sequence[CorpusShare], tokens: Sequence[int]) -> list[float]:
    """Shares that sum to 1; by tokens where none are given. Raises UsageError."""
    asked = [corpus.share for corpus in corpora]
    if all(share is None for share in asked):
        return [count / sum(tokens) for count in tokens]
    given = [share for share in asked if share is not None]
    if len(given) < len(asked) or not all(math.isfinite(share) and share > 0 for share in given):
        raise UsageError(
            "shares of corpora: give each corpus a number above 0, or none; "
            f"got {', '.join(str(share) for share in asked)}"
        )
    return [share / sum(given) for share in given]


def split(
    tokens: Sequence[int], media: Sequence[bool], seq_len: int
) -> list[tuple[int, int]] | None:
    """Parts (first, stop) of a sample too long for a sequence; null where a segment is.

    A part takes as many segments as fit. It does not end behind an image or video where that can
    go with the segment after it.
    """
    last = len(tokens) - 1
    room = [seq_len - STARTS - (ENDS - STARTS if n == last else 0) for n in range(len(tokens))]
    if any(count > space for count, space in zip(tokens, room, strict=True)):
        return None
    parts, first = [], 0
    while first <= last:
        stop, taken = first, 0
        while stop <= last and taken + tokens[stop] <= room[stop]:
            taken += tokens[stop]
            stop += 1
        if stop <= last:
            cut = stop
            while cut > first and media[cut - 1]:
                cut -= 1
            stop = cut if cut > first else stop
        parts.append((first, stop))
        first = stop
    return parts


@dataclass(frozen=True)
class UsableShard:
    """A task: what of a shard fits into sequences, as ITEMS."""

    counts: Store
    into: Store
    corpus: int
    seq_len: int

    def path(self, name: str) -> str:
        return f"items/{self.corpus}/{name.rsplit('/', 1)[-1]}"

    def __call__(self, name: str) -> tuple[int, int, Counter[str]]:
        """Writes the items; returns their samples and tokens, and what was left out and why."""
        table = read_table(self.counts, name)
        counted: Counter[str] = Counter()
        counted["malformed"] = len(table) - table["error"].null_count
        table = table.filter(pc.is_null(table["error"]))
        short = table.filter(pc.less_equal(table["tokens"], self.seq_len))
        long = table.filter(pc.greater(table["tokens"], self.seq_len))
        parts = [self._whole(short), self._split(long, counted)]
        items = np.concatenate(parts)
        items = items[np.lexsort((items["first"], items["row"]))]
        arrays = [pa.array(items[name]) for name in ITEMS.names]
        data = encode_table(pa.Table.from_arrays(arrays, schema=ITEMS), ITEMS, {})
        self.into.write(self.path(name), data)
        return len(np.unique(items["row"])), int(items["tokens"].sum(dtype=np.int64)), +counted

    def _whole(self, table: pa.Table) -> Items:
        items: Items = np.zeros(len(table), ITEM)
        for name in ("shard", "row", "tokens", "supervised", "offset", "size"):
            items[name] = table[name].to_numpy()
        items["corpus"] = self.corpus
        items["stop"] = pc.list_value_length(table["segment_tokens"]).to_numpy()
        for name in ("patches", "patch_squares"):
            items[name] = _sums(table[f"segment_{name}"], ITEM[name])
        return items

    def _split(self, table: pa.Table, counted: Counter[str]) -> Items:
        rows = []
        for row in table.to_pylist():
            tokens, patches = row["segment_tokens"], row["segment_patches"]
            parts = split(tokens, [count > 0 for count in patches], self.seq_len)
            if parts is None:
                counted["too_long"] += 1
                continue
            counted["split"] += 1
            for first, stop in parts:
                ends = 1 if stop == len(tokens) else 0
                supervised = sum(row["segment_supervised"][first:stop]) + ends
                if not supervised:
                    counted["parts_without_loss"] += 1
                    continue
                rows.append(
                    (
                        self.corpus,
                        row["shard"],
                        row["row"],
                        first,
                        stop,
                        sum(tokens[first:stop]) + STARTS + ends,
                        supervised,
                        sum(patches[first:stop]),
                        sum(row["segment_patch_squares"][first:stop]),
                        row["offset"],
                        row["size"],
                    )
                )
        items: Items = np.array(rows, ITEM)
        return items


def _sums(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Sum of each list; 0 for an empty one."""
    lists = column.combine_chunks()
    flat = np.concatenate([[0], np.cumsum(lists.flatten().to_numpy(), dtype=np.int64)])
    stops = np.cumsum(pc.list_value_length(lists).to_numpy())
    starts = np.concatenate([[0], stops[:-1]]) if len(stops) else stops
    sums: npt.NDArray[Any] = (flat[stops] - flat[starts]).astype(dtype)
    return sums


@dataclass(frozen=True)
class DrawShard:
    """A task: when each item of a shard is seen, from `start` to `stop` of the common time."""

    plan: Store
    """Holds the items."""
    into: Store
    name: str
    """Of the corpus."""
    epochs: float
    """Passes over the corpus from time 0 to 1."""
    seed: int
    start: float
    stop: float

    def __call__(self, path: str) -> str:
        """Writes DRAWN rows, and returns their file."""
        items = read_table(self.plan, path).combine_chunks()
        place = (items["shard"].to_numpy(), items["row"].to_numpy())
        drawn = []
        for turn in range(int(self.start * self.epochs), math.ceil(self.stop * self.epochs)):
            uniform = uniforms(self.seed, f"plan-{self.name}-{turn}", *place)
            time = (turn + uniform) / self.epochs
            now = np.flatnonzero((time >= self.start) & (time < self.stop))
            chosen = items.take(pa.array(now))
            drawn.append(chosen.add_column(0, "time", pa.array(time[now])))
        table = pa.concat_tables(drawn) if drawn else DRAWN.empty_table()
        self.into.write(path, encode_table(table, DRAWN, {}))
        return path


@dataclass(kw_only=True)
class EffectiveShare:
    """What a plan makes of one corpus."""

    name: str
    family: str
    share: float
    """Of tokens, as asked for."""
    samples: int = 0
    """Seen over training, repeats and parts counted."""
    tokens: int = 0
    supervised: int = 0
    """Tokens to learn."""
    samples_usable: int = 0
    tokens_usable: int = 0
    """In one pass over what fits into sequences."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Samples that cannot be used, by reason, and samples that were split."""

    @property
    def epochs(self) -> float:
        """Tokens seen over tokens there are."""
        return self.tokens / self.tokens_usable if self.tokens_usable else 0.0


def share_lines(shares: Sequence[EffectiveShare]) -> list[str]:
    """Effective shares as a table of text, with warnings."""
    totals = [sum(getattr(s, n) for s in shares) or 1 for n in ("samples", "tokens", "supervised")]
    lines = [
        f"{'corpus':<24} {'asked':>7} {'samples':>8} {'tokens':>8} {'learnt':>8} {'epochs':>8}"
        "  (shares of each)"
    ]
    for share in shares:
        of = (share.samples / totals[0], share.tokens / totals[1], share.supervised / totals[2])
        lines.append(
            f"{share.name:<24} {share.share:>7.1%} "
            + " ".join(f"{part:>8.1%}" for part in of)
            + f" {share.epochs:>8.2f}"
        )
    for share in shares:
        if share.left_out:
            told = ", ".join(f"{n:,} {why}" for why, n in sorted(share.left_out.items()))
            lines.append(f"{share.name}: {told.replace('_', ' ')}")
        if share.epochs > MANY_EPOCHS:
            lines.append(
                f"warning: {share.name} is seen {share.epochs:.1f} times; above {MANY_EPOCHS} "
                "epochs repeats teach little: lower its share, or add data"
            )
    return lines
