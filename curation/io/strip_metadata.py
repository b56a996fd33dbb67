"""Removes EXIF (GPS), XMP, IPTC, comments and every other note from images, touching no pixel.

Only containers are rewritten: JPEG segments, PNG chunks, WebP chunks. What changes the picture is
kept by name, everything else goes, with what lies behind the image's end. Orientation is kept, as
an EXIF block that holds nothing else. Colour profiles (ICC) stay, since they change what is seen.
"""

import re
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


_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""The next marker: not a zero byte inside a scan, not a restart."""

_FRAMES = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xE0)))
"""Frames, tables, scans: segments that make the picture."""

_APPS = frozenset((*range(0xE0, 0xF0), 0xFE))
"""Application segments and comments."""


def _jpeg(data: bytes) -> bytes:
    out = [data[:2]]
    position, orientation, scanning = 2, 0, False
    while found := (_MARKER.search if scanning else _MARKER.match)(data, position):
        marker, start = found[1][0], found.end()
        end = start + int.from_bytes(data[start : start + 2], "big")
        out.append(data[position : found.start()])
        position = found.start()
        if marker == 0xD9 and scanning:
            return _with_orientation(out, orientation) + b"\xff\xd9"
        if marker not in _FRAMES | _APPS or not start + 2 <= end <= len(data):
            break
        body = data[start + 2 : end]
        if marker == 0xE1 and not (orientation or scanning) and body.startswith(b"Exif\x00\x00"):
            orientation = exif_orientation(body)
        inside = (
            scanning and data[end : end + 1] != b"\xff"
        )  # damaged: no decoder knows where it is
        if marker in _FRAMES or _seen(marker, body) or inside:
            out.append(b"\xff" + data[start - 1 : end])
        scanning = scanning or marker == 0xDA
        position = end
    return _with_orientation(out, orientation) + data[position:] if scanning else data


def _seen(marker: int, body: bytes) -> bool:
    """Whether an application segment changes what is seen: JFIF, Adobe's transform, ICC."""
    start = {0xE0: b"JFIF\x00", 0xEE: b"Adobe", 0xE2: b"ICC_PROFILE\x00"}.get(marker)
    return start is not None and body.startswith(start)


def _with_orientation(out: list[bytes], orientation: int) -> bytes:
    if orientation > 1:
        body = b"Exif\x00\x00" + _orientation_only(orientation)
        out.insert(1, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return b"".join(out)


_SEEN_CHUNKS = frozenset(
    b"acTL fcTL fdAT tRNS iCCP sRGB gAMA cHRM sBIT bKGD hIST pHYs sPLT cICP mDCV cLLI".split()
)
"""Optional PNG chunks that change what is seen: animation, transparency, colour, resolution."""


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
        if kind in _SEEN_CHUNKS or not kind[0] & 0x20:
            out.append(data[position : position + 12 + length])
        position += 12 + length
        if kind == b"IEND":
            break
    if orientation != 1:
        body = b"eXIf" + _orientation_only(orientation)
        crc = struct.pack(">I", zlib.crc32(body))
        out.insert(2, struct.pack(">I", len(body) - 4) + body + crc)
    return b"".join(out)


_WEBP_CHUNKS = frozenset((b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"))


def _webp(data: bytes) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    position, orientation = 12, 1
    stop = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= stop:
        kind = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        body = data[position + 8 : position + 8 + length]
        if len(body) < length:
            return data
        if kind == b"EXIF":
            orientation = exif_orientation(body)
        elif kind in _WEBP_CHUNKS:
            chunks.append((kind, body))
        position += 8 + length + (length & 1)
    if not chunks:
        return data
    if chunks[0][0] == b"VP8X":
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
