"""Pictures of samples, decoded and written again: what a stranger stored never leaves as it is."""

from threading import Lock

from curation.core.corpus import tar_path
from curation.core.errors import CorpusError
from curation.io.image_decode import DecodeError, thumbnail
from curation.io.image_header import ImageError
from curation.io.media import read_member
from curation.report.pictures import MAX_MEMBER_BYTES
from curation.report.viewer import video_frames
from curation.report.viewer.blocks import Medium
from curation.report.viewer.fates import SHOWN
from curation.report.viewer.kept import Kept
from curation.report.viewer.rows import RowReader

SIDES = (96, 240, 1200)
"""Pixels of the longer side that can be asked for."""
_BYTES = 64 << 20
"""Bytes of pictures that are kept at hand."""
_NEVER = frozenset({"too_many_pixels", "too_many_scans", "crashed", "timeout", "out_of_memory"})
"""Faults of images that are not decoded again."""
_BROKEN = frozenset(
    {"empty_file", "unsupported_format", "corrupt_image", "truncated_image", "corrupt_video"}
)
"""Faults of media that cannot be decoded."""


class NoPictureError(Exception):
    """There is nothing to show; the message says why, in a few words."""


class ClipError(NoPictureError):
    """It is a video: its frames are decoded elsewhere."""


class Thumbnails:
    """JPEGs of images by position and number; one is decoded at a time, so memory is bounded."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self._made: Kept[tuple[int, int, int], bytes] = Kept(_BYTES, len)
        self._decoding = Lock()

    def jpeg(self, position: int, side: int, nth: int = 0) -> bytes:
        """The sample's `nth` medium. Raises NoPictureError, ClipError for a video."""
        return self._made.get((position, side, nth), lambda: self._make(position, side, nth))

    def _make(self, position: int, side: int, nth: int) -> bytes:
        fates, corpus = self._reader.fates, self._reader.corpus
        if fates.seen(position) != SHOWN:
            raise NoPictureError("withheld")
        (row,) = self._reader.rows([position])
        if (why := why_none(row)) is not None:
            raise NoPictureError(why)
        media = [member for member in row["members"] if member["sha256"]]
        if nth >= len(media):
            raise NoPictureError("no such image")
        member = media[nth]
        if Medium.of(nth, member["ext"]).is_video:
            raise ClipError("a video")
        if not 0 < member["size"] <= MAX_MEMBER_BYTES:
            raise NoPictureError("too large to show")
        data = read_member(corpus.store, row["shard"], member)
        if len(data) < member["size"]:
            path = corpus.store.path(tar_path(row["shard"]))
            raise CorpusError(f"{path}: shorter than its index says; run `curate verify`")
        with self._decoding:
            try:
                return thumbnail(data, side)
            except (DecodeError, ImageError) as fault:
                raise NoPictureError(fault.code.replace("_", " ")) from fault
            except MemoryError as fault:
                raise NoPictureError("out of memory") from fault


def why_none(row: dict[str, object]) -> str | None:
    """Why a sample that may be shown has no picture; null where it should have one."""
    if (why := why_unread(row)) is not None:
        return why
    members = row["members"]
    media = [m for m in members if m["sha256"]] if isinstance(members, list) else []
    if not media:
        return "no image"
    seen = not Medium.of(0, media[0]["ext"]).is_video or video_frames.is_there()
    return None if seen else "a video"


def why_unread(row: dict[str, object]) -> str | None:
    """Why the media of a sample are not opened; null where they are."""
    ledger = row["ledger"]
    assert isinstance(ledger, dict)
    if row["error"]:
        return str(row["error"]).replace("_", " ")
    if ledger["error"] in _NEVER:
        return "not opened again"
    if ledger["error"] in _BROKEN:
        return str(ledger["error"]).replace("_", " ")
    return None
