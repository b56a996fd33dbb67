"""A corpus of any size, drawn from the rows of a small one: what the viewer reads of it is real."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer, StageLedger, index_path, tar_path
from curation.core.manifest import encode_manifest
from curation.io.corpus import Corpus, open_corpus
from curation.io.store import Store
from curation.io.tables import read_table, write_table
from schemas import SHARDS
from schemas.manifest import TableRef, Totals

PER_SHARD = 50_000


def enlarge(small: Path, large: Path, shards: int) -> Path:
    """`shards` shards of 50,000 rows, drawn with replacement from the first shard of `small`."""
    corpus = open_corpus(str(small))
    store = Store(str(large))
    manifest = corpus.manifest
    assert manifest.ledger is not None
    tables = {index_path: read_table(corpus.store, index_path(0))}
    for ref in manifest.layers:
        layer = Layer(ref.operator, ref.fingerprint)
        tables[layer.path] = read_table(corpus.store, layer.path(0))
    final = StageLedger("final", manifest.ledger)
    ledger = read_table(corpus.store, final.path(0))
    (large / "shards").mkdir(parents=True)
    for shard in range(shards):
        rng = np.random.default_rng(shard)
        rows = rng.integers(0, ledger.num_rows, PER_SHARD)
        os.link(corpus.store.path(tar_path(0)), large / tar_path(shard))
        for path, table in tables.items():
            drawn = _placed(table.take(pa.array(rows)), shard)
            write_table(store, path(shard), drawn, drawn.schema.remove_metadata(), {})
        drawn = _with_twins(_placed(ledger.take(pa.array(rows)), shard), rows, shard)
        write_table(store, final.path(shard), drawn, drawn.schema.remove_metadata(), {})
    _describe(corpus, store, final, shards)
    return large


def _placed(table: pa.Table, shard: int) -> pa.Table:
    """Rows that say where they are now, with a uid and a caption of their own."""
    size = table.num_rows
    numbers = pa.array(np.arange(size, dtype=np.int32))
    own = pa.array([f"{shard:04x}{row:08x}" for row in range(size)])
    parts = {
        "shard": pa.array(np.full(size, shard, np.int32)),
        "row": numbers,
        "uid": pc.binary_join_element_wise(pc.utf8_slice_codeunits(table["uid"], 0, 20), own, ""),
    }
    if "text" in table.column_names:
        parts["text"] = pc.binary_join_element_wise(table["text"], own, " ")
    for name, array in parts.items():
        at = table.column_names.index(name)
        table = table.set_column(at, table.schema.field(name), array)
    return table


def _with_twins(
    ledger: pa.Table, rows: np.ndarray[tuple[int], np.dtype[np.int64]], shard: int
) -> pa.Table:
    """`kept_by` names a row of this shard that was drawn from the twin that stayed."""
    first = np.full(int(rows.max()) + 1, -1)
    first[rows[::-1]] = np.arange(len(rows))[::-1]
    said = pc.and_(
        ledger["kept_by_row"].is_valid(), pc.equal(pc.fill_null(ledger["kept_by_shard"], -1), 0)
    )
    there = np.asarray(said)
    old = np.asarray(pc.fill_null(ledger["kept_by_row"], 0))
    now = np.where(old < len(first), first[np.minimum(old, len(first) - 1)], -1)
    mask = ~there | (now < 0)
    for name, values in (("kept_by_shard", np.full(len(old), shard)), ("kept_by_row", now)):
        at = ledger.column_names.index(name)
        ledger = ledger.set_column(
            at, ledger.schema.field(name), pa.array(values.astype(np.int32), mask=mask)
        )
    return ledger


def _describe(corpus: Corpus, store: Store, final: StageLedger, shards: int) -> None:
    counts: dict[str, int] = {}
    for shard in range(shards):
        status = read_table(store, final.path(shard), ["status"])["status"]
        for pair in status.value_counts().to_pylist():
            counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
    first = read_table(corpus.store, corpus.manifest.tables["shards"].path).slice(0, 1)
    row = first.to_pylist()[0]
    table = pa.Table.from_pylist(
        [{**row, "shard": n, "path": tar_path(n), "samples": PER_SHARD} for n in range(shards)],
        SHARDS,
    )
    sha256 = write_table(store, "tables/shards.parquet", table, SHARDS, {})
    ref = TableRef(path="tables/shards.parquet", sha256=sha256, rows=shards)
    totals = Totals(
        ingested=shards * PER_SHARD,
        kept=counts.get("kept", 0),
        dropped=counts.get("dropped", 0),
        quarantined=counts.get("quarantined", 0),
    )
    stages = [dataclasses.replace(stage, tables={}) for stage in corpus.manifest.stages]
    made = dataclasses.replace(
        corpus.manifest, tables={"shards": ref}, totals=totals, stages=stages
    )
    store.write("manifest.json", encode_manifest(made))
