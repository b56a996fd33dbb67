"""A corpus of ours as a source: its samples as they lie, each shard a piece."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curation.core.corpus import MANIFEST, index_path, tar_path
from curation.core.errors import CorpusError
from curation.io.corpus import ShardRef, read_manifest, shard_refs
from curation.io.sources.record import MAX_MEDIA_BYTES, Piece, Record
from curation.io.store import Store
from curation.io.tables import read_table
from schemas.manifest import ExportManifest


@dataclass
class CorpusSource:
    """Shards of a finished corpus; what it could not read stays unread, with its reason."""

    store: Store

    def notes(self) -> list[str]:
        return []

    def listing(self) -> Iterator[tuple[str, int]]:
        shards = self._shards()
        yield MANIFEST, self.store.size(MANIFEST)
        for shard in shards:
            yield tar_path(shard.shard), shard.bytes

    def _shards(self) -> list[ShardRef]:
        manifest = read_manifest(self.store)
        if isinstance(manifest, ExportManifest):
            raise CorpusError(f"{self.store.path('')}: an export; its corpus can be ingested again")
        return shard_refs(self.store, manifest)

    def plan(self) -> Iterator[Piece]:
        for shard in self._shards():
            where = {"shard": shard.shard, "sha256": shard.sha256}
            yield Piece(shard.samples, shard.bytes, where)

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        shard = piece.where["shard"]
        rows = read_table(self.store, index_path(shard))
        with self.store.open(tar_path(shard)) as file:
            for batch in rows.to_batches(max_chunksize=1024):
                for row in batch.to_pylist():
                    if not wanted[row["row"]]:
                        continue
                    record = Record(
                        text=row["text"],
                        license=row["license"],
                        source_url=row["source_url"],
                        source=json.loads(row["source"] or "{}"),
                        error=row["error"],
                        blocked=row["blocked"],
                    )
                    for member in row["members"] or []:
                        if member["sha256"] and member["size"] <= MAX_MEDIA_BYTES:
                            file.seek(member["offset"])
                            data = file.read(member["size"])
                            if len(data) < member["size"]:
                                record.fail("truncated_record")
                            record.media.append((member["ext"], data))
                    yield record
