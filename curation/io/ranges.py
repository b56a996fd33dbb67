"""Reads many members of many shards: sorted, neighbouring ones in one request."""

from collections.abc import Iterator
from typing import IO, Any

from curation.core.corpus import tar_path
from curation.io.store import Store

GAP = 32 << 10
"""Bytes between two members that are read along rather than asked for separately."""

WINDOW_BYTES = 64 << 20
_OPEN_FILES = 64


class RangeReader:
    """Members by (shard, offset); keeps some shards open, holds one window of bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: dict[int, IO[bytes]] = {}

    def __enter__(self) -> "RangeReader":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def fetch(self, wanted: list[tuple[int, int, int]]) -> list[bytes]:
        """Bytes of each (shard, offset, size), in the order asked.

        Raises ValueError where a shard is shorter than its index says.
        """
        found: list[bytes] = [b""] * len(wanted)
        order = sorted(range(len(wanted)), key=lambda n: wanted[n])
        for run in _runs(wanted, order):
            shard, low, _ = wanted[run[0]]
            high = max(wanted[n][1] + wanted[n][2] for n in run)
            file = self._open(shard)
            file.seek(low)
            block = file.read(high - low)
            if len(block) < high - low:
                raise ValueError(f"{tar_path(shard)} is shorter than its index says")
            if len(run) == 1:
                found[run[0]] = block
                continue
            for n in run:
                start = wanted[n][1] - low
                found[n] = block[start : start + wanted[n][2]]
        return found

    def _open(self, shard: int) -> IO[bytes]:
        file = self._files.get(shard)
        if file is None:
            if len(self._files) >= _OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[shard] = self._store.open(tar_path(shard))
        return file


def _runs(wanted: list[tuple[int, int, int]], order: list[int]) -> Iterator[list[int]]:
    run: list[int] = []
    end = 0
    for n in order:
        shard, offset, size = wanted[n]
        if run and (shard != wanted[run[0]][0] or offset > end + GAP):
            yield run
            run = []
        end = max(end, offset + size) if run else offset + size
        run.append(n)
    if run:
        yield run


def windows(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Consecutive rows whose members together stay within a window of bytes."""
    window: list[dict[str, Any]] = []
    total = 0
    for row in rows:
        if window and total + row["size"] > WINDOW_BYTES:
            yield window
            window, total = [], 0
        window.append(row)
        total += row["size"]
    if window:
        yield window
