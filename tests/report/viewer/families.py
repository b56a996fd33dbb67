"""Runs of every family, out of the trainer's fixtures: a corpus of their media, and its export."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa

from curation.core.corpus import FORMAT_VERSION, MANIFEST, index_path, tar_path
from curation.core.fingerprint import content_uid
from curation.core.manifest import encode_manifest, schema_hash
from curation.io.store import Store
from curation.io.tables import write_table
from curation.io.tar import TarWriter
from curation.version import __version__
from schemas import INDEX, SHARDS
from schemas.manifest import CorpusManifest, TableRef, Totals
from tests.trainer.samples import FAMILIES, Made, write_export


def family_run(folder: Path, family: str, count: int = 6) -> Path:
    """A run directory whose corpus, of one shard, is not decided and whose export has all of it."""
    samples = list(FAMILIES[family](0, count))
    write_export(folder / "export", family, samples, count=count)
    store = Store(str(folder / "corpus"))
    sink = io.BytesIO()
    tar = TarWriter(sink)
    rows = [_row(tar, row, made) for row, made in enumerate(samples)]
    sha256 = tar.finish()
    store.write(tar_path(0), sink.getvalue())
    index = write_table(store, index_path(0), pa.Table.from_pylist(rows, INDEX), INDEX, {})
    shard = {"shard": 0, "path": tar_path(0), "samples": count, "bytes": tar.bytes,
             "sha256": sha256, "index_sha256": index, "errors": 0, "blocked": 0}  # fmt: skip
    table = write_table(
        store, "tables/shards.parquet", pa.Table.from_pylist([shard], SHARDS), SHARDS, {}
    )
    manifest = CorpusManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family=family,
        recipe={},
        seed=0,
        inputs=[],
        schemas={"index": schema_hash(INDEX), "shards": schema_hash(SHARDS)},
        tables={"shards": TableRef(path="tables/shards.parquet", sha256=table, rows=1)},
        totals=Totals(ingested=count, kept=0, dropped=0, quarantined=0),
    )
    store.write(MANIFEST, encode_manifest(manifest))
    return folder


def _row(tar: TarWriter, row: int, made: Made) -> dict[str, object]:
    segments, media = made
    key = f"{0:09d}{row:06d}"
    members = []
    for name, data in media:
        sha256 = hashlib.sha256(data).hexdigest()
        offset = tar.add(f"{key}.{name}", data)
        members.append({"ext": name, "offset": offset, "size": len(data), "sha256": sha256})
    text = " ".join(segment["text"] for segment in segments if segment["type"] == "text")
    first = next(segment for segment in segments if segment["type"] in ("image", "video"))
    return {
        **dict.fromkeys(INDEX.names),
        "shard": 0,
        "row": row,
        "uid": content_uid([str(m["sha256"]) for m in members], text.encode()),
        "key": key,
        "members": members,
        "text": text,
        "width": first["width"],
        "height": first["height"],
    }
