"""When each item is seen: every corpus in passes of a random order, merged by their shares.

Pass k reads a corpus once, by the hash of (seed, corpus, k, item): parts of one document are drawn
apart. Passes follow one another, and the item behind n tokens of a corpus with share s comes at
time (n + half its own tokens) / s. So each corpus has its share of all tokens at any moment, but
for half an item: nothing is left to chance but which of its items come.

Only a round of passes is drawn at a time, and sorted on disk: memory grows neither with the corpora
nor with the training.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.core.draw import uniforms
from curation.core.engine import Engine
from curation.core.progress import Progress, Tracker
from curation.io.store import Store
from curation.io.tables import encode_table, read_table
from curation.trainer.mixture import ITEMS
from curation.trainer.packing import ITEM, Items

DRAWN = pa.schema([("turn", pa.int32()), ("draw", pa.float64()), *ITEMS])

ROUND_ITEMS = 1 << 19
"""Items that are drawn together at least, where the training is that long."""

_IN_MEMORY = 2 * ROUND_ITEMS
"""Rounds of up to about so many items are sorted in memory (60 MB)."""

_ORDER = ("turn", "draw", "shard", "row", "first")

_BATCH = 65_536
"""Items of a file of sorted ones, which is what is held of a corpus."""

_MARGIN = 1.1
"""Of a long corpus that is not read whole, so much more is drawn than is likely needed."""

_TOLD = 8 * ROUND_ITEMS
"""Later rounds of so many items take long enough to be told of."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What is drawn from."""

    number: int
    name: str
    files: tuple[str, ...]
    """Of ITEMS."""
    items: int
    share: float
    """Of all tokens."""
    epochs: float
    """Passes that the training is likely to need."""


@dataclass(frozen=True)
class Round:
    """Passes `turn` to `turn + turns`, of each the items drawn from `low` to below `high`."""

    turn: int
    turns: int
    low: float = 0.0
    high: float = 1.0


def rounds(corpus: Corpus) -> Iterator[Round]:
    """Without end: several passes of a small corpus at once, a stretch of a large one's."""
    turn, turns = 0, max(1, min(ROUND_ITEMS // corpus.items, math.ceil(corpus.epochs) + 1))
    part = max(ROUND_ITEMS / corpus.items, corpus.epochs * _MARGIN)
    cuts = [*(n * part for n in range(math.ceil(1 / part))), 1.0]
    while True:
        for low, high in itertools.pairwise(cuts):
            yield Round(turn, turns, low, high)
        turn += turns


@dataclass(frozen=True)
class DrawShard:
    """A task: draws a round from a shard's items."""

    scratch: Store
    """Holds the items; takes what is drawn."""
    folder: str
    name: str
    """Of the corpus."""
    seed: int
    round: Round

    def __call__(self, path: str) -> tuple[str, int]:
        """Writes DRAWN rows; returns their file and number."""
        items = read_table(self.scratch, path).combine_chunks()
        ids = [items[name].to_numpy() for name in ("shard", "row", "first")]
        drawn = []
        for turn in range(self.round.turn, self.round.turn + self.round.turns):
            draw = uniforms(self.seed, f"plan-{self.name}-{turn}", *ids)
            now = np.flatnonzero((draw >= self.round.low) & (draw < self.round.high))
            turns = pa.array(np.full(len(now), turn, np.int32))
            chosen = items.take(pa.array(now)).add_column(0, "draw", pa.array(draw[now]))
            drawn.append(chosen.add_column(0, "turn", turns))
        table = pa.concat_tables(drawn)
        path = f"{self.folder}/{path.rsplit('/', 1)[-1]}"
        self.scratch.scratch(path, encode_table(table, DRAWN, {}))
        return path, len(table)


@dataclass(frozen=True)
class Drawing:
    """Draws corpora in passes."""

    scratch: Store
    """Holds the items; takes what is drawn."""
    engine: Engine
    progress: Progress
    seed: int

    def merged(self, corpora: Sequence[Corpus], until: float = math.inf) -> Iterator[Items]:
        """Items of all corpora in the order of their times, before the time `until`, in tokens.

        The first rounds are drawn at once, those that follow as they are needed.
        """
        coming = [rounds(corpus) for corpus in corpora]
        firsts = [next(of) for of in coming]
        total = sum(_likely(c, first) for c, first in zip(corpora, firsts, strict=True))
        drawn = []
        with self.progress.track("draw samples", total, "samples") as tracker:
            for corpus, first in zip(corpora, firsts, strict=True):
                drawn.append(self._drawn(corpus, first, tracker))
        streams = [
            self._items(corpus, of, files)
            for corpus, of, files in zip(corpora, coming, drawn, strict=True)
        ]
        return merge(streams, [corpus.share for corpus in corpora], until)

    def _items(
        self, corpus: Corpus, coming: Iterator[Round], files: Sequence[str]
    ) -> Iterator[Items]:
        """All items of a corpus in the order of its passes, without end."""
        while True:
            for path in files:
                yield _structured(read_table(self.scratch, path))
                self.scratch.remove(path)
            following = next(coming)
            if _likely(corpus, following) >= _TOLD:
                self.progress.say(f"draws pass {following.turn + 1} over {corpus.name}")
            files = self._drawn(corpus, following, None)

    def _drawn(self, corpus: Corpus, drawn: Round, tracker: Tracker | None) -> list[str]:
        """Files of a round's items in their order."""
        folder = f"drawn/{corpus.number}"
        task = DrawShard(self.scratch, folder, corpus.name, self.seed, drawn)
        paths = []
        for path, count in self.engine.map(task, corpus.files):
            paths.append(path)
            if tracker is not None:
                tracker.advance(count)
        files: list[str] = []
        on_disk = _likely(corpus, drawn) > _IN_MEMORY
        for table in self._on_disk(sorted(paths)) if on_disk else self._in_memory(sorted(paths)):
            files.append(f"{folder}/sorted-{len(files):06d}.parquet")
            self.scratch.scratch(files[-1], encode_table(table, ITEMS, {}))
        for path in paths:
            self.scratch.remove(path)
        return files

    def _in_memory(self, paths: Sequence[str]) -> Iterator[pa.Table]:
        """Drawn items sorted: a database takes longer to open than a small round to sort."""
        whole = pa.concat_tables([read_table(self.scratch, path) for path in paths])
        whole = whole.sort_by([(name, "ascending") for name in _ORDER])
        for start in range(0, len(whole), _BATCH):
            yield whole.slice(start, _BATCH)

    def _on_disk(self, paths: Sequence[str]) -> Iterator[pa.Table]:
        """The same of a long pass."""
        with self.engine.session() as session:
            session.read_files("drawn", [self.scratch.path(path) for path in paths])
            columns = ", ".join(f'"{name}"' for name in ITEMS.names)
            query = f"SELECT {columns} FROM drawn ORDER BY {', '.join(_ORDER)}"
            for batch in session.stream(query, _BATCH):
                yield pa.Table.from_batches([batch])


def _likely(corpus: Corpus, drawn: Round) -> int:
    """Items of a round, about."""
    return int(corpus.items * drawn.turns * (drawn.high - drawn.low))


def _structured(table: pa.Table) -> Items:
    items: Items = np.empty(len(table), ITEM)
    for name in ITEMS.names:
        items[name] = table[name].to_numpy()
    return items


def merge(
    streams: Sequence[Iterator[Items]], shares: Sequence[float], until: float = math.inf
) -> Iterator[Items]:
    """One stream of endless ones, each item at the time by which its share has come to it.

    Times are in tokens of the whole stream; those from `until` on are left away.
    """
    heads: list[Items] = [np.zeros(0, ITEM) for _ in streams]
    times: list[npt.NDArray[np.float64]] = [np.zeros(0) for _ in streams]
    taken = [0] * len(streams)
    limit = 0.0
    while limit < until:
        for n, stream in enumerate(streams):
            while not len(heads[n]):
                heads[n] = next(stream)
                tokens = heads[n]["tokens"].astype(np.int64)
                upto = taken[n] + np.cumsum(tokens)
                times[n] = (upto - tokens / 2) / shares[n]
                taken[n] = int(upto[-1]) if len(upto) else taken[n]
        limit = min(float(time[-1]) for time in times)
        stops = [
            int(np.searchsorted(time, min(limit, until), "left" if limit >= until else "right"))
            for time in times
        ]
        now = np.concatenate([time[:stop] for time, stop in zip(times, stops, strict=True)])
        items = np.concatenate([head[:stop] for head, stop in zip(heads, stops, strict=True)])
        yield items[np.argsort(now, kind="stable")]
        heads = [head[stop:] for head, stop in zip(heads, stops, strict=True)]
        times = [time[stop:] for time, stop in zip(times, stops, strict=True)]
