"""From a source to shards and index: planned first, then shard by shard, each committed whole."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.core.blocklist import BlockFile
from curation.core.corpus import (
    BENCHMARK,
    FORMAT_VERSION,
    MANIFEST,
    VOCABULARY,
    index_path,
    tar_path,
)
from curation.core.engine import Engine
from curation.core.errors import UsageError
from curation.core.fingerprint import digest, plain
from curation.core.manifest import encode_manifest, schema_hash
from curation.core.progress import Progress
from curation.io.corpus import Corpus, open_corpus, read_manifest, shard_refs
from curation.io.sources import Source, SourceOptions, open_source
from curation.io.store import TEMPORARY, Store
from curation.io.tables import read_table, write_table
from curation.pipeline.ingest_shard import IngestShard, PieceItem, Taking
from curation.version import __version__
from schemas import INDEX, SHARDS
from schemas.manifest import CorpusManifest, Input, TableRef, Totals


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to ingest, and how much of it."""

    source: str
    """Path or URL."""
    options: SourceOptions = field(default_factory=SourceOptions)
    family: str = "image-text"
    append: bool = False
    """Add to a finished corpus instead of making one."""
    taking: Taking = field(default_factory=Taking)
    """All samples, or some for a dry run."""
    blocklists: tuple[BlockFile, ...] = ()
    """Content that is named here is not stored."""

    def __post_init__(self) -> None:
        if self.taking.limit < 0:
            raise UsageError(f"--limit must be at least 0, got {self.taking.limit}")
        if not 0 < self.taking.sample <= 1:
            raise UsageError(f"--sample must be above 0 and at most 1, got {self.taking.sample}")

    def settings(self) -> dict[str, Any]:
        """What decides the bytes, beside the source itself."""
        parts = {"reader": self.options, "taking": self.taking, "blocklists": self.blocklists}
        return {name: plain(part) for name, part in parts.items()}


def ingest(request: IngestRequest, out: str, engine: Engine, progress: Progress) -> Corpus:
    """Ingests a source into `out` and returns the corpus; does nothing where that was done.

    Raises UsageError where `out` holds a corpus of another source or other settings.
    """
    store = Store(out)
    if store.exists(f"corpus/{MANIFEST}"):
        raise UsageError(f"{out}: a run directory; name its corpus: {out.rstrip('/')}/corpus")
    _check_apart(request.source, out)
    for listed in request.blocklists:
        waiting = sum(kind == "phash" for kind in listed.entries()["kind"].to_pylist())
        if waiting:
            progress.say(
                f"{listed.name}: {waiting:,} pHash entries wait for the blocklist stage; ingest "
                "decodes no image"
            )
    existing = store.exists(MANIFEST)
    plan_folder = Store(f"{store.url.rstrip('/')}/{TEMPORARY}/plan")
    kind, source = open_source(request.source, request.options, plan_folder)
    listing = listing_hash(kind, source)
    inputs: list[Input] = []
    first = 0
    if existing:
        corpus = open_corpus(out)
        inputs = corpus.manifest.inputs
        same = [i for i in inputs if i.listing == listing and i.options == request.settings()]
        if same:
            progress.say(f"{out}: this source is already ingested, {same[0].samples:,} samples")
            return corpus
        if not request.append:
            raise UsageError(
                f"{out}: holds a corpus of another source or other settings; "
                "choose another --out, or add to it with --append"
            )
        first = inputs[-1].stop_shard if inputs else 0
    elif request.append:
        raise UsageError(f"{out}: no corpus to append to")
    rows, taken, found = _make_shards(request, source, first, store, engine, progress)
    if not found:
        raise UsageError(f"{request.source}: nothing to ingest, the source is empty")
    made = Input(
        format=kind,
        options=request.settings(),
        listing=listing,
        samples=taken,
        samples_in_source=found,
        bytes=sum(row["media_bytes"] for row in rows),
        first_shard=first,
        stop_shard=first + len(rows),
        notes=source.notes(),
        sha256=_manifest_of_source(request.source, kind),
    )
    return _finish(request, store, [*inputs, made], rows)


def _check_apart(source: str, out: str) -> None:
    """Raises UsageError where the corpus would lie in its own source, and be read as part of it."""
    if "://" in source or "://" in out:
        return
    folder, place = os.path.realpath(source), os.path.realpath(out)
    if Path(folder).is_dir() and f"{place}/".startswith(f"{folder}/"):
        raise UsageError(f"{out}: lies in the source {source}; choose an --out outside of it")


def _make_shards(
    request: IngestRequest,
    source: Source,
    first: int,
    store: Store,
    engine: Engine,
    progress: Progress,
) -> tuple[list[dict[str, Any]], int, int]:
    """Rows of the shard table, samples taken, samples in the source."""
    with progress.track("plan", None, "samples") as tracker:
        items: list[PieceItem] = []
        found = taken = 0
        for piece in source.plan():
            tracker.advance(piece.samples)
            wanted = sum(request.taking.wanted(found, piece.samples, taken))
            if wanted:
                items.append(PieceItem(first + len(items), piece, found, taken))
                taken += wanted
            found += piece.samples
    for note in source.notes():
        progress.say(note)
    task = IngestShard(store, source, request.taking, request.blocklists)
    rows: list[dict[str, Any]] = []
    with progress.track("ingest", taken, "samples") as tracker:
        for row in engine.at("ingest").map(task, items):
            rows.append(row)
            tracker.advance(row["samples"])
    return sorted(rows, key=lambda row: int(row["shard"])), taken, found


def listing_hash(kind: str, source: Source) -> str:
    """Names what a source consists of, by names and sizes."""
    state = hashlib.sha256(kind.encode())
    for name, size in source.listing():
        state.update(f"{name}\x00{size}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _manifest_of_source(url: str, kind: str) -> str:
    if kind != "corpus":
        return ""
    return hashlib.sha256(Store(url).read(MANIFEST)).hexdigest()


def _finish(
    request: IngestRequest, store: Store, inputs: list[Input], rows: list[dict[str, Any]]
) -> Corpus:
    """Writes the shard table and the manifest, and clears what an earlier attempt left."""
    before: list[dict[str, Any]] = []
    if store.exists(MANIFEST):
        before = _old_rows(store)
    table = pa.Table.from_pylist(
        [*before, *({k: r[k] for k in SHARDS.names} for r in rows)], SHARDS
    )
    name = f"tables/shards-{digest(table.to_pylist())}.parquet"
    sha = write_table(store, name, table, SHARDS, {})
    ref = TableRef(path=name, sha256=sha, rows=table.num_rows)
    ingested = sum(table["samples"].to_pylist())
    manifest = CorpusManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family=request.family,
        recipe={},
        seed=request.taking.seed,
        inputs=inputs,
        schemas={"index": schema_hash(INDEX), "shards": schema_hash(SHARDS)},
        tables={"shards": ref},
        totals=Totals(ingested=ingested, kept=ingested, dropped=0, quarantined=0),
    )
    _sweep(store, {row["shard"] for row in table.to_pylist()}, name)
    for folder in ("shards", "index", "tables"):
        store.settle(folder)
    store.write(MANIFEST, encode_manifest(manifest))
    store.remove(f"{TEMPORARY}/plan")
    return Corpus(store, manifest, shard_refs(store, manifest))


def _old_rows(store: Store) -> list[dict[str, Any]]:
    path = read_manifest(store).tables["shards"].path
    rows: list[dict[str, Any]] = read_table(store, path).to_pylist()
    return rows


def _sweep(store: Store, shards: set[int], table: str) -> None:
    """Removes shards of an abandoned attempt that the table does not name.

    Features of benchmarks and vocabularies stay: which are in use is the recipe's to say, and
    gc's.
    """
    for folder, path in (("shards", tar_path), ("index", index_path)):
        wanted = {path(shard).rsplit("/", 1)[1] for shard in shards}
        for name in store.names(folder):
            if name not in wanted:
                store.remove(f"{folder}/{name}")
    for name in store.names("tables"):
        if f"tables/{name}" != table and not name.startswith((BENCHMARK, VOCABULARY)):
            store.remove(f"tables/{name}")
