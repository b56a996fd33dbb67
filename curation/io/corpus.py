"""An opened corpus: its manifest, its shards, and where its columns lie."""

import dataclasses
from dataclasses import dataclass

import pyarrow as pa

from curation.core.corpus import MANIFEST
from curation.core.errors import CorpusError
from curation.core.manifest import decode_manifest, encode_manifest
from curation.io.store import Store
from curation.io.tables import read_table
from schemas.manifest import CorpusManifest, ExportManifest, Manifest


@dataclass(frozen=True)
class ShardRef:
    """One shard, as tasks are told of it."""

    shard: int
    samples: int
    bytes: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class Corpus:
    """A finished ingest, with whatever has been measured and decided since."""

    store: Store
    manifest: CorpusManifest
    shards: list[ShardRef]

    @property
    def shards_sha256(self) -> str:
        return self.manifest.tables["shards"].sha256

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def save(self, manifest: CorpusManifest) -> "Corpus":
        """Commits a new manifest."""
        self.store.write(MANIFEST, encode_manifest(manifest))
        return dataclasses.replace(self, manifest=manifest)


def read_manifest(store: Store) -> Manifest:
    """The manifest of a corpus or export. Raises CorpusError where there is none."""
    if not store.exists(MANIFEST):
        raise CorpusError(
            f"{store.path('')}: no {MANIFEST}; not a corpus or export, or one that is unfinished "
            "(run the command that made it again, it continues)"
        )
    return decode_manifest(store.read(MANIFEST), store.path(MANIFEST))


def open_corpus(url: str) -> Corpus:
    """A corpus, or the corpus of a run directory. Raises CorpusError for anything else."""
    store = Store(url)
    if not store.exists(MANIFEST) and store.exists(f"corpus/{MANIFEST}"):
        store = Store(f"{url.rstrip('/')}/corpus")
    manifest = read_manifest(store)
    if isinstance(manifest, ExportManifest):
        raise CorpusError(f"{url}: an export; this command takes a corpus or a run directory")
    return Corpus(store, manifest, shard_refs(store, manifest))


def shard_refs(store: Store, manifest: Manifest) -> list[ShardRef]:
    """The shards that the manifest's table names, in order."""
    columns = [field.name for field in dataclasses.fields(ShardRef)]
    table: pa.Table = read_table(store, manifest.tables["shards"].path, columns)
    return [ShardRef(**row) for row in table.to_pylist()]


@dataclass(frozen=True)
class Opened:
    """What a path turned out to be."""

    kind: str
    """run, corpus or export."""
    corpus: Corpus | None
    export: tuple[Store, ExportManifest] | None


def open_any(url: str) -> Opened:
    """A run directory, a corpus or an export. Raises CorpusError for anything else."""
    base = url.rstrip("/")
    store = Store(url)
    if not store.exists(MANIFEST) and store.exists(f"corpus/{MANIFEST}"):
        made = Store(f"{base}/export")
        export = read_manifest(made) if made.exists(MANIFEST) else None
        assert export is None or isinstance(export, ExportManifest)
        return Opened("run", open_corpus(f"{base}/corpus"), (made, export) if export else None)
    manifest = read_manifest(store)
    if isinstance(manifest, ExportManifest):
        return Opened("export", None, (store, manifest))
    return Opened("corpus", open_corpus(url), None)
