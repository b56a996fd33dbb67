"""Tables of image paths and texts: JSONL, CSV, TSV and Parquet.

The rows are read once, when planning, and set aside in pieces of one shard; the pieces are then
read by any worker. Nothing but the rows of one shard is held in memory.
"""

import codecs
import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.errors import UsageError
from curation.io.sources.files import read_media, size_of
from curation.io.sources.parquet import FAULTS, decoded
from curation.io.sources.record import (
    IMAGE_COLUMNS,
    MAX_MEDIA_BYTES,
    MAX_TEXT_BYTES,
    TEXT_COLUMNS,
    TEXT_EXTENSIONS,
    Piece,
    Record,
    SourceOptions,
    describe,
    first_present,
    parse_json,
    safe_json,
)
from curation.io.store import Store
from curation.io.tables import read_table, write_table

_HELD = 256 << 20
"""Bytes of captions and columns in the rows of a shard: they are held while it is planned."""

ROW = pa.schema(
    [
        ("path", pa.binary()),
        ("text", pa.binary()),
        ("columns", pa.string()),
        ("table", pa.binary()),
        ("row", pa.int64()),
        ("error", pa.string()),
    ]
)
"""A planned row: what a worker needs to make the sample."""


Row = tuple[int, dict[str, Any] | None, str | None]
"""Number, columns (null where the row cannot be parsed), error code."""

_LOOK = 1000
"""Rows looked at before a table is told to have no texts."""


@dataclass
class TableSource:
    """Rows that name images by path, relative to the folder of the tables."""

    store: Store
    tables: list[str]
    options: SourceOptions
    scratch: Store
    """Where planned pieces are set aside."""
    _notes: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        return self._notes

    def listing(self) -> Iterator[tuple[str, int]]:
        for table in self.tables:
            yield table, self.store.size(table)

    def plan(self) -> Iterator[Piece]:
        rows: list[dict[str, Any]] = []
        total = words = number = 0
        for row in self._rows():
            size = size_of(self.store, os.fsdecode(row["path"])) if row["path"] else 0
            held = len(row["text"] or b"") + len(row["columns"] or "")
            full = len(rows) >= self.options.shard_samples or words + held > _HELD
            if rows and (full or total + size > self.options.shard_bytes):
                yield self._set_aside(number, rows, total)
                rows, total, words, number = [], 0, 0, number + 1
            rows.append(row)
            total += size
            words += held
        if rows:
            yield self._set_aside(number, rows, total)

    def _set_aside(self, number: int, rows: list[dict[str, Any]], total: int) -> Piece:
        name = f"rows-{number:09d}.parquet"
        sha = write_table(self.scratch, name, pa.Table.from_pylist(rows, ROW), ROW, {})
        return Piece(len(rows), total, {"rows": name, "sha256": sha})

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        rows = read_table(self.scratch, piece.where["rows"]).to_pylist()
        for row in compress(rows, wanted):
            table, path = os.fsdecode(row["table"]), os.fsdecode(row["path"] or b"") or None
            record = Record(source={"path": path, "row": row["row"], "table": table})
            if row["columns"]:
                describe(record, json.loads(row["columns"]), ())
            record.set_text(row["text"])
            if row["error"]:
                record.fail(row["error"])
            elif path is None:
                record.fail("no_media")
            else:
                read_media(self.store, path, record)
            yield record

    def _rows(self) -> Iterator[dict[str, Any]]:
        for table in self.tables:
            chosen: tuple[str, str | None] | None = None
            with self.store.open(table) as file:
                rows = read_rows(table, file)
                head, present = head_of(rows, self.options)
                for number, columns, error in chain(head, rows):
                    base = {"table": os.fsencode(table), "row": number, "error": error}
                    if columns is None:
                        yield {**base, "path": None, "text": None, "columns": None}
                        continue
                    chosen = chosen or self._choose(table, present or columns)
                    yield {**base, **_planned(columns, *chosen)}

    def _choose(self, table: str, columns: dict[str, Any]) -> tuple[str, str | None]:
        image = first_present(self.options.image_column, IMAGE_COLUMNS, columns)
        text = first_present(self.options.text_column, TEXT_COLUMNS, columns)
        there = ", ".join(columns)
        if image is None:
            wanted = self.options.image_column or " or ".join(IMAGE_COLUMNS)
            raise UsageError(
                f"{self.store.path(table)}: no column {wanted}; "
                f"name the one with image paths with --image-column (there are: {there})"
            )
        if self.options.text_column and text is None:
            raise UsageError(
                f"{self.store.path(table)}: no column {self.options.text_column}; "
                f"give --text-column one of: {there}"
            )
        self._notes.append(f"{table}: images from column {image!r}, texts from {text!r}")
        return image, text


def head_of(rows: Iterator[Row], options: SourceOptions) -> tuple[list[Row], dict[str, Any]]:
    """The first rows, as many as it takes to see an image and a text column, and all columns.

    Rows of JSON may each lack what they have nothing for.
    """
    head: list[Row] = []
    present: dict[str, Any] = {}
    for row in islice(rows, _LOOK):
        head.append(row)
        present |= row[1] or {}
        if first_present(options.image_column, IMAGE_COLUMNS, present) and first_present(
            options.text_column, TEXT_COLUMNS, present
        ):
            break
    return head, present


def read_rows(table: str, file: IO[bytes]) -> Iterator[Row]:
    """Rows of a table by the ending of its name, as JSON lines where it is not known."""
    kind = table.rsplit(".", 1)[-1].lower()
    readers = {"csv": _csv, "tsv": _tsv, "parquet": _parquet, "json": _json}
    return readers.get(kind, _text if kind in TEXT_EXTENSIONS else _jsonl)(file)


def _planned(columns: dict[str, Any], image: str, text: str | None) -> dict[str, Any]:
    path, caption = columns.get(image), columns.get(text) if text else None
    rest = {k: v for k, v in columns.items() if k not in (image, text)}
    return {
        "path": _raw(path if isinstance(path, bytes | str) else str(path)) if path else None,
        "text": None if caption is None else _raw(caption),
        "columns": safe_json(rest) if rest else None,
    }


def _raw(value: object) -> bytes:
    """The bytes of words, those that are not UTF-8 included; other values as JSON."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogateescape" if _escaped(text) else "surrogatepass")


def _escaped(text: str) -> bool:
    """Whether surrogates in `text` stand for undecodable bytes (and not for lone escapes)."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes, str | None]]:
    """Lines with their number; one longer than a record may be is passed over, with its error."""
    number = 0
    while line := file.readline(MAX_TEXT_BYTES):
        error = None
        line = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
        while not line.endswith(b"\n"):
            rest = file.readline(MAX_TEXT_BYTES)
            if not rest:
                break
            error, line = "too_large", rest
        yield number, line, error
        number += 1


def _jsonl(file: IO[bytes]) -> Iterator[Row]:
    for number, line, error in _lines(file):
        if error:
            yield number, None, error
        elif line.strip():
            try:
                columns = parse_json(line.decode("utf-8", "surrogateescape"))
            except (ValueError, RecursionError):
                columns = None
            good = isinstance(columns, dict)
            yield number, columns if good else None, None if good else "corrupt_record"


def _json(file: IO[bytes]) -> Iterator[Row]:
    """A list of objects, an object that holds such lists (as COCO's), or one object."""
    data = file.read(MAX_MEDIA_BYTES + 1)
    if len(data) > MAX_MEDIA_BYTES:
        yield 0, None, "too_large"
        return
    try:
        value = parse_json(data.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        yield 0, None, "corrupt_record"
        return
    rows = value
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        rows = [row for part in lists for row in part if isinstance(row, dict)] or [value]
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        yield number, row if isinstance(row, dict) else {"text": row}, None


def _text(file: IO[bytes]) -> Iterator[Row]:
    """A whole file as one text."""
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        yield 0, None, "too_large"
    elif data:
        yield 0, {"text": data.decode("utf-8-sig", "surrogateescape")}, None


def _csv(file: IO[bytes], delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(MAX_TEXT_BYTES)
    oversized: list[str] = []
    reader = csv.reader(_text_lines(file, oversized), delimiter=delimiter)
    header: list[str] | None = None
    number = 0
    while True:
        error = None
        values: list[str] = []
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            error = "corrupt_record"
        if oversized:
            error = oversized.pop()
            oversized.clear()
        if header is None:
            header = [name.strip() for name in values]
        elif values or error:
            if not error and len(values) != len(header):
                error = "corrupt_record"
            yield number, None if error else dict(zip(header, values, strict=True)), error
            number += 1


def _text_lines(file: IO[bytes], oversized: list[str]) -> Iterator[str]:
    """Lines for a CSV reader, an empty one in place of one that is too long."""
    for _, line, error in _lines(file):
        if error:
            oversized.append(error)
        yield "\n" if error else line.decode("utf-8", "surrogateescape")


def _tsv(file: IO[bytes]) -> Iterator[Row]:
    return _csv(file, "\t")


def _parquet(file: IO[bytes]) -> Iterator[Row]:
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
            for columns in decoded(batch):
                yield number, columns, None if columns is not None else "corrupt_record"
                number += 1
    except FAULTS:
        yield number, None, "corrupt_record"
