"""Texts alone, out of a file: plain lines, JSON lines, or a JSON list; read once, in order.

Nothing longer than a record may be (16 MB) is held in memory, so a file may be of any size.
"""

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from curation.core.errors import UsageError
from curation.io.sources.record import MAX_TEXT_BYTES, TEXT_COLUMNS, first_present
from curation.io.store import Store

_BLANK = " \t\n\r"
_CHUNK = 1 << 20


def texts_of(store: Store, name: str, column: str = "") -> Iterator[str | None]:
    """Each text of the file; null for a record that cannot be read or has none.

    A `.json` file is a list, a `.jsonl` or `.ndjson` file has a value a line: strings, or objects
    that hold a text under `column` (by default one of the usual names). Any other file has a text
    a line. Raises UsageError for a JSON file that is no list, and where no object has the column.
    """
    kind = name.rsplit(".", 1)[-1].lower()
    if kind not in ("json", "jsonl", "ndjson"):
        with store.open(name) as file:
            for line in _lines(file):
                yield None if line is None else line.decode("utf-8", "replace").strip()
        return
    found = False
    names: list[str] = []
    with store.open(name) as file:
        values = _listed(store.path(name), file) if kind == "json" else _parsed(_lines(file))
        for value in values:
            text, found = _text(value, column, found)
            if not found and isinstance(value, dict):
                names = names or list(map(str, value))
            yield text
    if names and not found:
        raise UsageError(
            f"{store.path(name)}: no column {column or ' or '.join(TEXT_COLUMNS)}; give "
            f"--text-column one of: {', '.join(names[:20])}"
        )


def _text(value: Any, column: str, found: bool) -> tuple[str | None, bool]:
    """The text of a value, and whether any value so far has had a place for one."""
    if isinstance(value, dict):
        key = first_present(column, TEXT_COLUMNS, value)
        found = found or key is not None
        value = value[key] if key is not None else None
    if not isinstance(value, str):
        return None, found
    return value.encode("utf-8", "replace").decode(), True  # JSON can say half a character


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines that are not blank; null for one that is longer than a record may be."""
    while line := file.readline(MAX_TEXT_BYTES):
        whole = True
        while not line.endswith(b"\n") and (rest := file.readline(MAX_TEXT_BYTES)):
            whole, line = False, rest
        if not whole:
            yield None
        elif line.strip():
            yield line


def _parsed(lines: Iterator[bytes | None]) -> Iterator[Any]:
    for line in lines:
        try:
            yield None if line is None else json.loads(line)
        except (ValueError, RecursionError):
            yield None


def _listed(path: str, file: IO[bytes]) -> Iterator[Any]:
    """Members of a JSON list, one in memory at a time."""
    decoder, characters = json.JSONDecoder(), codecs.getreader("utf-8")(file, "replace")
    buffer = characters.read(_CHUNK).lstrip(_BLANK + "\ufeff")
    if not buffer.startswith("["):
        raise UsageError(f"{path}: not a JSON list; write a text a line, or a list of texts")
    at = 1
    while True:
        at = _between(buffer, at)
        if buffer.startswith("]", at):
            return
        value, fault = None, None
        try:
            value, end = decoder.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            fault, end = error, len(buffer)
        if end == len(buffer):  # it may go on in what is not read yet
            more = characters.read(_CHUNK)
            if more and len(buffer) - at < MAX_TEXT_BYTES:
                buffer, at = buffer[at:] + more, 0
                continue
            if fault is not None:
                raise UsageError(f"{path}: damaged JSON") from fault
        yield value
        at = end


def _between(buffer: str, at: int) -> int:
    """Where the next member starts, or the list ends."""
    while at < len(buffer) and buffer[at] in _BLANK + ",":
        at += 1
    return at
