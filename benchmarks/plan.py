"""The trainer's plan on lengths of a mixed corpus: draw, pack, group into steps, file.

Token counts are made up: counting is the tokenizer's time, and done once.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figure import Figure, PeakMemory
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.io.tables import encode_table
from curation.trainer.drawing import Corpus, Drawing
from curation.trainer.mixture import ITEMS
from curation.trainer.packing import ITEM, Items, Packer, Packing
from curation.trainer.plan import PlanSettings
from curation.trainer.steps import StepWriter

SHARD = 50_000
BATCH = 256
SEQ_LEN = 8_192
SHARES = (0.5, 0.3, 0.2)


def _lengths(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Captions, documents, pages."""
    if kind == 0:
        return rng.geometric(1 / 150, SHARD) + 100
    if kind == 1:
        return rng.lognormal(6.5, 0.9, SHARD)
    return rng.integers(2_000, 7_500, SHARD)


def _shard(kind: int, number: int) -> Items:
    items: Items = np.zeros(SHARD, ITEM)
    rng = np.random.default_rng([3, kind, number])
    items["tokens"] = _lengths(kind, rng).clip(20, SEQ_LEN)
    items["corpus"], items["shard"], items["row"] = kind, number, np.arange(SHARD)
    items["stop"], items["supervised"] = 2, items["tokens"] // 2
    items["patches"] = items["tokens"] * 2
    return items


def timed(steps: int) -> tuple[float, int, int, float, int]:
    """Seconds, packs, samples, fill and peak bytes of a plan of so many steps."""
    settings = PlanSettings(seq_len=SEQ_LEN, global_batch=BATCH, steps=steps)
    packs = steps * BATCH
    with (
        tempfile.TemporaryDirectory(prefix="bench-plan-") as folder,
        LocalEngine(workers=2, scratch=Path(folder) / "scratch") as engine,
        PeakMemory() as peak,
    ):
        store = Store(folder)
        corpora = []
        for kind, share in enumerate(SHARES):
            shards = [_shard(kind, number) for number in range((4, 2, 1)[kind])]
            files = []
            for number, items in enumerate(shards):
                files.append(f"items/{kind}/{number:06d}.parquet")
                columns = [pa.array(items[name]) for name in ITEMS.names]
                table = pa.Table.from_arrays(columns, schema=ITEMS)
                store.write(files[-1], encode_table(table, ITEMS, {}))
            tokens = sum(int(items["tokens"].sum()) for items in shards)
            epochs = share * packs * SEQ_LEN / tokens
            corpora.append(
                Corpus(number=kind, name=f"c{kind}", files=tuple(files), share=share,
                       items=len(shards) * SHARD, epochs=epochs)
            )  # fmt: skip
        start = time.perf_counter()
        writer, packer = StepWriter(store, settings), Packer(Packing(seq_len=SEQ_LEN), packs)
        drawn = Drawing(store, engine, SILENT, 0).merged(corpora)
        while writer.packs < packs:
            for full in packer.add(next(drawn)):
                writer.add(full)
        writer.close()
        seconds = time.perf_counter() - start
    counted = writer.counted
    samples = sum(counted["samples", kind] for kind in range(len(SHARES)))
    fill = sum(counted["tokens", kind] for kind in range(len(SHARES))) / packs / SEQ_LEN
    return seconds, packs, samples, fill, peak.bytes


def figures(large: int = 400) -> list[Figure]:
    """Packs a second, fill, and memory against a quarter of the steps."""
    *_, small = timed(large // 4)
    seconds, packs, samples, fill, most = timed(large)
    return [
        Figure(
            f"a plan of {packs:,} packs of {SEQ_LEN:,} tokens, {samples:,} samples",
            f"{packs / seconds:,.0f} packs/s ({samples / seconds:,.0f} samples/s)",
            "stated",
            True,
        ),
        Figure("its fill", f"{fill:.4f}", "at least 0.995", fill >= 0.995),
        Figure(
            "its peak memory against a quarter of the steps",
            f"{most / small:.2f}x ({most / 1e6:,.0f} against {small / 1e6:,.0f} MB)",
            "at most 1.3x",
            most <= 1.3 * small,
        ),
    ]
