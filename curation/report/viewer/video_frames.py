"""Frames of a video as small JPEGs, decoded in a process of its own that is bound in every way.

    python -m curation.report.viewer.video_frames TAR OFFSET SIZE SIDE [SECONDS ...]

A codec reads a stranger's bytes at the speed of C: what it breaks is this process, and a clip that
takes too long, or too much memory, costs the viewer nothing. Playlists, which name other files and
addresses, are no videos here: the container is told by its first bytes, and no other is tried.
"""

import contextlib
import importlib.util
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from curation.io.video_container import NEEDED, video_container

MOST = 8
"""Frames of a clip that are drawn."""
MAX_PIXELS = 1 << 25
"""Of a frame."""
MISSING = "its frames need PyAV (pip install 'curation[train]')"

_TIMEOUT = 20
"""Seconds until the process is ended."""
_ENOUGH = 10
"""Seconds of decoding after which the frames that are there have to do."""
_MEMORY = 2 << 30
_NEAR = 0.02
"""Seconds by which a frame may come before the time that is asked for."""
_QUALITY = 75


class NoFramesError(Exception):
    """Nothing can be drawn; the message says why, in a few words."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a video lies."""

    tar: str
    """File of this machine."""
    offset: int
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame, upright."""

    seconds: float
    jpeg: bytes


def is_there() -> bool:
    """Whether PyAV is installed (the extra `train`)."""
    return importlib.util.find_spec("av") is not None


def chosen(times: Sequence[float]) -> list[float]:
    """Some of the times of a clip's frames, evenly: the first, the last and those between."""
    steps = min(MOST, len(times))
    if steps < 2:
        return list(times)
    return [times[round(n * (len(times) - 1) / (steps - 1))] for n in range(steps)]


def frames(
    video: Stored,
    times: Sequence[float],
    side: int,
    started: Callable[[subprocess.Popen[bytes]], None],
) -> list[Frame]:
    """Frames at `times` (seconds, ascending), or the first, the middle and the last where empty.

    No side is longer than `side` pixels. `started` is given the process, so that another thread can
    end it. Raises NoFramesError.
    """
    where = [video.tar, str(video.offset), str(video.size), str(side)]
    command = [
        sys.executable,
        "-m",
        "curation.report.viewer.video_frames",
        *where,
        *map(repr, times),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        started(process)
        try:
            told, _ = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise NoFramesError("it takes too long to decode") from error
    head, _, data = told.partition(b"\n")
    if process.returncode or not head:
        raise NoFramesError("it cannot be decoded")
    said = json.loads(head)
    if "error" in said:
        raise NoFramesError(said["error"])
    found, start = [], 0
    for seconds, size in said["frames"]:
        found.append(Frame(seconds=seconds, jpeg=data[start : start + size]))
        start += size
    return found


class _Slice(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._offset + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _decoded(file: Any, times: list[float], side: int) -> Iterator[Frame]:
    import av

    enough = time.monotonic() + _ENOUGH
    name = video_container(file.read(NEEDED))
    if name is None:
        raise NoFramesError("it is no video that is known here")
    file.seek(0)
    with av.open(file, mode="r", format=name) as container:
        if not container.streams.video:
            raise NoFramesError("it has no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise NoFramesError("its frames are too large to show")
        length = _length(container, stream)
        for wanted in times or [0.0, length / 2, length]:
            frame = _at(container, stream, wanted, enough)
            if frame is None:
                return
            yield Frame(seconds=round(frame.time, 3), jpeg=_jpeg(frame, side))


def _length(container: Any, stream: Any) -> float:
    """Seconds, 0 where nothing tells."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6


def _at(container: Any, stream: Any, wanted: float, enough: float) -> Any:
    """The frame shown at a time, the last before it where none is; null where there is no more."""
    import av

    with contextlib.suppress(av.FFmpegError, OverflowError):  # then it is read from where it is
        container.seek(max(0, int(wanted / stream.time_base)), stream=stream)
    before = None
    try:
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            if frame.time >= wanted - _NEAR:
                return frame
            before = frame
            if time.monotonic() > enough:
                return None
    except av.error.EOFError:
        pass
    return before


def _jpeg(frame: Any, side: int) -> bytes:
    if frame.width * frame.height > MAX_PIXELS:
        raise NoFramesError("its frames are too large to show")
    scale = min(1.0, side / max(frame.width, frame.height))
    width, height = (max(1, round(scale * one)) for one in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4
    image = Image.fromarray(small).rotate(90 * turns, expand=True)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()


def _main(tar: str, offset: str, size: str, side: str, *times: str) -> None:
    import av

    for limit, most in ((resource.RLIMIT_CPU, _TIMEOUT), (resource.RLIMIT_DATA, _MEMORY)):
        with contextlib.suppress(OSError, ValueError):  # a system that has no such limit
            resource.setrlimit(limit, (most, most))
    found: list[Frame] = []
    said: dict[str, Any] = {}
    try:
        with Path(tar).open("rb") as file:
            part = _Slice(file, int(offset), int(size))
            found.extend(_decoded(part, [float(one) for one in times], int(side)))
    except NoFramesError as fault:
        said = {"error": str(fault)}
    except (av.FFmpegError, ValueError, IndexError, OverflowError):
        said = {"error": "it cannot be decoded"}
    except MemoryError:
        said = {"error": "it takes too much memory to decode"}
    if found:  # what could be decoded is shown, whatever came after it
        said = {"frames": [[frame.seconds, len(frame.jpeg)] for frame in found]}
    out = sys.stdout.buffer
    out.write(json.dumps(said or {"error": "it has no frame"}).encode() + b"\n")
    out.write(b"".join(frame.jpeg for frame in found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
