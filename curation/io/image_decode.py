"""One reduced decode of an image: luma only, its short side cut to between 256 and 511 pixels.

JPEG is scaled while it is decoded (libjpeg's DCT scaling, through Pillow's draft mode); other
formats are decoded whole and box-reduced by an integer factor.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from curation.io.image_header import (
    PILLOW_FAULTS,
    PILLOW_FORMATS,
    ImageError,
    ImageHeader,
    read_header,
)

SHORT_SIDE = 256
MAX_SCANS = 200
"""Scans a progressive JPEG may have; encoders write about ten, bombs write thousands."""

_START_OF_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a length: the reserved one, restarts, the start of an image."""


class DecodeError(ImageError):
    """The pixels cannot be read; `code` is one of the record error codes."""


def reduced_luma(data: bytes, header: ImageHeader, max_pixels: int) -> Image.Image:
    """The first frame as a mode "L" image after EXIF orientation.

    Raises DecodeError with `too_many_pixels`, `too_many_scans`, `truncated_image`,
    `corrupt_image` or `out_of_memory`.
    """
    _refuse_bombs(data, header, max_pixels)
    with _coded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(data, header, max_pixels)


def whole_image(data: bytes, header: ImageHeader, max_pixels: int) -> Image.Image:
    """The first frame at its full size after EXIF orientation, in its own mode.

    Modes of more than 8 bits a channel become "L", which Pillow would clip to white. For threads:
    Pillow's warnings are the caller's to silence. Raises DecodeError as `reduced_luma` does.
    """
    _refuse_bombs(data, header, max_pixels)
    with _coded(), Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise DecodeError("too_many_pixels")
        image.load()
        return _upright(to_luma(image) if image.mode.startswith("I") else image, header)


@contextmanager
def _coded() -> Iterator[None]:
    """Gives Pillow's faults their record error codes."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("out_of_memory") from error
    except Image.DecompressionBombError as error:
        raise DecodeError("too_many_pixels") from error
    except PILLOW_FAULTS as error:
        raise DecodeError(_code(error)) from error


def _refuse_bombs(data: bytes, header: ImageHeader, max_pixels: int) -> None:
    if header.pixels > max_pixels:
        raise DecodeError("too_many_pixels")
    if header.format == "JPEG" and _scans(data) > MAX_SCANS:
        raise DecodeError("too_many_scans")


def _scans(data: bytes) -> int:
    """Scans of a JPEG up to its end mark: what lies in segments or behind it may look like one."""
    count = data.count(_START_OF_SCAN)
    if count <= MAX_SCANS:
        return count
    count, position = 0, 2
    while count <= MAX_SCANS and (found := _MARKER.search(data, position)):
        marker = data[found.start() + 1]
        position = found.end()
        if marker == 0xD9:
            break
        if marker not in _BARE:
            count += marker == 0xDA
            position += int.from_bytes(data[position : position + 2], "big")
    return count


def _decode(data: bytes, header: ImageHeader, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
        if image.width * image.height > max_pixels:  # where a second header contradicts the first
            raise DecodeError("too_many_pixels")
        if header.format == "JPEG":
            image.draft("L", (SHORT_SIDE, SHORT_SIDE))
        image.load()
        luma = to_luma(image)
    factor = min(luma.size) // SHORT_SIDE
    if factor >= 2:
        luma = luma.reduce(factor)
    return _upright(luma, header)


def to_luma(image: Image.Image) -> Image.Image:
    """Mode "L" of any mode; alpha is dropped, 16-bit values keep their upper byte."""
    mode = image.mode
    if mode == "L":
        return image.copy()
    if mode.startswith("I"):
        high = image.convert("I")
        extrema = high.getextrema()
        top = float(extrema[1]) if isinstance(extrema[1], int | float) else 0.0
        scale = 1 / 256 if mode.startswith("I;16") or top > 255 else 1.0
        return high.point(lambda value: value * scale).convert("L")
    if mode in ("P", "PA", "LA", "RGBa"):
        image = image.convert("RGBA")
    return image.convert("RGB").convert("L") if image.mode != "1" else image.convert("L")


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, header: ImageHeader) -> Image.Image:
    """The image as EXIF says it is to be seen; Pillow turns TIFF itself when it loads it."""
    method = _TRANSPOSE.get(header.orientation) if header.format != "TIFF" else None
    return image if method is None else image.transpose(method)


def _code(error: BaseException) -> str:
    text = str(error).lower()
    return "truncated_image" if "truncated" in text or "end of" in text else "corrupt_image"


def thumbnail(data: bytes, side: int) -> bytes:
    """A JPEG of at most `side` pixels for reports; raises ImageError as `reduced_luma` does."""
    header = read_header(data)
    _refuse_bombs(data, header, Image.MAX_IMAGE_PIXELS or header.pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
                image.draft("RGB", (side, side))
                small = (to_luma(image) if image.mode.startswith("I") else image).convert("RGB")
    except MemoryError as error:
        raise DecodeError("out_of_memory") from error
    except PILLOW_FAULTS as error:
        raise DecodeError(_code(error)) from error
    small = _upright(small, header)
    small.thumbnail((side, side))
    small.info.clear()  # Pillow would copy the comment
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=70)
    return sink.getvalue()
