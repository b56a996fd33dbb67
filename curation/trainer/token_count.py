"""How long every sample of an export is, in tokens and patches; no pixel is read.

A layer beside the plan: one Parquet file an export shard, named by what decides it (tokenizer,
vision settings, layout, the shard's index), so that stages and restarts count once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch  # noqa: F401 - the fork server that counts starts the loader's workers too, with it

from curation.core.engine import Engine
from curation.core.errors import CorpusError
from curation.core.fingerprint import digest
from curation.core.progress import Progress
from curation.io.corpus import open_any
from curation.io.store import Store
from curation.io.tables import read_footer, read_table, write_table
from curation.io.tar import BLOCK
from curation.models.glm4v.processor import Laid, Processor
from schemas.manifest import ExportManifest

TOKEN_COUNT = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("tokens", pa.int32()),
        ("supervised", pa.int32()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("segment_tokens", pa.list_(pa.int32())),
        ("segment_supervised", pa.list_(pa.int32())),
        ("segment_patches", pa.list_(pa.int32())),
        ("segment_patch_squares", pa.list_(pa.int64())),
        ("error", pa.string()),
    ]
)
"""A sample's length with `[gMASK]<sop>` and `<|endoftext|>`, its bytes in the tar (header of the
JSON to the end of the last medium), and each segment by itself: tokens, tokens to learn, patches,
sum of squared patches of a frame. `error` is `malformed` where it cannot be laid out."""

ENDS = 3
"""Tokens that begin and end a whole sample."""

STARTS = 2
"""Tokens that begin every part of one."""


@dataclass(frozen=True)
class ExportPart:
    """One shard of an export."""

    shard: int
    path: str
    """Tar file, relative to the export."""
    samples: int
    index_sha256: str

    @property
    def index(self) -> str:
        return f"index/{self.path.removesuffix('.tar')}.parquet"


@dataclass(frozen=True)
class Export:
    """An opened export, as the trainer reads it."""

    name: str
    """Of the corpus; unique in a plan."""
    store: Store
    manifest: ExportManifest
    parts: tuple[ExportPart, ...]

    @property
    def identity(self) -> dict[str, str]:
        """What names its samples and their order, wherever it lies."""
        return {
            "name": self.name,
            "fingerprint": self.manifest.fingerprint,
            "shards": self.manifest.tables["shards"].sha256,
        }


def open_export(url: str) -> Export:
    """An export, or that of a run directory. Raises CorpusError for anything else."""
    opened = open_any(url)
    if opened.export is None:
        raise CorpusError(f"{url}: not an export; make one of it with `curate export`")
    store, manifest = opened.export
    columns = ["shard", "path", "samples", "index_sha256"]
    table = read_table(store, manifest.tables["shards"].path, columns)
    parts = tuple(ExportPart(**row) for row in table.to_pylist())
    return Export(manifest.name, store, manifest, parts)


def named_apart(exports: list[Export]) -> list[Export]:
    """The same exports, those that share a name numbered from the second on."""
    seen: dict[str, int] = {}
    named = []
    for export in exports:
        seen[export.name] = number = seen.get(export.name, 0) + 1
        named.append(export if number == 1 else replace(export, name=f"{export.name}-{number}"))
    return named


@dataclass(frozen=True)
class CountShard:
    """A task: commits the token counts of one export shard."""

    export: Store
    into: Store
    processor: Processor
    folder: str

    def path(self, part: ExportPart) -> str:
        return f"{self.folder}/{part.shard:06d}.parquet"

    def __call__(self, part: ExportPart) -> int:
        """Samples counted; a file that is there already stays."""
        footer = read_footer(self.into, self.path(part))
        if footer is None or footer.get("index") != part.index_sha256:
            index = read_table(self.export, part.index, ["shard", "row", "members", "segments"])
            rows = [self._count(row) for batch in index.to_batches() for row in batch.to_pylist()]
            table = pa.Table.from_pylist(rows, TOKEN_COUNT)
            footer = {"index": part.index_sha256}
            write_table(self.into, self.path(part), table, TOKEN_COUNT, footer)
        return part.samples

    def _count(self, row: dict[str, Any]) -> dict[str, Any]:
        counted = {"shard": row["shard"], "row": row["row"], "error": None}
        try:
            offset, size = _place(row["members"])
            laid = self.processor.lay_out(json.loads(row["segments"]))
        except (ValueError, TypeError, RecursionError):
            nothing = dict.fromkeys(("tokens", "supervised", "offset", "size"), 0)
            return {**counted, **nothing, "error": "malformed"}
        tokens = [len(part.ids) for part in laid]
        supervised = [len(part.ids) if part.learnt else 0 for part in laid]
        return {
            **counted,
            "offset": offset,
            "size": size,
            "tokens": sum(tokens) + ENDS,
            "supervised": sum(supervised) + 1,
            "segment_tokens": tokens,
            "segment_supervised": supervised,
            "segment_patches": [part.medium.patches if part.medium else 0 for part in laid],
            "segment_patch_squares": [_squares(part) for part in laid],
        }


def _place(members: Sequence[dict[str, int]]) -> tuple[int, int]:
    """Where a sample begins in its tar, and its bytes. Raises ValueError or TypeError for none."""
    if not members:
        raise ValueError("no members")
    start = members[0]["offset"] - BLOCK
    size = members[-1]["offset"] + members[-1]["size"] - start
    if start < 0 or size < BLOCK:
        raise ValueError("members that lie nowhere in a tar")
    return start, size


def _squares(part: Laid) -> int:
    """Attention of the vision tower: every patch of a frame looks at every other."""
    if part.medium is None:
        return 0
    time, tall, wide = part.medium.grid
    return int(time * (tall * wide) ** 2)


def count_tokens(
    export: Export, processor: Processor, into: Store, engine: Engine, progress: Progress
) -> Iterator[str]:
    """Counts every shard that is not counted yet; yields the files of `into`, in shard order."""
    folder = f"token_count-{digest(processor.identity())}/{export.manifest.fingerprint}"
    task = CountShard(export.store, into, processor, folder)
    samples = sum(part.samples for part in export.parts)
    with progress.track(f"count tokens of {export.name}", samples, "samples") as tracker:
        for counted in engine.map(task, export.parts):
            tracker.advance(counted)
    for part in export.parts:
        yield task.path(part)
