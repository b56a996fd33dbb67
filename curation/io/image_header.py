"""What an image's header says, without decoding a pixel.

JPEG, PNG, GIF and WebP are walked here, because this runs on every image of every corpus; BMP,
TIFF and AVIF go through Pillow. Modes are Pillow's names. Nothing is trusted: every length is
checked against the bytes at hand.
"""

import io
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "MPO")
"""The only formats that untrusted bytes are ever handed to Pillow as."""

EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tif",
    "AVIF": "avif",
}

PILLOW_FAULTS = (
    OSError,
    SyntaxError,  # Pillow's own word for a broken header
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    AssertionError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on malformed bytes."""


class ImageError(ValueError):
    """The header cannot be read; `code` is one of the record error codes."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height are after orientation; `orientation` is EXIF's 1 to 8.

    Only EXIF turns an image (as in browsers), not XMP's copy of the tag.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int = 1
    orientation: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height


def read_header(data: bytes) -> ImageHeader:
    """The header of encoded image bytes.

    Raises ImageError with `empty_file`, `unsupported_format`, `corrupt_image`, or what Pillow
    refuses to open: `too_many_pixels`, `out_of_memory`.
    """
    if not data:
        raise ImageError("empty_file")
    kind = sniff(data)
    if kind is None:
        raise ImageError("unsupported_format")
    walker = _WALKERS.get(kind)
    if walker is not None:
        try:
            found = walker(data)
        except (struct.error, IndexError):
            found = None
        if found is not None and found.width > 0 and found.height > 0:
            return found
    return _with_pillow(data[:_PILLOW_JPEG] if kind == "JPEG" else data)


def sniff(data: bytes) -> str | None:
    """The format that the first bytes claim, or null."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM":
        return "BMP"
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "TIFF"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"msf1"):
        return "AVIF"
    return None


def _with_pillow(data: bytes) -> ImageHeader:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
                kind = "JPEG" if image.format == "MPO" else str(image.format)
                width, height = image.size
                mode = image.mode
                if kind == "TIFF":  # Pillow turns its size already
                    orientation = image.getexif().get(0x0112, 1)
                    if orientation in (5, 6, 7, 8):
                        width, height = height, width
                    return _oriented(kind, width, height, mode, _tiff_frames(data), orientation)
                orientation = exif_orientation(image.info.get("exif", b""))
                frames = getattr(image, "n_frames", 1) if kind != "JPEG" else 1
    except Image.DecompressionBombError as error:
        raise ImageError("too_many_pixels") from error
    except MemoryError as error:
        raise ImageError("out_of_memory") from error
    except PILLOW_FAULTS as error:
        raise ImageError("corrupt_image") from error
    return _oriented(kind, width, height, mode, int(frames), orientation)


_MAX_PAGES = 65_536
"""Pages of a TIFF that are counted; Pillow's own count takes quadratic time on hostile chains."""


def _tiff_frames(data: bytes) -> int:
    """Image directories in the chain from the header, up to its end or a loop."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in (data[2], data[3])
    count, pointer, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    (position,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    seen: set[int] = set()
    while position and position not in seen and len(seen) < _MAX_PAGES:
        try:
            (entries,) = struct.unpack_from(order + count, data, position)
            after = position + struct.calcsize(count) + entries * entry
            seen.add(position)
            (position,) = struct.unpack_from(order + pointer, data, after)
        except (struct.error, OverflowError):
            break
    return max(1, len(seen))


def _oriented(
    kind: str, width: int, height: int, mode: str, frames: int, orientation: object
) -> ImageHeader:
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    return ImageHeader(kind, width, height, mode, frames, orientation)


_PILLOW_JPEG = 1 << 20
"""Bytes within which a JPEG that the walker refuses must show its frame: Pillow searches for it
byte by byte, a second for each megabyte."""

_MAX_SEGMENTS = 65_536
"""Segments and fill bytes before the first scan; real files have under five thousand."""

_SOF = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def _jpeg(data: bytes) -> ImageHeader | None:
    position, end = 2, len(data)
    frame: tuple[int, int, str] | None = None
    orientation: int | None = None
    steps = 0
    while position + 4 <= end and data[position] == 0xFF:
        steps += 1
        if steps > _MAX_SEGMENTS:
            raise ImageError("corrupt_image")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        if marker in (0xD9, 0xDA):
            break
        length = (data[position + 2] << 8) | data[position + 3]
        if marker in _SOF and frame is None:
            height, width = struct.unpack_from(">HH", data, position + 5)
            mode = _JPEG_MODES.get(data[position + 9])
            if mode is None or data[position + 4] != 8:
                return None
            frame = (width, height, mode)
        elif marker == 0xE1 and orientation is None and data[position + 4 : position + 10] == _EXIF:
            orientation = exif_orientation(data[position + 4 : position + 2 + length])
        position += 2 + length
    return None if frame is None else _oriented("JPEG", *frame, 1, orientation)


_EXIF = b"Exif\x00\x00"
_PNG_MODES = {
    **{(depth, 0): "L" for depth in (2, 4, 8)},
    **{(depth, 3): "P" for depth in (1, 2, 4, 8)},
    **{(depth, colour): mode for depth in (8, 16) for colour, mode in ((2, "RGB"), (4, "LA"))},
    (1, 0): "1",
    (16, 0): "I;16",
    (8, 6): "RGBA",
    (16, 6): "RGBA",
}
"""By bit depth and colour type."""


def _png(data: bytes) -> ImageHeader | None:
    if data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    mode = _PNG_MODES.get((depth, colour))
    if mode is None or max(width, height) > 1 << 30:
        return None
    position, orientation = 8, 1
    frames: int | None = None
    first: bytes | None = None
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if kind == b"acTL" and first is None and frames is None and length >= 8:
            (frames,) = struct.unpack_from(">I", data, position + 8)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8 : position + 8 + length])
        elif kind in (b"IDAT", b"fcTL"):
            first = first or kind
        position += 12 + length
    if frames is None or not 0 < frames < 1 << 30:
        frames = 1
    elif first == b"IDAT":  # a still image that is not part of the animation
        frames += 1
    return _oriented("PNG", width, height, mode, frames, orientation)


_GIF_BLOCK = re.compile(rb"[!,;]")


def _gif(data: bytes) -> ImageHeader | None:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position, frames = 13 + _table(flags), 0
    grey = _is_grey(data[13:position])
    while position + 1 < len(data):
        block = data[position]
        if block == 0x21:
            position += 2
        elif block == 0x2C:
            if position + 10 > len(data):
                break
            frames += 1
            left, top, wide, high, local = struct.unpack_from("<HHHHB", data, position + 1)
            position += 10
            if frames == 1:
                width, height = max(width, left + wide), max(height, top + high)
                if local & 0x80:
                    grey = _is_grey(data[position : position + _table(local)])
            position += _table(local) + 1
        elif block == 0x3B:
            break
        else:  # stray bytes are passed over
            found = _GIF_BLOCK.search(data, position)
            if found is None:
                break
            position = found.start()
            continue
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    return ImageHeader("GIF", width, height, "L" if grey else "P", max(1, frames))


def _table(flags: int) -> int:
    """Bytes of the colour table that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _is_grey(table: bytes) -> bool:
    """Whether a colour table only repeats the index (or is not there)."""
    return table == bytes(n // 3 for n in range(len(table)))


def _webp(data: bytes) -> ImageHeader | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            return None
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WEBP", width & 0x3FFF, height & 0x3FFF, "RGB")
    if kind == b"VP8L":
        if data[20] != 0x2F:
            return None
        (bits,) = struct.unpack_from("<I", data, 21)
        mode = "RGBA" if bits >> 28 & 1 else "RGB"
        return ImageHeader("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, mode)
    if kind != b"VP8X":
        return None
    flags = data[20]
    width = 1 + int.from_bytes(data[24:27], "little")
    height = 1 + int.from_bytes(data[27:30], "little")
    position, frames, orientation = 12, 0, 1
    while position + 8 <= len(data):
        chunk = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        if chunk == b"ANMF":
            frames += 1
        elif chunk == b"EXIF":
            orientation = exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + (length & 1)
    mode = "RGBA" if flags & 0x10 else "RGB"
    return _oriented("WEBP", width, height, mode, max(1, frames), orientation)


def exif_orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first image directory; 1 where it is missing or the block is broken."""
    tiff = exif
    while tiff.startswith(_EXIF):
        tiff = tiff[len(_EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(min(entries, 512)):
            at = start + 2 + 12 * entry
            tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
            if tag == 0x0112:
                form = {3: "H", 4: "I"}.get(kind)
                if form is None or count != 1:
                    return 1
                (value,) = struct.unpack_from(order + form, tiff, at + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


_WALKERS: dict[str, Callable[[bytes], ImageHeader | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
}
