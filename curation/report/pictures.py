"""Reads chosen samples and makes their thumbnails, trusting neither bytes nor text."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from curation.core.corpus import index_path
from curation.io.corpus import Corpus
from curation.io.image_decode import MAX_SCANS, DecodeError, thumbnail
from curation.io.image_header import ImageError, read_header
from curation.io.media import read_member
from curation.io.tables import read_table
from curation.report.columns import final_ledger, ledger_of_index

SIDES = (224, 176, 144, 112, 80, 56)
"""Pixels of a thumbnail's longer side, the first that fits its share of the page."""

MAX_MEMBER_BYTES = 64 << 20
"""Bytes above which an image is not opened for a thumbnail."""

_NEVER = frozenset({"too_many_pixels", "too_many_scans", "crashed", "timeout", "out_of_memory"})
"""Faults of images that are not decoded again."""

LOOK = 1_000
"""Characters of a caption that leave the shard."""

_START_OF_SCAN = b"\xff\xda"

Place = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Picked:
    """One chosen sample."""

    ledger: dict[str, Any]
    """Its row of the final ledger."""
    text: str | None
    """The start of its caption."""
    length: int
    """Characters of the whole caption."""
    width: int | None
    height: int | None
    member: dict[str, Any] | None
    """Where its first image lies."""

    @property
    def uid(self) -> str:
        return str(self.ledger["uid"])

    @property
    def place(self) -> Place:
        return self.ledger["shard"], self.ledger["row"]

    @property
    def stored(self) -> tuple[int, dict[str, Any]]:
        """Shard and member of its first image."""
        assert self.member is not None
        return self.ledger["shard"], self.member


Read = Callable[[Picked], bytes]
"""Bytes of the first image of a sample that has one."""


def pick(corpus: Corpus, places: Iterable[Place]) -> dict[Place, Picked]:
    """The samples at `places`; each shard that holds one is read once."""
    by_shard: dict[int, list[int]] = {}
    for shard, row in sorted(set(places)):
        by_shard.setdefault(shard, []).append(row)
    final = final_ledger(corpus)
    found: dict[Place, Picked] = {}
    for shard, rows in by_shard.items():
        columns = ["shard", "row", "uid", "text", "width", "height", "members", "error", "blocked"]
        index = read_table(corpus.store, index_path(shard), columns)
        ledger = (
            read_table(corpus.store, final.path(shard)) if final else ledger_of_index(index)
        ).take(rows)
        index = index.take(rows)
        starts = pc.utf8_slice_codeunits(index["text"], 0, LOOK).to_pylist()
        lengths = pc.utf8_length(index["text"]).to_pylist()
        said = index.select(["width", "height", "members"]).to_pylist()
        for nth, row in enumerate(ledger.to_pylist()):
            media = [m for m in said[nth]["members"] or [] if m["sha256"]]
            found[shard, rows[nth]] = Picked(
                ledger=row,
                text=starts[nth],
                length=lengths[nth] or 0,
                width=said[nth]["width"],
                height=said[nth]["height"],
                member=media[0] if media else None,
            )
    return found


@dataclass(frozen=True)
class Picture:
    """A thumbnail as a data URI, or why there is none."""

    uri: str = ""
    why_not: str = ""


def picture(read: Read, sample: Picked, room: int) -> Picture:
    """A thumbnail of at most `room` bytes as it stands in the page."""
    if sample.member is None:
        return Picture(why_not="no image")
    if sample.ledger["error"] in _NEVER:
        return Picture(why_not="not opened again")
    if sample.member["size"] > MAX_MEMBER_BYTES:
        return Picture(why_not="too large to show")
    data = read(sample)
    try:
        if read_header(data).format == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
            return Picture(why_not="not opened")
        for side in SIDES:
            data = thumbnail(data, side)
            if 4 * len(data) / 3 < room:
                return Picture(uri=f"data:image/jpeg;base64,{base64.b64encode(data).decode()}")
    except (DecodeError, ImageError) as fault:
        return Picture(why_not=fault.code.replace("_", " "))
    except MemoryError:
        return Picture(why_not="out of memory")
    return Picture(why_not="no room on this page")


def reader_of(corpus: Corpus) -> Read:
    """Reads first images out of a corpus's shards."""
    return lambda sample: read_member(corpus.store, *sample.stored)
