"""Pixels of a sample's media: images as they are to be seen, video frames by their time."""

import io
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curation.io.image_decode import DecodeError, whole_image
from curation.io.image_header import ImageError, read_header
from curation.io.video_container import NEEDED, video_container

MAX_PIXELS: Final = 1 << 28
"""Of an image or a video frame; curation bounds them far lower."""

_NEAR: Final = 0.02
"""Seconds by which a frame's time may differ from the planned one: less than half a frame of the
fastest usual rate (24 a second and below lie 0.04 apart; faster ones are told by the nearest)."""


def decode_image(data: bytes, width: int, height: int) -> npt.NDArray[np.uint8]:
    """An image as (1, height, width, 3), after EXIF orientation, transparency left away.

    Raises DecodeError: the codes of the image readers, and `corrupt_image` where the image has
    another size than the index tells.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = whole_image(data, read_header(data), MAX_PIXELS).convert("RGB")
    except DecodeError:
        raise
    except ImageError as error:
        raise DecodeError(error.code) from error
    if image.size != (width, height):
        raise DecodeError("corrupt_image")
    return np.array(image)[None]


def decode_video(
    data: bytes, width: int, height: int, times: Sequence[float]
) -> npt.NDArray[np.uint8]:
    """Frames shown at `times` (seconds, ascending) as (n, height, width, 3), upright.

    Frames are told apart by presentation time, never by number: where frames are of uneven length
    or were cut, numbers lie. Raises DecodeError with `corrupt_video` where a frame is missing, has
    another size, or cannot be decoded, and for what is neither MP4, MOV, Matroska, WebM nor AVI.
    """
    import av

    frames: list[npt.NDArray[np.uint8]] = []
    wanted = list(times)
    known = video_container(data[:NEEDED])
    if known is None:
        raise DecodeError("corrupt_video")
    try:
        with av.open(io.BytesIO(data), mode="r", format=known) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            before: Any = None
            for frame in container.decode(stream):
                if frame.time is None:
                    raise DecodeError("corrupt_video")
                # A frame is taken when the next one is farther from the time asked for.
                while wanted and before is not None and _nearer(before.time, frame.time, wanted[0]):
                    frames.append(_upright(before, wanted.pop(0), (width, height)))
                if not wanted:
                    break
                before = frame
            while wanted and before is not None:
                frames.append(_upright(before, wanted.pop(0), (width, height)))
    except (av.FFmpegError, IndexError, ValueError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError("corrupt_video") from error
    except MemoryError as error:
        raise DecodeError("out_of_memory") from error
    if wanted:
        raise DecodeError("corrupt_video")
    return np.stack(frames)


def _nearer(before: float, after: float, wanted: float) -> bool:
    return abs(before - wanted) <= abs(after - wanted) and after > before


def _upright(frame: Any, wanted: float, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A decoded frame in RGB, turned as the file says."""
    if abs(frame.time - wanted) > _NEAR:
        raise DecodeError("corrupt_video")
    pixels: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    pixels = np.rot90(pixels, turns) if turns else pixels
    if pixels.shape[:2] != (size[1], size[0]):
        raise DecodeError("corrupt_video")
    return np.ascontiguousarray(pixels)
