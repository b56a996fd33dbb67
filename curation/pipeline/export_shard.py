"""Writes one export shard: training samples in planned order, copied bytes, one index."""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.errors import CorpusError
from curation.core.fingerprint import digest
from curation.families.image_text import FAMILY, assemble, encode, encode_segments
from curation.io.ranges import RangeReader, windows
from curation.io.store import Store
from curation.io.strip_metadata import strip_metadata
from curation.io.tables import read_footer, read_table, write_table
from curation.io.tar import TarWriter
from curation.pipeline.export_plan import PlannedShard
from schemas import EXPORT_INDEX


@dataclass(frozen=True)
class ExportShard:
    """A task: commits a shard's tar, its offsets for Megatron-Energon, then its index."""

    corpus: Store
    out: Store
    plan: Store
    stem: str
    """Corpus name and hash, as every shard's name starts."""
    strip: bool

    def tar(self, shard: int) -> str:
        return f"{self.stem}-{shard:06d}.tar"

    def index(self, shard: int) -> str:
        return f"index/{self.stem}-{shard:06d}.parquet"

    def __call__(self, planned: PlannedShard) -> dict[str, Any]:
        """The shard's row in the shard table, its `members` and counts by licence and language."""
        made_from = digest({"plan": planned.sha256, "stem": self.stem, "strip": self.strip})
        footer = read_footer(self.out, self.index(planned.shard))
        if (
            footer is None
            or footer.get("made_from") != made_from
            or not self._whole(footer, planned)
        ):
            footer = self._write(planned, made_from)
        index = self.out.read(self.index(planned.shard))
        return {
            "shard": planned.shard,
            "path": self.tar(planned.shard),
            "index_sha256": hashlib.sha256(index).hexdigest(),
            **json.loads(footer["counts"]),
        }

    def _whole(self, footer: dict[str, str], planned: PlannedShard) -> bool:
        tar = self.tar(planned.shard)
        size = json.loads(footer["counts"])["bytes"]
        there = self.out.exists(tar) and self.out.exists(f"{tar}.idx")
        return bool(there and self.out.size(tar) == size)

    def _write(self, planned: PlannedShard, made_from: str) -> dict[str, str]:
        rows = read_table(self.plan, planned.file).to_pylist()
        indexed: list[dict[str, Any]] = []
        starts: list[int] = []
        with self.out.writer(self.tar(planned.shard)) as file, RangeReader(self.corpus) as reader:
            tar = TarWriter(file)
            for window in windows(rows):
                media = iter(self._fetch(reader, window))
                for row in window:
                    starts.append(tar.bytes)
                    indexed.append(self._sample(tar, planned.shard, len(indexed), row, media))
            starts.append(tar.bytes)
            sha256 = tar.finish()
        offsets = struct.pack(f"<{len(starts)}Q", *starts)
        self.out.write(f"{self.tar(planned.shard)}.idx", offsets)
        counts = {
            "samples": len(indexed),
            "bytes": tar.bytes,
            "sha256": sha256,
            "members": sorted({m["ext"] for row in indexed for m in row["members"] if m["sha256"]}),
            "licenses": _counts(indexed, "license"),
            "languages": _counts(indexed, "language"),
        }
        footer = {"made_from": made_from, "counts": json.dumps(counts, sort_keys=True)}
        table = pa.Table.from_pylist(indexed, EXPORT_INDEX)
        write_table(self.out, self.index(planned.shard), table, EXPORT_INDEX, footer)
        return footer

    def _fetch(self, reader: RangeReader, window: list[dict[str, Any]]) -> list[bytes]:
        wanted = [
            (row["shard"], member["offset"], member["size"])
            for row in window
            for member in row["members"]
            if member["sha256"]
        ]
        try:
            return reader.fetch(wanted)
        except ValueError as error:
            raise CorpusError(f"{self.corpus.path('')}: {error}; run `curate verify`") from error

    def _sample(
        self, tar: TarWriter, shard: int, number: int, row: dict[str, Any], media: Any
    ) -> dict[str, Any]:
        """Adds a sample and returns its index row."""
        sample, named = assemble(row)
        segments = encode_segments(sample)
        text = encode(sample, segments)
        offset = tar.add(f"{row['key']}.json", text)
        members = [{"ext": "json", "offset": offset, "size": len(text), "sha256": None}]
        for name, member in named:
            data = next(media)
            sha256 = member["sha256"]
            if self.strip:
                data = strip_metadata(data)
                sha256 = hashlib.sha256(data).hexdigest()
            offset = tar.add(f"{row['key']}.{name}", data)
            members.append({"ext": name, "offset": offset, "size": len(data), "sha256": sha256})
        return {
            "shard": shard,
            "row": number,
            "uid": row["uid"],
            "key": row["key"],
            "family": FAMILY,
            "members": members,
            "segments": segments,
            "license": row["license"],
            "domain": row["domain"],
            "language": row["language"],
            "source_shard": row["shard"],
            "source_row": row["row"],
        }


def _counts(rows: list[dict[str, Any]], column: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in rows:
        value = (row[column] or "(none stated)")[:200]
        counted[value] = counted.get(value, 0) + 1
    return dict(sorted(counted.items()))
