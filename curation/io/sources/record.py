"""What every source yields: one record a sample, in pieces of one shard each."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from curation.core.errors import check_code

IMAGE_EXTENSIONS = frozenset(
    [
        "jpg",
        "jpeg",
        "jfif",
        "jpe",
        "png",
        "webp",
        "gif",
        "bmp",
        "tif",
        "tiff",
        "avif",
        "heic",
        "heif",
        "svg",
        "ico",
        "jp2",
    ]
)
TEXT_EXTENSIONS = ("txt", "text", "caption")

IMAGE_COLUMNS = ("image", "image_path", "file_name", "path")
BYTES_COLUMNS = ("image", "image_bytes", "jpg", "png", "img", "bytes")
TEXT_COLUMNS = ("text", "caption", "alt_text", "alt")
LICENSE_COLUMNS = ("license", "licence", "rights")
URL_COLUMNS = ("source_url", "url", "image_url", "original_url")

MAX_MEDIA_BYTES = 256 << 20
"""Bytes of one image above which it is not read: a reader holds one record in memory."""

MAX_TEXT_BYTES = 16 << 20
"""Bytes of one caption, line or JSON member above which it is not read."""


@dataclass(slots=True)
class Record:
    """One sample as its source has it; `error` is set where it could not be read."""

    media: list[tuple[str, bytes]] = field(default_factory=list)
    """Extension as the source writes it, and encoded bytes."""
    text: str | None = None
    license: str | None = None
    source_url: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    """`path` and `row` inside the source, and `columns` with everything else it says."""
    error: str | None = None
    blocked: str | None = None
    """Blocklist that stopped it when a corpus that is now a source was ingested."""
    raw_text: bytes | None = None
    """Bytes of a caption that is not valid UTF-8, so that its content still has a name."""

    def fail(self, code: str) -> "Record":
        """The same record, quarantined; the first fault stays."""
        self.error = self.error or check_code(code)
        return self

    def set_text(self, value: object) -> None:
        """Takes a caption of any type; one that is not UTF-8 quarantines the record."""
        if value is None:
            return
        if isinstance(value, bytes | bytearray):
            raw = bytes(value)
            try:
                self.text = raw.decode("utf-8")
            except UnicodeDecodeError:
                self.raw_text = raw
                self.fail("invalid_utf8")
            return
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        try:
            text.encode("utf-8")
            self.text = text
        except UnicodeEncodeError:
            self.raw_text = text.encode("utf-8", "surrogatepass")
            self.fail("invalid_utf8")

    def replace_text(self, value: object) -> None:
        """Takes a caption over the one that a JSON beside it gave, which is then kept there."""
        before, self.text = self.text, None
        self.set_text(value)
        if before not in (None, self.text):
            self.source.setdefault("columns", {})["json_text"] = before


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read a source; part of the recipe."""

    format: str = "auto"
    """auto, table, folder, tar, parquet or corpus; texts, never chosen by itself, reads every
    text of a benchmark."""
    image_column: str = ""
    """Column of image paths or bytes; empty: the first present of the known names."""
    text_column: str = ""
    """Column of captions; empty: the first present of the known names."""
    shard_samples: int = 1_000
    """Samples a shard holds at most (up to a million)."""
    shard_bytes: int = 1 << 30
    """Bytes of media a shard holds at most, as far as the source tells them beforehand."""

    def __post_init__(self) -> None:
        formats = ("auto", "table", "folder", "tar", "parquet", "corpus", "texts")
        if self.format not in formats:
            raise ValueError(f"format must be one of {', '.join(formats)}, got {self.format!r}")
        if not 1 <= self.shard_samples <= 1_000_000:
            raise ValueError(f"shard_samples must be 1 to 1000000, got {self.shard_samples}")
        if self.shard_bytes < 1:
            raise ValueError(f"shard_bytes must be at least 1, got {self.shard_bytes}")


@dataclass(frozen=True)
class Piece:
    """What one shard is made from: a place in the source, and what to expect there."""

    samples: int
    """Samples the piece holds (all of them kept in the shard, readable or not)."""
    bytes: int
    """Media bytes, as far as known beforehand."""
    where: dict[str, Any]
    """JSON: file, offsets, rows; whatever the source's reader needs."""


class Source(Protocol):
    """A kind of source, opened: plans pieces once, then reads each anywhere."""

    def plan(self) -> Iterator[Piece]:
        """Pieces in the source's own sorted order, without reading media."""

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        """The wanted ones of the piece's `samples` records, in order."""

    def notes(self) -> list[str]:
        """What a user should know: columns chosen, files passed over, archives cut short."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Names and sizes of what the source consists of, to tell whether it has changed."""


def first_present(wanted: str, known: tuple[str, ...], present: Mapping[str, Any]) -> str | None:
    """The column to read: the one asked for, else the first known name that is there."""
    if wanted:
        return wanted if wanted in present else None
    return next((name for name in known if name in present), None)


def domain_of(url: str | None) -> str | None:
    """Host of a URL, lower case, without user, port or trailing dot; null where there is none."""
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return (host or "").rstrip(".").lower() or None


def extension_of(name: str) -> str:
    """What follows the last dot of the last part of a name, lower case."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return base.rsplit(".", 1)[1].lower() if "." in base else ""


def ends(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a name has one of the (lower-case) endings, in whatever case it is written."""
    return name.lower().endswith(endings)


MAX_NESTING = 100
"""Levels of a source's JSON: real ones have five, and every later reader must survive them."""


def parse_json(data: bytes | str) -> Any:
    """A source's JSON. Raises ValueError where it is malformed or nested too deeply."""
    text = (
        data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")
    )
    if text.count("[") + text.count("{") > MAX_NESTING and _nesting(text) > MAX_NESTING:
        raise ValueError("nested too deeply")
    return json.loads(text.removeprefix("\ufeff"))


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""A string, whole or not closed, or a bracket; nothing in it is matched twice."""


def _nesting(text: str) -> int:
    """Levels of brackets outside strings."""
    depth = deepest = 0
    for found in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        deepest = max(deepest, depth)
    return deepest


def safe_json(value: object) -> str:
    """JSON with sorted keys that any Parquet reader accepts: no lone surrogates, no NaN."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str, allow_nan=False)
        text.encode("utf-8")
    except (ValueError, TypeError):
        text = json.dumps(_finite(value), sort_keys=True, ensure_ascii=True, default=str)
    return text


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def describe(record: Record, columns: dict[str, Any], used: tuple[str | None, ...]) -> None:
    """Sets licence, URL and the remaining columns of `record` from a row's columns."""
    licence = first_present("", LICENSE_COLUMNS, columns)
    url = first_present("", URL_COLUMNS, columns)
    record.license = _text(columns[licence]) if licence else None
    record.source_url = _text(columns[url]) if url else None
    rest = {k: v for k, v in columns.items() if k not in (*used, licence, url) and v is not None}
    if rest:
        record.source["columns"] = rest


def _text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).encode("utf-8", "replace").decode("utf-8")
