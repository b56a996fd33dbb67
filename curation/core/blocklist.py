"""Blocklists: what must never be kept, shown, searched or exported.

A list is a text file of one entry a line: `sha256:HEX`, `phash:HEX` or `phash:HEX/BITS`,
`url:URL`, `domain:NAME` (with its subdomains), `uid:HEX`. Without the word before the colon an
entry is told by its shape. `#` starts a comment. A list's name is its file's name.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from curation.core.errors import UsageError

ENTRIES = pa.schema(
    [
        ("list", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
        ("phash", pa.int64()),
        ("distance", pa.int32()),
    ]
)

MAX_BITS = 12
_SHAPES = {
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "uid": re.compile(r"[0-9a-f]{32}"),
    "phash": re.compile(r"[0-9a-f]{16}(?:/[0-9]{1,2})?"),
    "url": re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE),
    "domain": re.compile(r"(?:[^\s/:@.]+\.)*[^\s/:@.]+\.?"),
}


@dataclass(frozen=True, kw_only=True)
class BlockFile:
    """A user's list: named and hashed by content; where it lies is not part of any fingerprint."""

    name: str
    sha256: str
    path: str = field(metadata={"hashed": False}, compare=False)

    @classmethod
    def at(cls, path: str) -> "BlockFile":
        """The list in a file. Raises UsageError if it cannot be read or an entry has no meaning."""
        data = _read(path)
        for _ in _entries(path, data):
            pass
        return cls(name=Path(path).stem, sha256=hashlib.sha256(data).hexdigest(), path=path)

    def entries(self) -> pa.Table:
        """The list's entries. Raises UsageError if the file has changed since it was named."""
        if not self.path:
            raise UsageError(
                f"blocklist {self.name} is known by its hash alone; name its file again "
                "(--set blocklist.lists=FILE, or --blocklist FILE)"
            )
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path}: the blocklist changed during the run; start it again")
        rows = [
            {"list": self.name, "kind": kind, "value": value, "phash": phash, "distance": bits}
            for kind, value, phash, bits in _entries(self.path, data)
        ]
        return pa.Table.from_pylist(rows, ENTRIES)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: blocklist cannot be read ({error.strerror})") from error


Entry = tuple[str, str, int | None, int | None]


def _entries(path: str, data: bytes) -> Iterator[Entry]:
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.split(" #", 1)[0].strip() if not line.startswith("#") else ""
        if text:
            entry = _entry(text)
            if entry is None:
                raise UsageError(
                    f"{path}:{number}: {text[:80]!r} is no sha256, phash, url, domain or uid; "
                    "write it as kind:value"
                )
            yield entry


def _entry(text: str) -> Entry | None:
    kind, colon, value = text.partition(":")
    kind = kind.strip().lower()
    if not colon or kind not in _SHAPES:
        value = text
        kind = next((k for k, shape in _SHAPES.items() if shape.fullmatch(_lower(k, text))), "")
        if kind == "domain" and "." not in text.rstrip("."):
            return None
    value = _lower(kind, value.strip())
    if not kind or not _SHAPES[kind].fullmatch(value):
        return None
    if kind != "phash":
        return kind, value.rstrip(".") if kind == "domain" else value, None, None
    digits, _, bits = value.partition("/")
    if int(bits or 0) > MAX_BITS:
        return None
    unsigned = int(digits, 16)
    return kind, digits, unsigned - (1 << 64) if unsigned >> 63 else unsigned, int(bits or 0)


def _lower(kind: str, text: str) -> str:
    return text if kind == "url" else text.lower()


class Blocker:
    """Looks one sample up by content hash, uid, URL and domain; pHashes need decoded pixels."""

    def __init__(self, files: tuple[BlockFile, ...]) -> None:
        self._names: dict[tuple[str, str], str] = {}
        for file in files:
            for row in file.entries().select(["kind", "value"]).to_pylist():
                self._names.setdefault((row["kind"], row["value"]), file.name)

    def match(
        self, media_sha256: list[str], uid: str, url: str | None, domain: str | None
    ) -> str | None:
        """Name of the first list that holds the sample, or null."""
        keys = [*(("sha256", sha) for sha in media_sha256), ("uid", uid)]
        if url:
            keys.append(("url", url))
        keys.extend(("domain", suffix) for suffix in domain_suffixes(domain))
        return next((self._names[key] for key in keys if key in self._names), None)


def domain_suffixes(domain: str | None) -> list[str]:
    """A domain and each domain above it: `a.b.org`, `b.org`, `org`."""
    parts = domain.split(".") if domain else []
    return [".".join(parts[start:]) for start in range(len(parts))]
