"""The same pairs in every form that a source can have."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.fingerprint import content_uid
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.sources import Piece, Record, Source, SourceOptions, open_source
from curation.io.store import Store
from curation.pipeline.ingest import IngestRequest, ingest
from tests.io.images import encoded, scene

COUNT = 23
TEXTS = ['A "quoted", comma', "two\nlines", "naïve café", "", "日本語", "plain words"]


def pair(n: int) -> dict[str, Any]:
    """Pair `n`: image bytes, text, and other columns."""
    data = encoded(scene((20 + n, 16), seed=n), "JPEG" if n % 3 else "PNG")
    return {
        "name": f"{n:04d}.{'jpg' if n % 3 else 'png'}",
        "data": data,
        "text": f"{TEXTS[n % len(TEXTS)]} {n}",
        "id": n,
        "url": f"https://user@Site{n % 2}.Example:8080/{n}",
        "license": "CC0",
    }


PAIRS = [pair(n) for n in range(COUNT)]


def columns(n: int) -> dict[str, Any]:
    """What a row says beside image and text."""
    return {key: PAIRS[n][key] for key in ("id", "url", "license")}


def images(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for made in PAIRS:
        (folder / "images" / made["name"]).write_bytes(made["data"])
    return folder


def jsonl(folder: Path) -> Path:
    rows = [
        {"image": f"images/{made['name']}", "text": made["text"]} | columns(n)
        for n, made in enumerate(PAIRS)
    ]
    (images(folder) / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def separated(folder: Path, name: str, delimiter: str) -> Path:
    import csv

    with (images(folder) / name).open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["image", "text", "id", "url", "license"])
        for n, made in enumerate(PAIRS):
            writer.writerow([f"images/{made['name']}", made["text"], *columns(n).values()])
    return folder


def parquet_of_paths(folder: Path) -> Path:
    rows = [
        {"image": f"images/{made['name']}", "text": made["text"]} | columns(n)
        for n, made in enumerate(PAIRS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), images(folder) / "pairs.parquet", row_group_size=5)
    return folder


def beside(folder: Path) -> Path:
    """Images with a text and a JSON of the same name, in two folders."""
    for n, made in enumerate(PAIRS):
        place = folder / ("a" if n < 9 else "b")
        place.mkdir(parents=True, exist_ok=True)
        stem = made["name"].split(".")[0]
        (place / made["name"]).write_bytes(made["data"])
        (place / f"{stem}.txt").write_bytes(made["text"].encode())
        (place / f"{stem}.json").write_text(json.dumps(columns(n)))
    return folder


def members(start: int = 0, stop: int = COUNT) -> list[tuple[str, bytes]]:
    """Members of a tar as img2dataset writes it."""
    found = []
    for n in range(start, stop):
        made = PAIRS[n]
        key, ext = made["name"].split(".")
        said = json.dumps(columns(n) | {"caption": made["text"], "key": key})
        found += [
            (f"{key}.{ext}", made["data"]),
            (f"{key}.json", said.encode()),
            (f"{key}.txt", made["text"].encode()),
        ]
    return found


def write_tar(path: Path, parts: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tars(folder: Path) -> Path:
    write_tar(folder / "00000.tar", members(0, 9))
    write_tar(folder / "00001.tar", members(9))
    (folder / "00000_stats.json").write_text("{}")
    pq.write_table(pa.table({"url": ["x"], "caption": ["y"]}), folder / "00000.parquet")
    return folder


def gzipped(folder: Path) -> Path:
    plain = write_tar(folder / "x.tar", members())
    (folder / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return folder


def rows_with_bytes(struct: bool) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "image": {"bytes": made["data"], "path": made["name"]} if struct else made["data"],
                "text": made["text"],
            }
            | columns(n)
            for n, made in enumerate(PAIRS)
        ]
    )


def parquet(folder: Path, struct: bool = False) -> Path:
    folder.mkdir(parents=True)
    pq.write_table(rows_with_bytes(struct), folder / "data.parquet", row_group_size=5)
    return folder


def arrow(folder: Path, stream: bool = False) -> Path:
    folder.mkdir(parents=True)
    table = rows_with_bytes(True)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(folder / "data.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return folder


def corpus(folder: Path) -> Path:
    with LocalEngine(workers=0) as engine:
        options = SourceOptions(shard_samples=7)
        request = IngestRequest(source=str(jsonl(folder / "source")), options=options)
        ingest(request, str(folder / "corpus"), engine, SILENT)
    return folder / "corpus"


FORMS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "jsonl": ("table", jsonl),
    "csv": ("table", lambda folder: separated(folder, "pairs.csv", ",")),
    "tsv": ("table", lambda folder: separated(folder, "pairs.tsv", "\t")),
    "parquet of paths": ("table", parquet_of_paths),
    "folder": ("folder", beside),
    "tars": ("tar", tars),
    "tar.gz": ("tar", gzipped),
    "parquet": ("parquet", parquet),
    "parquet of structs": ("parquet", lambda folder: parquet(folder, True)),
    "arrow file": ("parquet", arrow),
    "arrow stream": ("parquet", lambda folder: arrow(folder, True)),
    "corpus": ("corpus", corpus),
}
"""Name to the kind it is told to be, and its writer."""


def opened(source: Path | str, scratch: Path, **options: Any) -> tuple[str, Source]:
    return open_source(str(source), SourceOptions(**options), Store(str(scratch)))


def read_all(source: Source, pieces: list[Piece] | None = None) -> list[Record]:
    """Every record of a source, piece by piece."""
    pieces = list(source.plan()) if pieces is None else pieces
    records: list[Record] = []
    for piece in pieces:
        found = list(source.read(piece, [True] * piece.samples))
        assert len(found) == piece.samples, piece
        records += found
    return records


def uid(record: Record) -> str:
    hashes = [hashlib.sha256(data).hexdigest() for _, data in record.media]
    return content_uid(hashes, record.text.encode() if record.text is not None else record.raw_text)


UIDS = [
    content_uid([hashlib.sha256(made["data"]).hexdigest()], made["text"].encode()) for made in PAIRS
]
