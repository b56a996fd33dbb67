"""Parquet and Arrow files that hold the image bytes themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.errors import UsageError
from curation.io.sources.files import read_media
from curation.io.sources.record import (
    BYTES_COLUMNS,
    TEXT_COLUMNS,
    Piece,
    Record,
    SourceOptions,
    describe,
    ends,
    extension_of,
    first_present,
)
from curation.io.store import Store

ARROW_ENDINGS = (".arrow", ".feather", ".ipc")
FAULTS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises on damaged files."""

_BATCH = 64
"""Rows decoded at once: images of a row group are not all held together."""

_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


def bytes_column(schema: pa.Schema, wanted: str) -> str | None:
    """The column with image bytes: binary, or Hugging Face's struct of bytes and path."""
    for name in [wanted] if wanted else BYTES_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kind = kind.field("bytes").type
            if any(is_kind(kind) for is_kind in _BINARY):
                return name
    return None


def open_schema(store: Store, name: str) -> pa.Schema | None:
    """Schema of a Parquet or Arrow file, null where it is damaged."""
    with store.open(name) as file:
        try:
            if ends(name, ARROW_ENDINGS):
                return _arrow(file).schema
            return pq.read_schema(file)
        except FAULTS:
            return None


def _arrow(file: IO[bytes]) -> Any:
    """A reader of an Arrow file or stream."""
    magic = file.read(6)
    file.seek(0)
    return pa.ipc.open_file(file) if magic == b"ARROW1" else pa.ipc.open_stream(file)


@dataclass
class ParquetSource:
    """Rows with image bytes; a piece is a row range of one file."""

    store: Store
    files: list[str]
    options: SourceOptions
    _notes: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        return self._notes

    def listing(self) -> Iterator[tuple[str, int]]:
        for file in self.files:
            yield file, self.store.size(file)

    def plan(self) -> Iterator[Piece]:
        for name in self.files:
            schema = open_schema(self.store, name)
            counts = None if schema is None else self._counts(name)
            if schema is None or counts is None:
                self._notes.append(f"{name}: damaged file, nothing in it can be read")
                yield Piece(1, 0, {"file": name, "damaged": True})
                continue
            image, text = self._choose(name, schema)
            rows, size = counts
            average = size / rows if rows else 0
            step = min(
                self.options.shard_samples, max(1, int(self.options.shard_bytes / max(average, 1)))
            )
            for start in range(0, rows, step):
                stop = min(rows, start + step)
                where = {"file": name, "start": start, "stop": stop, "image": image, "text": text}
                yield Piece(stop - start, int(average * (stop - start)), where)

    def _counts(self, name: str) -> tuple[int, int] | None:
        """Rows of a file, and its bytes as the estimate of its media."""
        size = self.store.size(name)
        with self.store.open(name) as file:
            try:
                if ends(name, ARROW_ENDINGS):
                    return sum(batch.num_rows for batch in _batches(file)), size
                return pq.ParquetFile(file).metadata.num_rows, size
            except FAULTS:
                return None

    def _choose(self, name: str, schema: pa.Schema) -> tuple[str, str | None]:
        present = dict.fromkeys(schema.names)
        image = bytes_column(schema, self.options.image_column)
        text = first_present(self.options.text_column, TEXT_COLUMNS, present)
        if image is None or (self.options.text_column and text is None):
            flag = "--text-column" if image else "--image-column"
            raise UsageError(
                f"{self.store.path(name)}: no such column of "
                f"{'texts' if image else 'image bytes'}; name it with {flag} "
                f"(there are: {', '.join(schema.names)})"
            )
        self._notes.append(f"{name}: images from column {image!r}, texts from {text!r}")
        return image, text

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        where = piece.where
        if where.get("damaged"):
            yield Record(source={"path": where["file"]}).fail("corrupt_record")
            return
        rows = self._rows(where["file"], where["start"], where["stop"])
        for row, (columns, asked) in enumerate(zip(rows, wanted, strict=True), where["start"]):
            if not asked:
                continue
            if columns is None:
                record = Record(source={"path": where["file"], "row": row})
                yield record.fail("corrupt_record")
            else:
                yield self._record(where, row, columns)

    def _rows(self, name: str, start: int, stop: int) -> Iterator[dict[str, Any] | None]:
        """Rows of a file, null where they cannot be decoded."""
        position = start
        with self.store.open(name) as file:
            for first, last, batches in _stretches(file, name, start, stop):
                at = first
                try:
                    for batch in batches:
                        low, high = max(start - at, 0), min(stop - at, batch.num_rows)
                        if low < high:
                            yield from decoded(batch.slice(low, high - low))
                        at += batch.num_rows
                        position = max(start, min(at, stop))
                        if at >= stop:
                            return
                except FAULTS:
                    pass  # the rest of this stretch is not there
                for _ in range(position, min(last, stop)):
                    yield None
                position = min(last, stop)
        for _ in range(position, stop):
            yield None

    def _record(self, where: dict[str, Any], row: int, columns: dict[str, Any]) -> Record:
        record = Record(source={"path": where["file"], "row": row})
        image = columns[where["image"]]
        describe(record, columns, (where["image"], where["text"]))
        if where["text"]:
            record.set_text(columns[where["text"]])
        path = image.get("path") if isinstance(image, dict) else None
        data = image.get("bytes") if isinstance(image, dict) else image
        if data is not None:
            record.media.append((extension_of(path or ""), data))
        elif path:
            read_media(self.store, path, record)
        else:
            record.fail("no_media")
        return record


Stretch = tuple[int, int, Iterator[pa.RecordBatch]]


def _stretches(file: IO[bytes], name: str, start: int, stop: int) -> Iterator[Stretch]:
    """First row, end and batches of what can be decoded by itself: row groups, or an Arrow file."""
    if ends(name, ARROW_ENDINGS):
        yield 0, stop, _batches(file)
        return
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except FAULTS:
        return
    first = 0
    for group in range(parquet.num_row_groups):
        last = first + parquet.metadata.row_group(group).num_rows
        if first < stop and last > start:
            yield first, last, parquet.iter_batches(batch_size=_BATCH, row_groups=[group])
        first = last


def _batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Batches of an Arrow file or stream, one at a time."""
    reader = _arrow(file)
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
    else:
        yield from reader


def decoded(batch: pa.RecordBatch) -> list[dict[str, Any] | None]:
    """Rows as Python values: words that are not UTF-8 as bytes, null where even that fails."""
    try:
        rows: list[dict[str, Any] | None] = batch.to_pylist()
        return rows
    except UnicodeDecodeError:
        pass
    if batch.num_rows > 1:
        return [row for n in range(batch.num_rows) for row in decoded(batch.slice(n, 1))]
    columns: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[name] = column[0].as_py()
        except UnicodeDecodeError:
            if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
                return [None]
            columns[name] = column[0].as_buffer().to_pybytes()
    return [columns]
