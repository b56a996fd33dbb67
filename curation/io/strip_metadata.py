"""Removes EXIF (GPS), XMP, IPTC and comments from images without touching a pixel.

Only containers are rewritten: JPEG segments, PNG chunks, WebP chunks. Orientation is kept, as an
EXIF block that holds nothing else. Colour profiles (ICC) stay, since they change what is seen.
"""

import struct
import zlib

from curation.io.image_header import exif_orientation, sniff


def strip_metadata(data: bytes) -> bytes:
    """The same image without metadata; other formats, and broken files, come back unchanged."""
    kind = sniff(data)
    try:
        if kind == "JPEG":
            return _jpeg(data)
        if kind == "PNG":
            return _png(data)
        if kind == "WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        return data
    return data


def _orientation_only(orientation: int) -> bytes:
    """A TIFF block with the one tag."""
    return b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


_DROPPED_APPS = frozenset((0xE1, 0xED, 0xEC, 0xEF, 0xFE))
"""EXIF and XMP, IPTC, Ducky, other vendors' last segment, comments."""


def _jpeg(data: bytes) -> bytes:
    out = [data[:2]]
    position = 2
    orientation: int | None = None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return data
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:
            return data
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position : position + 2 + length]
        if orientation is None and marker == 0xE1 and segment[4:10] == b"Exif\x00\x00":
            orientation = exif_orientation(segment[4:])
        if marker not in _DROPPED_APPS and not (marker == 0xE2 and segment[4:8] == b"MPF\x00"):
            out.append(segment)
        position += 2 + length
    if orientation not in (None, 1):
        body = b"Exif\x00\x00" + _orientation_only(orientation)
        out.insert(1, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    end = data.rfind(b"\xff\xd9", position)
    return b"".join(out) + (data[position : end + 2] if end > 0 else data[position:])


_DROPPED_CHUNKS = frozenset((b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"))


def _png(data: bytes) -> bytes:
    out = [data[:8]]
    position, orientation = 8, 1
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if position + 12 + length > len(data):
            return data
        if kind == b"eXIf":
            orientation = exif_orientation(data[position + 8 : position + 8 + length])
        if kind not in _DROPPED_CHUNKS:
            out.append(data[position : position + 12 + length])
        position += 12 + length
        if kind == b"IEND":
            break
    if orientation != 1:
        body = b"eXIf" + _orientation_only(orientation)
        crc = struct.pack(">I", zlib.crc32(body))
        out.insert(2, struct.pack(">I", len(body) - 4) + body + crc)
    return b"".join(out)


def _webp(data: bytes) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    position, orientation = 12, 1
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        body = data[position + 8 : position + 8 + length]
        if len(body) < length:
            return data
        if kind == b"EXIF":
            orientation = exif_orientation(body)
        elif kind != b"XMP ":
            chunks.append((kind, body))
        position += 8 + length + (length & 1)
    if not chunks or chunks[0][0] != b"VP8X":
        return data
    flags = chunks[0][1][0] & ~0x0C
    if orientation != 1:
        flags |= 0x08
        chunks.append((b"EXIF", _orientation_only(orientation)))
    chunks[0] = (b"VP8X", bytes([flags]) + chunks[0][1][1:])
    body = b"".join(
        kind + struct.pack("<I", len(part)) + part + b"\x00" * (len(part) & 1)
        for kind, part in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
