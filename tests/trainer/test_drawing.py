"""Items come pass after pass, each corpus with its share at any moment, a round in memory."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.io.tables import encode_table
from curation.trainer import drawing
from curation.trainer.drawing import ROUND_ITEMS, Corpus, Drawing, merge, rounds
from curation.trainer.mixture import ITEMS
from curation.trainer.packing import ITEM, Items


def items(tokens, corpus: int = 0, shard: int = 0) -> Items:
    made = np.zeros(len(tokens), ITEM)
    made["tokens"], made["row"] = tokens, np.arange(len(tokens))
    made["corpus"], made["shard"], made["stop"] = corpus, shard, 1
    return made


def corpus_of(store: Store, number: int, shards: list[Items], share: float, epochs: float):
    files = []
    for shard, held in enumerate(shards):
        files.append(f"items/{number}/{shard:06d}.parquet")
        arrays = [pa.array(held[name]) for name in ITEMS.names]
        table = pa.Table.from_arrays(arrays, schema=ITEMS)
        store.write(files[-1], encode_table(table, ITEMS, {}))
    return Corpus(
        number=number,
        name=f"c{number}",
        files=tuple(files),
        items=sum(map(len, shards)),
        share=share,
        epochs=epochs,
    )


def drawn(tmp_path, corpora, tokens: float, seed: int = 0, workers: int = 0) -> Items:
    with LocalEngine(workers=workers, memory="500MB") as engine:
        drawing = Drawing(Store(str(tmp_path)), engine, SILENT, seed)
        return np.concatenate(list(drawing.merged(corpora, tokens)))


def endless(tokens, corpus: int) -> Iterator[Items]:
    while True:
        yield items(tokens, corpus)


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_kept_at_any_moment(seed):
    rng = np.random.default_rng(seed)
    shares = [0.7, 0.2, 0.09, 0.01]
    streams = [
        endless(rng.integers(1, 500, rng.integers(1, 90)), number) for number in range(len(shares))
    ]
    stream = np.concatenate(list(merge(streams, shares, 100_000)))
    upto = np.cumsum(stream["tokens"])
    assert upto[-1] == pytest.approx(100_000, abs=1_000)
    for number, share in enumerate(shares):
        held = np.cumsum(np.where(stream["corpus"] == number, stream["tokens"], 0))
        assert abs(held - share * upto).max() <= 500 * (1 + share * len(shares)) / 2


def test_a_stream_is_the_same_however_its_batches_fall():
    def batches(size: int) -> Iterator[Items]:
        for start in itertools.count(0, size):
            yield items(np.arange(start, start + size) % 37 + 1, 1)

    found = [
        np.concatenate(list(merge([endless([5], 0), batches(size)], [0.5, 0.5], 3_000)))
        for size in (1, 7, 1_000)
    ]
    for other in found[1:]:
        assert other["corpus"].tolist() == found[0]["corpus"].tolist()
        assert other["tokens"].tolist() == found[0]["tokens"].tolist()


@pytest.mark.parametrize(
    ("count", "epochs"),
    [(1, 3.0), (437, 1e6), (1_000, 0.2), (ROUND_ITEMS, 5.0), (10 * ROUND_ITEMS, 0.3),
     (49 * ROUND_ITEMS, 0.001), (49 * ROUND_ITEMS, 2.0)],
)  # fmt: skip
def test_rounds_cover_every_pass_once_and_are_small(count, epochs):
    corpus = Corpus(number=0, name="c", files=(), items=count, share=1.0, epochs=epochs)
    at = (0, 0.0)
    for found in itertools.islice(rounds(corpus), 200):
        assert (found.turn, found.low) == at
        assert found.low < found.high <= 1 and (found.turns == 1 or found.high == 1)
        at = (found.turn + found.turns, 0.0) if found.high == 1 else (found.turn, found.high)
        size = count * found.turns * (found.high - found.low)
        assert size <= max(ROUND_ITEMS, count * min(1.0, 1.1 * epochs)) + 1
        assert found.turns <= epochs + 2
    assert at[0] > 0


def test_the_order_does_not_depend_on_rounds_shards_or_workers(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    held = [items(rng.integers(1, 50, 40), shard=shard) for shard in range(3)]
    usable = sum(int(shard["tokens"].sum()) for shard in held)
    epochs = 2.6

    def order(name: str, workers: int = 0) -> list[tuple[int, int]]:
        corpus = corpus_of(Store(str(tmp_path / name)), 0, held, 1.0, epochs)
        found = drawn(tmp_path / name, [corpus], epochs * usable, workers=workers)
        return list(zip(found["shard"].tolist(), found["row"].tolist(), strict=True))

    whole = order("a")
    assert order("b", workers=2) == whole
    monkeypatch.setattr(drawing, "ROUND_ITEMS", 50)
    epochs_of_a_stretch = drawing.rounds(
        Corpus(number=0, name="c", files=(), items=120, share=1.0, epochs=0.1)
    )
    assert next(epochs_of_a_stretch).high < 0.5
    assert order("c") == whole
    monkeypatch.setattr(drawing, "_IN_MEMORY", 0)
    monkeypatch.setattr(drawing, "ROUND_ITEMS", 60)
    monkeypatch.setattr(drawing, "_BATCH", 7)
    assert order("d") == whole
    passes = [whole[start : start + 120] for start in range(0, len(whole), 120)]
    assert set(passes[0]) == set(passes[1]) and passes[0] != passes[1]
    assert len(set(passes[0])) == 120 and len(set(passes[2])) == len(passes[2])


def test_parts_of_one_document_come_apart(tmp_path):
    held = items(np.full(400, 10))
    held["row"], held["first"] = np.arange(400) // 8, np.arange(400) % 8
    corpus = corpus_of(Store(str(tmp_path)), 0, [held], 1.0, 1.0)
    stream = drawn(tmp_path, [corpus], 4_000)
    assert len(stream) == 400
    beside = np.mean(stream["row"][1:] == stream["row"][:-1])
    assert beside < 0.06  # by chance 7 of 399


class Counting(LocalEngine):
    """Knows how many items each task drew, and which files lay in the scratch folder then."""

    def watch(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: list[int] = []
        self.files: list[int] = []

    def map(self, task, items, **how):
        for found in super().map(task, items, **how):
            self.drawn.append(found[1])
            self.files.append(len(list(self.folder.rglob("*.parquet"))))
            yield found


@pytest.mark.parametrize("epochs", [20, 400])
def test_a_round_is_held_at_a_time_however_many_passes(tmp_path, monkeypatch, epochs):
    monkeypatch.setattr(drawing, "ROUND_ITEMS", 5_000)
    store = Store(str(tmp_path))
    corpus = corpus_of(store, 0, [items(np.full(500, 10))], 1.0, float(epochs))
    with Counting(workers=0, memory="500MB") as engine:
        engine.watch(tmp_path / "drawn")
        batches = Drawing(store, engine, SILENT, 0).merged([corpus], epochs * 5_000.0)
        sizes = [len(batch) for batch in batches]
    assert sum(sizes) == 500 * epochs and max(sizes) <= 5_000
    assert max(engine.drawn) <= 5_000 and sum(engine.drawn) <= 500 * epochs + 5_000
    assert max(engine.files) <= 1
