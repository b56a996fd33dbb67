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
_HEAD = 4096
"""Bytes looked at to tell that a file is no UTF-8."""
_NAMED = 20
"""Columns that a message names."""


def texts_of(store: Store, name: str, column: str = "") -> Iterator[str | None]:
    """Each text of the file; null for a record that cannot be read or has none.

    A `.json` file is a list, a `.jsonl` or `.ndjson` file has a value a line: strings, or objects
    that hold a text under `column` (by default one of the usual names). Any other file has a text
    a line. Raises UsageError for a file that is not UTF-8, a JSON file that is no list, lines that
    are no JSON, and where no object has the column or none has a text there.
    """
    path, kind = store.path(name), name.rsplit(".", 1)[-1].lower()
    with store.open(name) as file:
        _check_encoding(path, file)
        if kind not in ("json", "jsonl", "ndjson"):
            yield from _plain(path, file)
        elif kind == "json":
            yield from _chosen(path, _listed(path, file), column)
        else:
            yield from _chosen(path, _parsed(path, file), column)


def _check_encoding(path: str, file: IO[bytes]) -> None:
    """Raises UsageError where a file starts as UTF-16 or no text at all does."""
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{path}: UTF-16, not UTF-8; convert it (iconv -f UTF-16 -t UTF-8)")
    if b"\x00" in head:
        raise UsageError(f"{path}: not UTF-8 (there are zero bytes in it); convert it (iconv)")


def _plain(path: str, file: IO[bytes]) -> Iterator[str | None]:
    """A text a line. Raises UsageError where no line is UTF-8."""
    lines = foreign = 0
    for line in _lines(file):
        lines += 1
        try:
            yield None if line is None else line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            foreign += 1
            yield None
    if foreign and foreign == lines:
        raise UsageError(f"{path}: none of its {lines:,} lines is UTF-8; convert it (iconv)")


def _chosen(path: str, values: Iterator[Any], column: str) -> Iterator[str | None]:
    """The text of each value: itself, or what an object has under the column."""
    names: dict[str, None] = {}
    chosen: str | None = None
    objects = texts = 0
    for value in values:
        text = value
        if isinstance(value, dict):
            key = first_present(column, TEXT_COLUMNS, value)
            chosen = chosen or key
            objects += 1
            if not texts and len(names) < _NAMED:
                names |= {name: None for name, held in value.items() if isinstance(held, str)}
            text = value[key] if key is not None else None
        if not isinstance(text, str):
            yield None
            continue
        texts += 1
        yield text.encode("utf-8", "replace").decode()  # JSON can say half a character
    if objects and not texts:
        what = f"no column {column or ' or '.join(TEXT_COLUMNS)}"
        if chosen is not None:
            what = f"column {chosen} holds no text"
        others = ", ".join(list(names)[:_NAMED])
        hint = f"give --text-column one of: {others}" if others else "no other column holds any"
        raise UsageError(f"{path}: {what}; {hint}")


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


def _parsed(path: str, file: IO[bytes]) -> Iterator[Any]:
    """A JSON value a line, null where it is none. Raises UsageError where no line is one."""
    lines = good = foreign = 0
    for line in _lines(file):
        lines += 1
        value = None
        try:
            value = None if line is None else json.loads(line)
            good += line is not None
        except UnicodeDecodeError:
            foreign += 1
        except (ValueError, RecursionError):
            pass  # a line that is no JSON has no text
        yield value
    if lines and not good:
        what = "UTF-8" if foreign == lines else "JSON"
        raise UsageError(f"{path}: none of its {lines:,} lines is {what}")


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
