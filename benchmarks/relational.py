"""Every deciding stage on generated index rows: 1% share one pHash, one caption is on 0.1%.

The rows are a corpus without tars: index and layers as ingest and measure write them, so that
what is timed is what `curate decide` does, reading and ledgers included.
"""

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.figure import Figure, PeakMemory
from curation.core.corpus import FORMAT_VERSION, index_path
from curation.core.manifest import encode_manifest, schema_hash
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.store import Store
from curation.io.tables import write_table
from curation.pipeline.decide import decide
from curation.pipeline.measure import layers_of
from curation.pipeline.measure_shard import layer_schema
from curation.version import __version__
from jobs.image_text import recipe
from schemas import INDEX, SHARDS
from schemas.manifest import CorpusManifest, LayerRef, TableRef, Totals

SHARD_ROWS = 10_000

STAGES = tuple(
    replace(step, keep_best=("area",)) if hasattr(step, "keep_best") else step
    for step in recipe().stages
    if step.name
    in (
        "heuristics",
        "blocklist",
        "exact_dedup",
        "image_dedup",
        "near_dedup",
        "caption_frequency",
    )
)
"""What needs no CLIP; benchmarks/balance.py and benchmarks/semantic.py time the rest."""


def _hex(numbers: np.ndarray, width: int) -> pa.Array:
    """Hex strings of (n, words) 64-bit numbers, without a Python object a row."""
    raw = np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).reshape(len(numbers), -1)
    text = np.ascontiguousarray(text[:, :width])
    offsets = np.arange(0, (len(numbers) + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(numbers), pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())
    )


def index_shard(
    store: Store, number: int, rows: int
) -> tuple[dict[str, object], dict[str, pa.Array]]:
    """Writes the index of a shard; returns its row of the shard table, and what is measured."""
    rng = np.random.default_rng([7, number])
    content = rng.integers(0, 1 << 63, (rows, 8), dtype=np.int64).astype(np.uint64)
    twins = rng.random(rows) < 0.02  # the same content as a row of an earlier shard
    if number:
        source = np.random.default_rng([7, int(rng.integers(0, number))])
        earlier = source.integers(0, 1 << 63, (rows, 8), dtype=np.int64).astype(np.uint64)
        content[twins] = earlier[twins]
    caption = content[:, 6:8].copy()
    caption[rng.random(rows) < 0.001] = 1
    phash = content[:, 0].copy()
    near = rng.random(rows) < 0.02
    flips = np.uint64(1) << rng.integers(0, 64, rows, dtype=np.uint64)
    phash[near] ^= flips[near]
    phash[rng.random(rows) < 0.01] = 0x5555AAAA12345678
    sha, uid = _hex(content[:, 0:4], 64), _hex(content[:, 4:6], 32)
    place = {
        "shard": pa.array(np.full(rows, number, np.int32)),
        "row": pa.array(np.arange(rows, dtype=np.int32)),
    }
    member = pa.StructArray.from_arrays(
        [
            pa.array(["jpg"] * rows),
            pa.array(np.arange(rows, dtype=np.int64) * 65536),
            pa.array(np.full(rows, 50_000, np.int64)),
            sha,
        ],
        fields=list(INDEX.field("members").type.value_type),
    )
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32))
    none = pa.nulls(rows, pa.string())
    index = {
        **place,
        "uid": uid,
        "key": _hex(content[:, 4:6], 15),
        "members": pa.ListArray.from_arrays(offsets, member).cast(INDEX.field("members").type),
        "text": none,
        "width": pa.array(np.full(rows, 640, np.int32)),
        "height": pa.array(np.full(rows, 480, np.int32)),
        "license": pa.array(["CC BY 4.0"] * rows),
        "source_url": none,
        "domain": pa.array([f"site{n}.example" for n in rng.integers(0, 5000, rows)]),
        "source": none,
        "error": none,
        "blocked": none,
    }
    table = pa.Table.from_arrays([index[name] for name in INDEX.names], schema=INDEX)
    sha256 = write_table(store, index_path(number), table, INDEX, {})
    row = {
        "shard": number, "path": f"shards/{number:09d}.tar", "samples": rows, "bytes": 0,
        "sha256": "", "index_sha256": sha256, "errors": 0, "blocked": 0,
    }  # fmt: skip
    measured = {
        "phash": pa.array(phash.view(np.int64)),
        "area": pa.array(rng.integers(40_000, 4_000_000, rows)),
        "min_side": pa.array(rng.integers(150, 2000, rows, dtype=np.int32)),
        "caption_hash": _hex(caption, 32),
        "caption_chars": pa.array(rng.integers(3, 300, rows, dtype=np.int32)),
        "caption_words": pa.array(rng.integers(2, 60, rows, dtype=np.int32)),
        "language": pa.array(["en"] * rows),
        "luma_deviation": pa.array(rng.random(rows, np.float32) * 80),
        "luma_entropy": pa.array(rng.random(rows, np.float32) * 8),
        "blur": pa.array(rng.random(rows, np.float32) * 5000),
    }
    return row, {**place, "uid": uid, **measured}


def generate(folder: Path, rows: int) -> tuple[Corpus, list[LayerRef]]:
    """A corpus of `rows` generated index rows, measured."""
    store = Store(str(folder))
    operators = recipe().operators[:3]
    layers = layers_of(operators)
    table_rows = []
    for number in range(rows // SHARD_ROWS):
        row, measured = index_shard(store, number, SHARD_ROWS)
        table_rows.append(row)
        for operator in operators:
            schema = layer_schema(operator)
            columns = [measured.get(f.name, pa.nulls(SHARD_ROWS, f.type)) for f in schema]
            footer = {"index": str(row["index_sha256"]), "errors": "{}"}
            columns = [c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
            table = pa.Table.from_arrays(columns, schema=schema)
            write_table(store, layers[operator.name].path(number), table, schema, footer)
    corpus = close(folder, table_rows)
    refs = [
        LayerRef(operator=o.name, fingerprint=layers[o.name].fingerprint, parameters={},
                 libraries={}, columns=o.provides.names, errors={})
        for o in operators
    ]  # fmt: skip
    return corpus, refs


def close(folder: Path, table_rows: list[dict[str, object]]) -> Corpus:
    """Writes the shard table and the manifest of generated shards."""
    store = Store(str(folder))
    rows = SHARD_ROWS * len(table_rows)
    table = pa.Table.from_pylist(table_rows, SHARDS)
    sha256 = write_table(store, "tables/shards.parquet", table, SHARDS, {})
    ref = TableRef(path="tables/shards.parquet", sha256=sha256, rows=table.num_rows)
    manifest = CorpusManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family="image-text",
        recipe={},
        seed=0,
        inputs=[],
        schemas={"index": schema_hash(INDEX), "shards": schema_hash(SHARDS)},
        tables={"shards": ref},
        totals=Totals(ingested=rows, kept=rows, dropped=0, quarantined=0),
    )
    store.write("manifest.json", encode_manifest(manifest))
    return open_corpus(str(folder))


class Stopwatch:
    """A progress that times each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def track(self, label: str, total: int | None, unit: str) -> "_Timed":
        return _Timed(self, label)

    def say(self, line: str) -> None: ...


class _Timed:
    def __init__(self, watch: Stopwatch, label: str) -> None:
        self._watch, self._label = watch, label

    def __enter__(self) -> "_Timed":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.seconds[self._label] = time.perf_counter() - self._start

    def advance(self, units: int) -> None: ...


def timed(rows: int, workers: int = 2, memory: str = "4GB") -> tuple[float, int, dict[str, float]]:
    """Seconds, peak bytes and seconds by stage of deciding `rows` rows."""
    folder = Path(tempfile.mkdtemp(prefix="bench-relational-"))
    try:
        corpus, refs = generate(folder / "corpus", rows)
        watch = Stopwatch()
        with (
            LocalEngine(workers=workers, memory=memory, scratch=folder / "scratch") as engine,
            PeakMemory() as peak,
        ):
            start = time.perf_counter()
            decision = decide(corpus, STAGES, refs, engine, watch)
            seconds = time.perf_counter() - start
        for stage in decision.stages:
            took = watch.seconds[stage.stage]
            print(f"  {stage.stage}: {stage.entered:,} -> {stage.kept:,}, {took:.1f} s")
        took = watch.seconds["final ledger"]
        print(f"  final ledger: {took:.1f} s")
        print(f"  {rows:,} rows: {seconds:.1f} s, peak {peak.bytes / 1e9:.2f} GB")
        return seconds, peak.bytes, watch.seconds
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def figures(large: int = 10_000_000) -> list[Figure]:
    """The relational figures."""
    small, _, _ = timed(large // 10)
    seconds, peak, _ = timed(large)
    return [
        Figure(
            f"deciding stages, {large:,} rows",
            f"{seconds / 60:.1f} min",
            "under 15 min",
            seconds < 900,
        ),
        Figure("their peak memory", f"{peak / 1e9:.2f} GB", "under 8 GB", peak < 8e9),
        Figure(
            f"against {large // 10:,} rows",
            f"{seconds / small:.1f}x",
            "at most 15x",
            seconds <= 15 * small,
        ),
    ]
