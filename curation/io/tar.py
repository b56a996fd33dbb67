"""Tar archives: a deterministic writer, and a walker that trusts nothing.

Only headers are parsed here; no name is ever used as a path. Formats read: ustar, GNU long names
and base-256 sizes, pax (POSIX.1-2001 `path` and `size`). Written: plain ustar with time, owner
and mode fixed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

BLOCK = 512
_MAX_EXTENSION = 1 << 20
"""Bytes a long-name or pax header may claim; real ones are under a few kilobytes."""

_REGULAR = b"0\x007"
_NO_DATA = b"123456"
"""Links, devices, folders, pipes: no data follows, whatever size their header claims."""
_PREFIX = b"0000644\x000000000\x000000000\x00"
_SUFFIX = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" + bytes(167)
_SUFFIX_SUM = sum(_SUFFIX) + 8 * 0x20
"""With the checksum's own eight bytes, which count as blanks."""


class TarDamageError(ValueError):
    """The archive cannot be walked further; `truncated` says that it ends early."""

    def __init__(self, message: str, offset: int, *, truncated: bool) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.offset = offset
        self.truncated = truncated


def header(name: str, size: int) -> bytes:
    """A ustar header for a regular file; `name` has at most 100 bytes, `size` under 8 GiB."""
    encoded = name.encode("ascii")
    if len(encoded) > 100 or size >= 1 << 33:
        raise ValueError(f"{name}: name over 100 bytes or size over 8 GiB")
    start = encoded.ljust(100, b"\x00") + _PREFIX + b"%011o\x0000000000000\x00" % size
    checksum = sum(start) + _SUFFIX_SUM
    return start + b"%06o\x00 " % checksum + _SUFFIX


def padding(size: int) -> int:
    """Zero bytes after `size` bytes of data."""
    return -size % BLOCK


class TarWriter:
    """Appends members to a file, hashing what it writes; never seeks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.bytes = 0

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    def add(self, name: str, data: bytes) -> int:
        """Writes a member and returns the byte offset of its data."""
        size = len(data)
        offset = self.bytes + BLOCK
        self._write(b"".join((header(name, size), data, bytes(padding(size)))))
        return offset

    def finish(self) -> str:
        """Writes the end of the archive and returns the SHA-256 of the whole file."""
        self._write(bytes(2 * BLOCK))
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member's header. `regular` is false for folders, links, devices and sparse files."""

    name: bytes
    offset: int
    size: int
    regular: bool
    folder: bool = False


def walk(file: IO[bytes], size: int | None, start: int = 0) -> Iterator[TarMember]:
    """Members in order, from headers alone.

    `size` is the length of the archive where known, `start` a header to begin at. Raises
    TarDamageError where the archive ends early or a header is not one; what was yielded before is
    whole, except that a member may end past `size`, which is the caller's to check.
    """
    position = start
    long_name: bytes | None = None
    pax: dict[bytes, bytes] = {}
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        if not block:
            raise TarDamageError("no end-of-archive mark", position, truncated=True)
        if len(block) < BLOCK:
            raise TarDamageError("half a header", position, truncated=True)
        if block.count(0) == BLOCK:
            return
        kind, length = _parse(block, position)
        data = position + BLOCK
        if kind in b"LKxXg":
            extension = _extension(file, length, data)
            if kind == b"L":
                long_name = extension.split(b"\x00", 1)[0]
            elif kind in b"xX":
                pax = _pax(extension, position)
        else:
            if b"size" in pax:
                length = _decimal(pax[b"size"], position)
            name = pax.get(b"path") or long_name or _name(block)
            folder = kind == b"5" or (kind == b"\x00" and name.endswith(b"/"))
            if kind in _NO_DATA:
                length = 0
            elif kind == b"S":
                data = _after_sparse_map(file, block, data)
            regular = kind in _REGULAR and not any(key.startswith(b"GNU.sparse") for key in pax)
            yield TarMember(name, data, length, regular and not folder, folder)
            long_name, pax = None, {}
        if size is not None and data + length > size:
            raise TarDamageError("a member ends past the archive", position, truncated=True)
        position = data + length + padding(length)


def _parse(block: bytes, position: int) -> tuple[bytes, int]:
    """Type flag and size of a header whose checksum holds."""
    stored = _octal(block[148:156], "not a tar header", position)
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    high = sum(byte > 127 for byte in block[:148] + block[156:])
    if stored not in (total, total - 256 * high):  # some old writers sum signed bytes
        raise TarDamageError("header checksum does not hold", position, truncated=False)
    field = block[124:136]
    if field[0] & 0x80:
        length = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or length >= 1 << 62:
            raise TarDamageError("impossible member size", position, truncated=False)
    else:
        length = _octal(field, "not a member size", position)
    return block[156:157], length


def _octal(field: bytes, fault: str, position: int) -> int:
    """A number in octal digits, up to the first zero byte; blank is 0."""
    digits = field.split(b"\x00", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise TarDamageError(fault, position, truncated=False)
    return int(digits or b"0", 8)


def _after_sparse_map(file: IO[bytes], block: bytes, data: int) -> int:
    """Where the data of an old GNU sparse file begins, behind the blocks that continue its map."""
    more = block[482]
    while more:
        file.seek(data)
        extension = file.read(BLOCK)
        if len(extension) < BLOCK:
            raise TarDamageError("half a sparse map", data, truncated=True)
        more, data = extension[504], data + BLOCK
    return data


def _name(block: bytes) -> bytes:
    name = block[:100].split(b"\x00", 1)[0]
    if block[257:263] == b"ustar\x00":
        prefix = block[345:500].split(b"\x00", 1)[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _extension(file: IO[bytes], length: int, offset: int) -> bytes:
    if length > _MAX_EXTENSION:
        raise TarDamageError("oversized extension header", offset, truncated=False)
    data = file.read(length)
    if len(data) < length:
        raise TarDamageError("half an extension header", offset, truncated=True)
    return data


def _pax(data: bytes, position: int) -> dict[bytes, bytes]:
    """Records `<length> <key>=<value>\\n` of a pax header."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(data) and data[start]:
        space = data.find(b" ", start)
        length = _decimal(data[start:space], position) if space > 0 else 0
        record = data[space + 1 : start + length]
        if length <= space - start or start + length > len(data) or b"=" not in record:
            raise TarDamageError("malformed pax header", position, truncated=False)
        key, value = record.removesuffix(b"\n").split(b"=", 1)
        records[key] = value
        start += length
    return records


def _decimal(text: bytes, position: int) -> int:
    if not text.isdigit() or len(text) > 18:
        raise TarDamageError("malformed number in pax header", position, truncated=False)
    return int(text)
