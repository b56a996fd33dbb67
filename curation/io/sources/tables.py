"""Tables of image paths and texts: JSONL, CSV, TSV and Parquet.

The rows are read once, when planning, and set aside in pieces of one shard; the pieces are then
read by any worker. Nothing but the rows of one shard is held in memory.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.errors import UsageError
from curation.io.sources.files import read_media, size_of
from curation.io.sources.record import (
    IMAGE_COLUMNS,
    MAX_TEXT_BYTES,
    TEXT_COLUMNS,
    Piece,
    Record,
    SourceOptions,
    describe,
    first_present,
    safe_json,
)
from curation.io.store import Store
from curation.io.tables import read_table, write_table

ROW = pa.schema(
    [
        ("path", pa.string()),
        ("text", pa.binary()),
        ("columns", pa.string()),
        ("table", pa.string()),
        ("row", pa.int64()),
        ("error", pa.string()),
    ]
)
"""A planned row: what a worker needs to make the sample."""


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
        total = number = 0
        for row in self._rows():
            size = size_of(self.store, row["path"]) if row["path"] else 0
            full = len(rows) >= self.options.shard_samples
            if rows and (full or total + size > self.options.shard_bytes):
                yield self._set_aside(number, rows, total)
                rows, total, number = [], 0, number + 1
            rows.append(row)
            total += size
        if rows:
            yield self._set_aside(number, rows, total)

    def _set_aside(self, number: int, rows: list[dict[str, Any]], total: int) -> Piece:
        name = f"rows-{number:09d}.parquet"
        sha = write_table(self.scratch, name, pa.Table.from_pylist(rows, ROW), ROW, {})
        return Piece(len(rows), total, {"rows": name, "sha256": sha})

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        rows = read_table(self.scratch, piece.where["rows"]).to_pylist()
        for row in compress(rows, wanted):
            record = Record(source={"path": row["path"], "row": row["row"], "table": row["table"]})
            if row["columns"]:
                describe(record, json.loads(row["columns"]), ())
            record.set_text(row["text"])
            if row["error"]:
                record.fail(row["error"])
            elif not row["path"]:
                record.fail("no_media")
            else:
                read_media(self.store, row["path"], record)
            yield record

    def _rows(self) -> Iterator[dict[str, Any]]:
        readers = {"csv": _csv, "tsv": _tsv, "parquet": _parquet}
        for table in self.tables:
            reader = readers.get(table.rsplit(".", 1)[-1].lower(), _jsonl)
            chosen: tuple[str, str | None] | None = None
            with self.store.open(table) as file:
                for number, columns, error in reader(file):
                    base = {"table": table, "row": number, "error": error}
                    if columns is None:
                        yield {**base, "path": None, "text": None, "columns": None}
                        continue
                    chosen = chosen or self._choose(table, columns)
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


def _planned(columns: dict[str, Any], image: str, text: str | None) -> dict[str, Any]:
    path, caption = columns.get(image), columns.get(text) if text else None
    rest = {k: v for k, v in columns.items() if k not in (image, text)}
    raw = caption if isinstance(caption, bytes) else None
    if raw is None and caption is not None:
        as_text = caption if isinstance(caption, str) else json.dumps(caption, ensure_ascii=False)
        raw = as_text.encode("utf-8", "surrogateescape" if _escaped(as_text) else "surrogatepass")
    return {
        "path": str(path).encode("utf-8", "replace").decode() if path not in (None, "") else None,
        "text": raw,
        "columns": safe_json(rest) if rest else None,
    }


def _escaped(text: str) -> bool:
    """Whether surrogates in `text` stand for undecodable bytes (and not for lone escapes)."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")


Row = tuple[int, dict[str, Any] | None, str | None]


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes, str | None]]:
    """Lines with their number; one longer than a record may be is passed over, with its error."""
    number = 0
    while line := file.readline(MAX_TEXT_BYTES):
        error = None
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
                columns = json.loads(line.decode("utf-8", "surrogateescape"))
            except (ValueError, RecursionError):
                columns = None
            good = isinstance(columns, dict)
            yield number, columns if good else None, None if good else "corrupt_record"


def _csv(file: IO[bytes], delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(MAX_TEXT_BYTES)
    lines = (line.decode("utf-8", "surrogateescape") for _, line, _ in _lines(file))
    reader = csv.reader(lines, delimiter=delimiter)
    header: list[str] | None = None
    number = 0
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield number, None, "corrupt_record"
            number += 1
            continue
        if header is None:
            header = [name.removeprefix("\ufeff").strip() for name in values]
            continue
        if values:
            good = len(values) == len(header)
            yield (
                number,
                dict(zip(header, values, strict=True)) if good else None,
                None if good else "corrupt_record",
            )
            number += 1


def _tsv(file: IO[bytes]) -> Iterator[Row]:
    return _csv(file, "\t")


def _parquet(file: IO[bytes]) -> Iterator[Row]:
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
            for columns in batch.to_pylist():
                yield number, columns, None
                number += 1
    except (pa.ArrowException, OSError):
        yield number, None, "corrupt_record"
