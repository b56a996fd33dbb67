"""A folder of images with same-named `.txt` or `.json` files beside them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import pyarrow as pa

from curation.io.sources.files import (
    OutsideSourceError,
    inside,
    is_image,
    read_bytes,
    read_media,
    size_of,
    tree,
)
from curation.io.sources.record import (
    MAX_TEXT_BYTES,
    TEXT_COLUMNS,
    TEXT_EXTENSIONS,
    Piece,
    Record,
    SourceOptions,
    describe,
    extension_of,
    first_present,
    parse_json,
)
from curation.io.store import Store
from curation.io.tables import read_table, write_table

ROW = pa.schema([(role, pa.binary()) for role in ("image", "text", "json")])
"""File names as the system has them: not always UTF-8."""


@dataclass
class FolderSource:
    """One sample an image; a text without an image is one too, so that nothing is lost."""

    store: Store
    options: SourceOptions
    scratch: Store
    _ignored: Counter[str] = field(default_factory=Counter)
    _second: Counter[str] = field(default_factory=Counter)
    """Texts and JSONs beside another one of the same name."""

    def notes(self) -> list[str]:
        said = {
            "files that are neither image, text nor JSON": self._ignored,
            "texts beside a text, or JSONs beside a JSON, of the same name": self._second,
        }
        counted = {
            what: ", ".join(f"{n} .{kind}" for kind, n in sorted(kinds.items()))
            for what, kinds in said.items()
        }
        return [f"{what}, passed over: {kinds}" for what, kinds in counted.items() if kinds]

    def listing(self) -> Iterator[tuple[str, int]]:
        for prefix, names in tree(self.store):
            for name in names:
                yield prefix + name, size_of(self.store, prefix + name)

    def plan(self) -> Iterator[Piece]:
        rows: list[dict[str, Any]] = []
        total = number = 0
        for prefix, names in tree(self.store):
            for row in self._group(prefix, names):
                size = size_of(self.store, row["image"]) if row["image"] else 0
                full = len(rows) >= self.options.shard_samples
                if rows and (full or total + size > self.options.shard_bytes):
                    yield self._set_aside(number, rows, total)
                    rows, total, number = [], 0, number + 1
                rows.append(row)
                total += size
        if rows:
            yield self._set_aside(number, rows, total)

    def _set_aside(self, number: int, rows: list[dict[str, Any]], total: int) -> Piece:
        name = f"files-{number:09d}.parquet"
        encoded = [{k: v if v is None else os.fsencode(v) for k, v in row.items()} for row in rows]
        sha = write_table(self.scratch, name, pa.Table.from_pylist(encoded, ROW), ROW, {})
        return Piece(len(rows), total, {"rows": name, "sha256": sha})

    def _group(self, prefix: str, names: list[str]) -> Iterator[dict[str, Any]]:
        """Files of one folder by stem; each further image of a stem is a sample with its text."""
        stems: dict[str, dict[str, Any]] = {}
        for name in names:
            kind = extension_of(name)
            role = "image" if is_image(name) else "text" if kind in TEXT_EXTENSIONS else kind
            if role not in ("image", "text", "json"):
                if not name.startswith("."):
                    self._ignored[kind or "(none)"] += 1
                continue
            group = stems.setdefault(name.rsplit(".", 1)[0], {"images": []})
            if role == "image":
                group["images"].append(prefix + name)
            elif role in group:
                self._second[kind] += 1
            else:
                group[role] = prefix + name
        _reunite(stems)
        for _, group in sorted(stems.items()):
            for image in group["images"] or ([None] if "text" in group else []):
                yield {"image": image, "text": group.get("text"), "json": group.get("json")}

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        rows = read_table(self.scratch, piece.where["rows"]).to_pylist()
        for encoded in compress(rows, wanted):
            row = {k: v if v is None else os.fsdecode(v) for k, v in encoded.items()}
            record = Record(source={"path": row["image"] or row["text"]})
            if row["json"]:
                self._describe(record, row["json"])
            if row["text"]:
                record.replace_text(self._bytes(row["text"], record))
            if row["image"]:
                read_media(self.store, row["image"], record)
            else:
                record.fail("no_media")
            yield record

    def _bytes(self, name: str, record: Record) -> bytes | None:
        try:
            path = inside(self.store, name)
            if self.store.size(path) > MAX_TEXT_BYTES:
                record.fail("too_large")
                return None
            return read_bytes(self.store, path)
        except OutsideSourceError:
            record.fail("outside_source")
        except OSError:
            record.fail("unreadable_file")
        return None

    def _describe(self, record: Record, name: str) -> None:
        data = self._bytes(name, record)
        if data is None:
            return
        try:
            columns = parse_json(data)
        except (ValueError, RecursionError):
            record.fail("corrupt_record")
            return
        take_json(record, columns, self.options.text_column)


def _reunite(stems: dict[str, dict[str, Any]]) -> None:
    """Gives texts without an image to the one image whose name differs from theirs in case alone.

    An image keeps the text or JSON that is named exactly as it is.
    """
    alike: dict[str, list[dict[str, Any]]] = {}
    for stem, group in stems.items():
        if group["images"]:
            alike.setdefault(stem.lower(), []).append(group)
    for stem, group in sorted(stems.items()):
        homes = [] if group["images"] else alike.get(stem.lower(), [])
        if len(homes) == 1:
            for role in ("text", "json"):
                if role in group and role not in homes[0]:
                    homes[0][role] = group.pop(role)


def take_json(record: Record, columns: object, text_column: str) -> None:
    """Caption, licence, URL and other columns from a JSON beside an image."""
    if not isinstance(columns, dict):
        record.source["columns"] = {"json": columns}
        return
    text = first_present(text_column, TEXT_COLUMNS, columns)
    if text:
        record.set_text(columns[text])
    describe(record, columns, (text,))
