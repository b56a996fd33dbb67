"""Reads samples' bytes from a shard, in batches bounded by bytes."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from curation.core.corpus import index_path, tar_path
from curation.core.errors import CorpusError
from curation.core.step import INDEX_COLUMNS
from curation.io.store import Store
from curation.io.tables import read_table

BATCH_BYTES = 64 << 20
BATCH_ROWS = 1024


def index_columns(index: pa.Table) -> pa.Table:
    """The index with `media_sha256`, the hash of the first media member, beside its columns."""
    hashes = [members[0]["sha256"] if members else None for members in index["members"].to_pylist()]
    index = index.append_column("media_sha256", pa.array(hashes, pa.string()))
    return index.select(["shard", "row", "uid", *INDEX_COLUMNS.names, "error", "blocked"])


def batches(store: Store, shard: int, *, images: bool) -> Iterator[pa.RecordBatch]:
    """The shard's rows in order, with their first image's bytes where `images` is asked for.

    A batch spans at most 64 MB of the shard (or one image) and 1,024 rows. Rows that ingest could
    not read, or that a blocklist stopped, have a null image.
    """
    index = read_table(store, index_path(shard))
    columns = index_columns(index).combine_chunks()
    if not images:
        yield from columns.to_batches(max_chunksize=BATCH_ROWS)
        return
    bad = [
        bool(e or b)
        for e, b in zip(index["error"].to_pylist(), index["blocked"].to_pylist(), strict=True)
    ]
    members = index["members"].to_pylist()
    with store.open(tar_path(shard)) as file:
        for start, stop in _runs(members, bad):
            try:
                data = _read(file, members[start:stop], bad[start:stop], seek=store.is_local)
            except ValueError as error:
                raise CorpusError(
                    f"{store.path(tar_path(shard))}: shorter than its index says; "
                    "run `curate verify`"
                ) from error
            (batch,) = columns.slice(start, stop - start).combine_chunks().to_batches() or [None]
            yield batch.append_column(pa.field("image", pa.large_binary()), data)


def _runs(members: list[Any], bad: list[bool]) -> Iterator[tuple[int, int]]:
    start, low = 0, -1
    for row, (parts, skip) in enumerate(zip(members, bad, strict=True)):
        image = parts[0] if parts and not skip else None
        wide = image and low >= 0 and image["offset"] + image["size"] - low > BATCH_BYTES
        if row > start and (wide or row - start >= BATCH_ROWS):
            yield start, row
            start, low = row, -1
        if image and low < 0:
            low = image["offset"]
    if start < len(members):
        yield start, len(members)


def _read(file: IO[bytes], members: list[Any], bad: list[bool], *, seek: bool) -> pa.Array:
    """First members as large_binary, each read to where it stays; null where there is none.

    They lie behind each other in the tar: where a seek is a request (`seek` is false), the whole
    stretch is read at once. Raises ValueError where the shard is shorter than its index says.
    """
    wanted = [
        parts[0] if parts and parts[0]["sha256"] and not skip else None
        for parts, skip in zip(members, bad, strict=True)
    ]
    ends = np.cumsum([0, *(member["size"] if member else 0 for member in wanted)], dtype=np.int64)
    data = pa.allocate_buffer(int(ends[-1]))
    there = [(member, int(end)) for member, end in zip(wanted, ends, strict=False) if member]
    if there:
        view = memoryview(data).cast("B")  # Arrow's own is of signed bytes
        low, last = there[0][0]["offset"], there[-1][0]
        block = memoryview(b"")
        if not seek:
            file.seek(low)
            block = memoryview(file.read(last["offset"] + last["size"] - low))
        for member, start in there:
            place = view[start : start + member["size"]]
            if seek:
                file.seek(member["offset"])
                got = file.readinto(place)  # type: ignore[attr-defined]
            else:
                part = block[member["offset"] - low :][: member["size"]]
                got = len(part)
                place[:got] = part
            if got < member["size"]:
                raise ValueError(member["offset"])
    valid = np.packbits([member is not None for member in wanted], bitorder="little")
    buffers = [pa.py_buffer(valid.tobytes()), pa.py_buffer(ends), data]
    return pa.Array.from_buffers(pa.large_binary(), len(wanted), buffers)


def read_member(store: Store, shard: int, member: dict[str, Any]) -> bytes:
    """The bytes of one member."""
    with store.open(tar_path(shard)) as file:
        file.seek(member["offset"])
        return file.read(member["size"])
