"""clip_select and balance on generated scores and matches, as `curate decide` runs them.

A vocabulary of 500,000 entries matched by Zipf's law, about 3.5 to a row; scores as a CLIP's.
Reading, ledgers and the final ledger are timed with the stages.
"""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figure import Figure, PeakMemory
from benchmarks.relational import SHARD_ROWS, Stopwatch, close, index_shard
from curation.core.corpus import Layer
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import write_table
from curation.pipeline.decide import decide
from curation.relational.balance import Balance
from curation.relational.clip_select import ClipSelect
from schemas.manifest import LayerRef

ENTRIES = 500_000
MATCHES = 3.5
MATCHED_POOL = 80_000
"""Rows to one of t: MetaCLIP 400M has t = 20,000 on a pool of 1.6 billion."""

_PLACE = [("shard", pa.int32()), ("row", pa.int32()), ("uid", pa.string())]
_LAYERS = {
    "clip": pa.schema(
        [
            *_PLACE,
            ("clip_score", pa.float32()),
            ("clip_skipped", pa.bool_()),
            ("error", pa.string()),
        ]
    ),
    "concepts": pa.schema(
        [
            *_PLACE,
            ("concepts", pa.list_(pa.int32())),
            ("concept_language", pa.string()),
            ("error", pa.string()),
        ]
    ),
}


def _matches(rng: np.random.Generator, rows: int) -> pa.Array:
    """Ascending distinct entries of each row."""
    weights = np.cumsum(1 / np.arange(1, ENTRIES + 1))
    owner = np.repeat(np.arange(rows), rng.poisson(MATCHES, rows))
    entries = np.searchsorted(weights, rng.random(len(owner)) * weights[-1])
    pairs = np.unique((owner << 32) | entries)
    offsets = np.searchsorted(pairs >> 32, np.arange(rows + 1)).astype(np.int32)
    values = (pairs & 0xFFFFFFFF).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def generate(folder: Path, rows: int) -> tuple[Corpus, list[LayerRef]]:
    """A corpus of `rows` generated index rows, with scores and matches."""
    store = Store(str(folder))
    table_rows = []
    for number in range(rows // SHARD_ROWS):
        shard_row, measured = index_shard(store, number, SHARD_ROWS)
        table_rows.append(shard_row)
        rng = np.random.default_rng([8, number])
        scores = rng.normal(0.25, 0.07, SHARD_ROWS).clip(-1, 1).astype(np.float32)
        columns = {
            **{name: measured[name] for name, _ in _PLACE},
            "clip_score": pa.array(scores),
            "clip_skipped": pa.array(np.zeros(SHARD_ROWS, bool)),
            "concepts": _matches(rng, SHARD_ROWS),
            "concept_language": pa.array(["en"] * SHARD_ROWS),
            "error": pa.nulls(SHARD_ROWS, pa.string()),
        }
        footer = {"index": str(shard_row["index_sha256"]), "errors": "{}"}
        for name, schema in _LAYERS.items():
            table = pa.Table.from_arrays([columns[c] for c in schema.names], schema=schema)
            write_table(store, Layer(name, "0" * 16).path(number), table, schema, footer)
    refs = [
        LayerRef(operator=name, fingerprint="0" * 16, parameters={}, libraries={},
                 columns=schema.names[3:-1], errors={})
        for name, schema in _LAYERS.items()
    ]  # fmt: skip
    return close(folder, table_rows), refs


def timed(rows: int, workers: int = 2, memory: str = "4GB") -> tuple[float, int]:
    """Seconds and peak bytes of deciding `rows` rows."""
    stages = (
        ClipSelect(name="clip_select", threshold=0.1, top_fraction=0.9),
        Balance(name="balance", t=max(1, rows // MATCHED_POOL)),
    )
    folder = Path(tempfile.mkdtemp(prefix="bench-balance-"))
    try:
        corpus, refs = generate(folder / "corpus", rows)
        watch = Stopwatch()
        with (
            LocalEngine(workers=workers, memory=memory, scratch=folder / "scratch") as engine,
            PeakMemory() as peak,
        ):
            start = time.perf_counter()
            decision = decide(corpus, stages, refs, engine, watch)
            seconds = time.perf_counter() - start
        for stage in decision.stages:
            print(f"  {stage.stage}: {stage.entered:,} -> {stage.kept:,}")
        print("  " + ", ".join(f"{part} {took:.1f} s" for part, took in watch.seconds.items()))
        print(f"  {rows:,} rows: {seconds:.1f} s, peak {peak.bytes / 1e9:.2f} GB")
        return seconds, peak.bytes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def figures(large: int = 10_000_000) -> list[Figure]:
    """Time and memory of both stages, and how they grow."""
    small, _ = timed(large // 10)
    seconds, peak = timed(large)
    return [
        Figure(
            f"clip_select and balance, {large:,} rows, 2 cores",
            f"{seconds / 60:.1f} min",
            "under 5 min",
            seconds < 300,
        ),
        Figure("their peak memory", f"{peak / 1e9:.2f} GB", "under 8 GB", peak < 8e9),
        Figure(
            f"against {large // 10:,} rows",
            f"{seconds / small:.1f}x",
            "at most 12x",
            seconds <= 12 * small,
        ),
    ]
