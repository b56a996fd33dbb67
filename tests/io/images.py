"""Images made for tests: every format and mode, with metadata, and pieces of broken ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REALDATA = Path(__file__).resolve().parents[3] / "shared" / "realdata"
PICTURES = ("jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "avif")
GPS = 0x8825


def real_images() -> list[Path]:
    """Every real image that is a file of a format we read; skips where there are none."""
    if not REALDATA.is_dir():
        pytest.skip("../shared/realdata is absent")
    folders = ("pairs", "boxes", "scene_text", "html", "latex")
    files = (path for folder in folders for path in sorted((REALDATA / folder).rglob("*")))
    return [path for path in files if path.suffix.lower().lstrip(".") in PICTURES]


def scene(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A smooth picture with one bright corner, so that every turn of it looks different."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 200, (6, 6, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    image.paste((255, 250, 245), (0, 0, max(1, size[0] // 4), max(1, size[1] // 3)))
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(grey)
    if mode == "RGBA":
        image.putalpha(image.convert("L").point(lambda level: 255 - level))
        return image
    if mode in ("LA", "PA"):
        return scene(size, "RGBA", seed).convert("LA")
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The file's bytes."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def exif(orientation: int | None = None, *, gps: bool = False) -> Image.Exif:
    """An EXIF block with an orientation and a place."""
    block = Image.Exif()
    if orientation is not None:
        block[0x0112] = orientation
    if gps:
        block[0x010E] = "SECRET-PLACE"
        block.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return block


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size, with these chunks behind its header."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *chunks, chunk(b"IEND", b"")])


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with a segment right behind its start."""
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def webp_chunk(kind: bytes, body: bytes) -> bytes:
    """A RIFF chunk, padded to an even length."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)


def riff(*chunks: bytes) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
