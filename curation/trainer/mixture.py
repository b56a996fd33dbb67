"""What of the corpora can be used, and each one's share of all tokens, as asked and as realised."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.errors import UsageError
from curation.io.store import Store
from curation.io.tables import encode_table, read_table
from curation.trainer.packing import ITEM, Items
from curation.trainer.token_count import ENDS, STARTS

SPLIT_FAMILIES = frozenset(("interleaved",))
"""Documents, of which a stretch can be read by itself. A caption, an answer, a box or what is
written on a page means nothing without its picture: samples of the other families are never cut."""

MANY_EPOCHS = 4
"""Above it repeated tokens are worth less than new ones (Muennighoff et al. 2023)."""

ITEMS = pa.schema([(name, pa.from_numpy_dtype(ITEM[name])) for name in ITEM.names or ()])

_OFF = 0.1
"""A realised share farther from the asked one, relative to it, is told."""

_TENTH_OF_A_PERCENT = 0.001

_MANY_LEFT_OUT = 0.05
"""Share of samples longer than a sequence above which it is told what to do."""


@dataclass(frozen=True, kw_only=True)
class CorpusShare:
    """An export, and its share of all tokens trained on."""

    url: str
    """Export or run directory."""
    share: float | None = None
    """Above 0, relative to the other corpora's; null: by size, of what replay leaves."""
    replay: bool = False
    """Of the run before. Has a share: of the whole where the others have none."""


def check_shares(corpora: Sequence[CorpusShare]) -> None:
    """Raises UsageError where shares mean nothing."""
    asked = [corpus.share for corpus in corpora if not corpus.replay]
    given = [share for share in asked if share is not None]
    if not given:
        return
    if len(given) < len(asked) or not all(math.isfinite(share) and share > 0 for share in given):
        raise UsageError(
            "shares of corpora: give each corpus a number above 0, or none; "
            f"got {', '.join(str(share) for share in asked)}"
        )


def normalised(corpora: Sequence[CorpusShare]) -> list[CorpusShare]:
    """The same with shares that sum to 1, so that 7 beside 3 is 0.7 beside 0.3.

    To 12 digits: quotients of one mixture, spelt otherwise, differ in the last.
    """
    given = [corpus.share for corpus in corpora if corpus.share is not None]
    whole = sum(given) if len(given) == len(corpora) else 1.0
    return [
        corpus
        if corpus.share is None
        else replace(corpus, share=float(f"{corpus.share / whole:.12g}"))
        for corpus in corpora
    ]


def shares_of(corpora: Sequence[CorpusShare], tokens: Sequence[int]) -> list[float]:
    """Shares that sum to 1; by tokens where none are given. Raises UsageError."""
    check_shares(corpora)
    given = sum(corpus.share for corpus in corpora if corpus.share is not None)
    unsaid = sum(n for n, corpus in zip(tokens, corpora, strict=True) if corpus.share is None)
    if not unsaid:
        return [corpus.share / given for corpus in corpora if corpus.share is not None]
    return [
        (1 - given) * count / unsaid if corpus.share is None else corpus.share
        for count, corpus in zip(tokens, corpora, strict=True)
    ]


def split(
    tokens: Sequence[int], media: Sequence[bool], learnt: Sequence[bool], seq_len: int
) -> list[tuple[int, int]] | None:
    """Parts (first, stop) of a document too long for a sequence; null where it has none.

    A part takes as many segments as fit. The first learnt segment behind an image or video stays
    with it. Where that can be, images in a row stay together too.
    """
    last = len(tokens) - 1
    room = [seq_len - STARTS - (ENDS - STARTS if n == last else 0) for n in range(len(tokens))]
    bound = _bound(media, learnt)
    parts, first = [], 0
    while first <= last:
        stop, taken = first, 0
        while stop <= last and taken + tokens[stop] <= room[stop]:
            taken += tokens[stop]
            stop += 1
        if stop <= last:
            cuts = [cut for cut in range(first + 1, stop + 1) if not bound[cut]]
            if not cuts:
                return None
            stop = max((cut for cut in cuts if not media[cut - 1]), default=cuts[-1])
        parts.append((first, stop))
        first = stop
    return parts


def _bound(media: Sequence[bool], learnt: Sequence[bool]) -> list[bool]:
    """Whether each segment may not be parted from the one before it."""
    bound, waits = [], False  # an image waits for what is learnt of it
    for is_medium, is_learnt in zip(media, learnt, strict=True):
        bound.append(waits and not is_medium)
        waits = is_medium or (waits and not is_learnt)
    return bound


@dataclass(frozen=True)
class Usable:
    """What of a shard, or of a corpus, fits into sequences."""

    items: int = 0
    """Samples, and parts of those that are split."""
    samples: int = 0
    tokens: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Samples that cannot be used, by reason, and samples that were split."""

    def __add__(self, other: "Usable") -> "Usable":
        return Usable(
            self.items + other.items,
            self.samples + other.samples,
            self.tokens + other.tokens,
            self.left_out + other.left_out,
        )


@dataclass(frozen=True)
class UsableShard:
    """A task: what of a shard fits into sequences, as ITEMS."""

    counts: Store
    into: Store
    corpus: int
    seq_len: int
    splits: bool
    """Whether samples too long for a sequence are cut between segments, else left out."""

    def path(self, name: str) -> str:
        return f"items/{self.corpus}/{name.rsplit('/', 1)[-1]}"

    def __call__(self, name: str) -> Usable:
        """Writes the items."""
        table = read_table(self.counts, name)
        counted: Counter[str] = Counter()
        counted["malformed"] = len(table) - table["error"].null_count
        table = table.filter(pc.is_null(table["error"]))
        short = table.filter(pc.less_equal(table["tokens"], self.seq_len))
        long = table.filter(pc.greater(table["tokens"], self.seq_len))
        items = self._whole(short)
        if self.splits:
            items = np.concatenate([items, self._split(long, counted)])
            items = items[np.lexsort((items["first"], items["row"]))]
        else:
            counted["too_long"] += len(long)
        arrays = [pa.array(items[name]) for name in ITEMS.names]
        data = encode_table(pa.Table.from_arrays(arrays, schema=ITEMS), ITEMS, {})
        self.into.write(self.path(name), data)
        samples, tokens = len(np.unique(items["row"])), int(items["tokens"].sum(dtype=np.int64))
        return Usable(len(items), samples, tokens, +counted)

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
            media = [count > 0 for count in patches]
            learnt = [count > 0 for count in row["segment_supervised"]]
            parts = split(tokens, media, learnt, self.seq_len)
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


@dataclass(kw_only=True)
class EffectiveShare:
    """What a plan makes of one corpus."""

    name: str
    family: str
    share: float
    """Of tokens, as asked for."""
    folder: str = ""
    """End of the place that it was read from, as long as it takes to tell corpora apart."""
    replay: bool = False
    """Whether it is of the run before."""
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

    @property
    def told(self) -> str:
        """What a person knows the corpus by."""
        return self.name if self.folder in ("", self.name) else f"{self.name} ({self.folder})"


def folders_told(urls: Sequence[str]) -> list[str]:
    """The last parts of places: two where that is `export`, which says nothing, and as many as
    tell them apart."""
    parts = [url.rstrip("/").split("/") for url in urls]
    needed = [2 if part[-1] == "export" else 1 for part in parts]
    for _ in range(max(map(len, parts), default=0)):
        told = ["/".join(part[-n:]) for part, n in zip(parts, needed, strict=True)]
        seen = Counter(told)
        if len(seen) == len(told):
            break
        needed = [n + (seen[each] > 1) for each, n in zip(told, needed, strict=True)]
    return told


def share_lines(shares: Sequence[EffectiveShare]) -> list[str]:
    """Effective shares as a table of text, with warnings."""
    totals = [sum(getattr(s, n) for s in shares) or 1 for n in ("samples", "tokens", "supervised")]
    lines = [
        f"{'corpus':<24} {'asked':>7} {'samples':>8} {'tokens':>8} {'learnt':>8} {'epochs':>8}"
        "  folder  (shares of each)"
    ]
    for share in shares:
        of = (share.samples / totals[0], share.tokens / totals[1], share.supervised / totals[2])
        lines.append(
            f"{share.name:<24} {_percent(share.share):>7} "
            + " ".join(f"{_percent(part):>8}" for part in of)
            + f" {share.epochs:>8.2f}  {share.folder}{' (replay)' if share.replay else ''}".rstrip()
        )
    for share in shares:
        lines += _notes(share, share.tokens / totals[1])
    return lines


def _percent(part: float) -> str:
    """A share that is not nothing is never told as 0.0%."""
    return f"{part:.1%}" if not 0 < part < _TENTH_OF_A_PERCENT else f"{100 * part:.1g}%"


def _notes(share: EffectiveShare, realised: float) -> list[str]:
    """What was left out of a corpus, and warnings."""
    lines = []
    if share.left_out:
        told = ", ".join(f"{n:,} {why}" for why, n in sorted(share.left_out.items()))
        lines.append(f"{share.told}: {told.replace('_', ' ')}")
    too_long = share.left_out.get("too_long", 0)
    samples = share.samples_usable + too_long
    if too_long > _MANY_LEFT_OUT * samples:
        lines.append(
            f"warning: {share.told}: {too_long:,} of {samples:,} samples are longer than a "
            "sequence and left out; lengthen it, or lower the pixel budget"
        )
    if share.epochs > MANY_EPOCHS:
        lines.append(
            f"warning: {share.told} is seen {share.epochs:,.1f} times; above {MANY_EPOCHS} "
            "epochs repeats teach little: lower its share, or add data"
        )
    if abs(realised - share.share) > _OFF * share.share:
        lines.append(
            f"warning: {share.told} gets {_percent(realised)} of all tokens, not "
            f"{_percent(share.share)}: the training is too short for its samples"
        )
    return lines
