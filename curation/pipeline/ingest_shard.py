"""Makes one shard and its index from one piece of a source."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.core.blocklist import Blocker, BlockFile
from curation.core.corpus import index_path, sample_key, tar_path
from curation.core.draw import uniforms
from curation.core.fingerprint import content_uid, digest
from curation.io.image_header import EXTENSIONS, ImageError, read_header, sniff
from curation.io.sources import Piece, Record, Source, domain_of, safe_json
from curation.io.store import Store
from curation.io.tables import read_footer, write_table
from curation.io.tar import TarWriter
from schemas import INDEX


@dataclass(frozen=True, kw_only=True)
class Taking:
    """Which samples of a source are taken: all, or some for a dry run."""

    limit: int = 0
    """Only the first samples; 0 takes all."""
    sample: float = 1.0
    """Share of the samples, drawn by seed."""
    seed: int = 0

    def wanted(self, ordinal: int, samples: int, taken: int) -> list[bool]:
        """For `samples` records from position `ordinal`, `taken` having been taken before."""
        mask = np.ones(samples, bool)
        if self.sample < 1:
            ids = np.arange(ordinal, ordinal + samples, dtype=np.int64)
            mask = uniforms(self.seed, "ingest-sample", ids) < self.sample
        if self.limit:
            mask &= np.cumsum(mask) + taken <= self.limit
        chosen: list[bool] = mask.tolist()
        return chosen


@dataclass(frozen=True)
class PieceItem:
    """A piece on its way to becoming a shard."""

    shard: int
    piece: Piece
    ordinal: int
    """Samples of the source before it."""
    taken: int
    """Samples taken from the source before it."""


@functools.lru_cache(maxsize=4)
def _blocker(files: tuple[BlockFile, ...]) -> Blocker:
    return Blocker(files)


@dataclass(frozen=True)
class IngestShard:
    """A task: commits a shard's tar, then its index; a shard already made from the piece stays."""

    store: Store
    source: Source
    taking: Taking
    blocklists: tuple[BlockFile, ...]

    def __call__(self, item: PieceItem) -> dict[str, Any]:
        """The shard's row in the shard table, and its `media_bytes`."""
        made_from = digest(
            {
                "shard": item.shard,
                "piece": item.piece,
                "at": [item.ordinal, item.taken],
                "taking": self.taking,
                "blocklists": self.blocklists,
            }
        )
        return self._done(item.shard, made_from) or self._make(item, made_from)

    def _done(self, shard: int, made_from: str) -> dict[str, Any] | None:
        footer = read_footer(self.store, index_path(shard))
        if footer is None or footer.get("made_from") != made_from:
            return None
        tar = tar_path(shard)
        if not self.store.exists(tar) or self.store.size(tar) != int(footer["bytes"]):
            return None
        index = hashlib.sha256(self.store.read(index_path(shard))).hexdigest()
        return _shard_row(shard, footer, index)

    def _make(self, item: PieceItem, made_from: str) -> dict[str, Any]:
        wanted = self.taking.wanted(item.ordinal, item.piece.samples, item.taken)
        rows: list[dict[str, Any]] = []
        media_bytes = 0
        with self.store.writer(tar_path(item.shard)) as file:
            tar = TarWriter(file)
            for record in self.source.read(item.piece, wanted):
                row = self._write(tar, item.shard, len(rows), record)
                media_bytes += sum(m["size"] for m in row["members"] if m["sha256"])
                rows.append(row)
            sha256 = tar.finish()
        assert len(rows) == sum(wanted), (len(rows), sum(wanted), item)
        footer = {
            "made_from": made_from,
            "samples": str(len(rows)),
            "bytes": str(tar.bytes),
            "sha256": sha256,
            "errors": str(sum(row["error"] is not None for row in rows)),
            "blocked": str(sum(row["blocked"] is not None for row in rows)),
            "media_bytes": str(media_bytes),
        }
        table = pa.Table.from_pylist(rows, INDEX)
        index = write_table(self.store, index_path(item.shard), table, INDEX, footer)
        return _shard_row(item.shard, footer, index)

    def _write(self, tar: TarWriter, shard: int, row: int, record: Record) -> dict[str, Any]:
        """Adds a sample's members to the tar and returns its index row."""
        hashes = [hashlib.sha256(data).hexdigest() for _, data in record.media]
        text = record.text.encode() if record.text is not None else record.raw_text
        uid = content_uid(hashes, text)
        domain = domain_of(record.source_url)
        blocked = record.blocked or _blocker(self.blocklists).match(
            hashes, uid, record.source_url, domain
        )
        if any(not data for _, data in record.media):
            record.fail("empty_file")
        key = sample_key(shard, row)
        members: list[dict[str, Any]] = []
        width = height = None
        if not blocked:
            for number, (said, data) in enumerate(record.media):
                ext = _extension(data, said)
                if len(record.media) > 1:
                    ext = f"{number}.{ext}"
                offset = tar.add(f"{key}.{ext}", data)
                members.append(
                    {"ext": ext, "offset": offset, "size": len(data), "sha256": hashes[number]}
                )
            if record.text is not None and text is not None:
                offset = tar.add(f"{key}.txt", text)
                members.append({"ext": "txt", "offset": offset, "size": len(text), "sha256": None})
            width, height = _size(record)
        return {
            "shard": shard,
            "row": row,
            "uid": uid,
            "key": key,
            "members": members,
            "text": None if blocked else record.text,
            "width": width,
            "height": height,
            "license": record.license,
            "source_url": record.source_url,
            "domain": domain,
            "source": safe_json(record.source),
            "error": None if blocked else record.error,
            "blocked": blocked,
        }


def _extension(data: bytes, said: str) -> str:
    """By content where it is known, else as the source says, if that is a plain word."""
    kind = sniff(data)
    if kind:
        return EXTENSIONS[kind]
    return said if said.isascii() and said.isalnum() and len(said) <= 8 else "bin"


def _size(record: Record) -> tuple[int | None, int | None]:
    if not record.media:
        return None, None
    try:
        header = read_header(record.media[0][1])
    except ImageError:
        return None, None
    return header.width, header.height


def _shard_row(shard: int, footer: dict[str, str], index_sha256: str) -> dict[str, Any]:
    return {
        "shard": shard,
        "path": tar_path(shard),
        "samples": int(footer["samples"]),
        "bytes": int(footer["bytes"]),
        "sha256": footer["sha256"],
        "index_sha256": index_sha256,
        "errors": int(footer["errors"]),
        "blocked": int(footer["blocked"]),
        "media_bytes": int(footer["media_bytes"]),
    }
