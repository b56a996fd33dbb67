"""Frames of the clips of a corpus, by position: decoded elsewhere, kept at hand here."""

import subprocess
from pathlib import Path
from threading import Lock
from typing import Any

from curation.core.corpus import tar_path
from curation.core.errors import CorpusError
from curation.report.viewer import video_frames
from curation.report.viewer.blocks import Medium
from curation.report.viewer.fates import SHOWN
from curation.report.viewer.kept import Kept
from curation.report.viewer.rows import RowReader
from curation.report.viewer.thumbnails import NoPictureError, why_unread
from curation.report.viewer.training import Training
from curation.report.viewer.video_frames import Frame, NoFramesError, Stored, chosen

SIDE = 480
"""Pixels of the longer side of a frame."""
_BYTES = 32 << 20
"""Bytes of frames that are kept at hand."""
_LARGEST = 1 << 30
"""Bytes of a clip that is opened."""


class Clips:
    """One clip is decoded at a time; safe to ask from many threads."""

    def __init__(self, reader: RowReader, training: Training) -> None:
        """`training` tells the times of the frames that the trainer is given."""
        self._reader, self._training = reader, training
        self._made: Kept[tuple[int, int], list[Frame]] = Kept(_BYTES, _weight)
        self._decoding = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def frames(self, position: int, nth: int) -> list[Frame]:
        """Some frames of the sample's `nth` medium, in time. Raises NoPictureError."""
        return self._made.get((position, nth), lambda: self._make(position, nth))

    def jpeg(self, position: int, nth: int, frame: int) -> bytes:
        """One of `frames`. Raises NoPictureError."""
        found = self.frames(position, nth)
        if frame >= len(found):
            raise NoPictureError("no such frame")
        return found[frame].jpeg

    def close(self) -> None:
        """Ends what is being decoded: whoever waits for it is told that it failed."""
        if self._process is not None:
            self._process.kill()

    def _make(self, position: int, nth: int) -> list[Frame]:
        if self._reader.fates.seen(position) != SHOWN:
            raise NoPictureError("withheld")
        (row,) = self._reader.rows([position])
        if (why := why_unread(row)) is not None:
            raise NoPictureError(why)
        media = [member for member in row["members"] or [] if member["sha256"]]
        if nth >= len(media) or not Medium.of(nth, media[nth]["ext"]).is_video:
            raise NoPictureError("no such video")
        if not video_frames.is_there():
            raise NoPictureError(video_frames.MISSING)
        video = self._stored(row["shard"], media[nth])
        try:
            with self._decoding:
                times = chosen(self._times(position, nth))
                return video_frames.frames(video, times, SIDE, self._started)
        except NoFramesError as why_not:
            raise NoPictureError(str(why_not)) from why_not

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _stored(self, shard: int, member: dict[str, Any]) -> Stored:
        if not 0 < member["size"] <= _LARGEST:
            raise NoPictureError("too large to show")
        path = self._reader.corpus.store.path(tar_path(shard))
        try:
            there = Path(path).stat().st_size
        except OSError as error:
            raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
        if there < member["offset"] + member["size"]:
            raise CorpusError(f"{path}: shorter than its index says; run `curate verify`")
        return Stored(tar=path, offset=member["offset"], size=member["size"])

    def _times(self, position: int, nth: int) -> list[float]:
        """Of its frames in the training sample; none where it was not exported, or they are odd."""
        said = self._training.sample(position)
        for segment in said["segments"] if said else []:
            number = str(segment.get("member", "")).partition(".")[0]
            times = segment.get("timestamps")
            if segment.get("type") == "video" and number == str(nth) and isinstance(times, list):
                usable = all(type(t) in (int, float) and 0 <= t < 1e6 for t in times)
                return sorted(map(float, times)) if usable else []
        return []


def _weight(found: list[Frame]) -> int:
    return sum(len(frame.jpeg) for frame in found)
