"""Tells what a source is by looking at it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from curation.core.corpus import MANIFEST
from curation.core.errors import UsageError
from curation.io.sources.corpus import CorpusSource
from curation.io.sources.files import is_image, tree
from curation.io.sources.folder import FolderSource
from curation.io.sources.parquet import ARROW_ENDINGS, ParquetSource, bytes_column, open_schema
from curation.io.sources.record import (
    IMAGE_COLUMNS,
    TEXT_EXTENSIONS,
    Source,
    SourceOptions,
    ends,
)
from curation.io.sources.tables import TableSource, head_of, read_rows
from curation.io.sources.tars import TarSource
from curation.io.sources.text_files import TextFileSource
from curation.io.store import Store

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
COLUMNAR_ENDINGS = (".parquet", *ARROW_ENDINGS)
TABLE_ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv")
TEXT_ENDINGS = (*TABLE_ENDINGS, ".json", *(f".{kind}" for kind in TEXT_EXTENSIONS))
_LOOK = 100_000
"""Files looked at before a source is told to be a plain folder of images."""


def open_source(url: str, options: SourceOptions, scratch: Store) -> tuple[str, Source]:
    """The kind of `url` and its reader. Raises UsageError saying what was found instead."""
    store, name = _place(url)
    kind = options.format
    if kind == "auto":
        kind = _kind(store, name)
    if kind == "corpus":
        return kind, CorpusSource(store)
    if kind == "tar":
        tars = [name] if name else _ending(store, TAR_ENDINGS)
        return kind, TarSource(store, _some(url, tars, kind), options, scratch)
    if kind == "parquet":
        files = [name] if name else _ending(store, COLUMNAR_ENDINGS)
        return kind, ParquetSource(store, _some(url, files, kind), options)
    if kind == "table":
        tables = [name] if name else _top(store, TABLE_ENDINGS) or _ending(store, (".parquet",))
        return kind, TableSource(store, _some(url, tables, kind), options, scratch)
    if kind == "texts":
        files = [name] if name else list(filter(partial(_is_text, store), _ending(store, ("",))))
        return kind, TextFileSource(store, _some(url, files, kind), options, scratch)
    return "folder", FolderSource(store, options, scratch)


def parts(url: str) -> tuple[list[tuple[str, str]], list[str]]:
    """All that can be read at `url`, as (URL, format) of sources, and the files that cannot.

    Where `open_source` chooses one reading of a folder, this leaves nothing out: its tars, its
    tables with image bytes, its images, and every text in it, whatever they belong to.
    """
    store, name = _place(url)
    if name:
        if not _is_text(store, name):
            return [(url, _kind_of_file(store, name))], []
        return [(url, "table" if _names_images(store, name) else "texts")], []
    if store.exists(MANIFEST) and store.exists("shards"):
        return [(url, "corpus")], []
    files = _ending(store, ("",))
    rest = [file for file in files if not ends(file, TAR_ENDINGS)]
    found = [(url, "tar")] * (len(rest) < len(files))
    tables = [file for file in rest if _holds_images(store, file)]
    found += [(f"{url.rstrip('/')}/{file}", "parquet") for file in tables]
    images = [file for file in rest if is_image(file)]
    found += [(url, "folder")] * bool(images)
    texts = [file for file in rest if _is_text(store, file)]
    found += [(url, "texts")] * bool(texts)
    unread = {*rest} - {*tables, *images, *texts}
    return found, sorted(file for file in unread if not Path(file).name.startswith("."))


def _holds_images(store: Store, name: str) -> bool:
    """Whether a file is a Parquet or Arrow table with image bytes."""
    if not ends(name, COLUMNAR_ENDINGS):
        return False
    schema = open_schema(store, name)
    return schema is not None and bytes_column(schema, "") is not None


def _is_text(store: Store, name: str) -> bool:
    """Whether a file holds texts and no image bytes."""
    parquet = ends(name, (".parquet",)) and not _holds_images(store, name)
    return parquet or ends(name, TEXT_ENDINGS)


def _names_images(store: Store, name: str) -> bool:
    """Whether rows of a table name images by path."""
    with store.open(name) as file:
        _, columns = head_of(read_rows(name, file), SourceOptions())
    return any(column in columns for column in IMAGE_COLUMNS)


def _place(url: str) -> tuple[Store, str]:
    """The folder of a source, and the file in it where the source is one file."""
    store = Store(url)
    if store.is_local:
        path = store.local("")
        if not path.exists():
            raise UsageError(f"{url}: no such file or folder")
        if path.is_file():
            return Store(str(path.parent)), path.name
        return store, ""
    if ends(url.rsplit("/", 1)[-1], (*TAR_ENDINGS, *TABLE_ENDINGS, *COLUMNAR_ENDINGS)):
        folder, _, name = url.rpartition("/")
        return Store(folder), name
    return store, ""


def _kind(store: Store, name: str) -> str:
    if name:
        return _kind_of_file(store, name)
    if store.exists(MANIFEST) and store.exists("shards"):
        return "corpus"
    files = list(_first_files(store))
    if any(ends(file, TAR_ENDINGS) for file in files):
        return "tar"
    if any(ends(file, TABLE_ENDINGS) for file in files if "/" not in file):
        return "table"
    columnar = [file for file in files if ends(file, COLUMNAR_ENDINGS)]
    if columnar:
        return _kind_of_file(store, columnar[0])
    if any(is_image(file) for file in files):
        return "folder"
    found = ", ".join(sorted(files)[:5]) or "nothing"
    raise UsageError(
        f"{store.path('')}: no images, tars or tables of images found (there is: {found}); "
        "see `curate ingest --help` for what a source can be"
    )


def _kind_of_file(store: Store, name: str) -> str:
    if ends(name, TAR_ENDINGS):
        return "tar"
    if ends(name, TABLE_ENDINGS):
        return "table"
    if ends(name, COLUMNAR_ENDINGS):
        schema = open_schema(store, name)
        if schema is not None and bytes_column(schema, "") is None and ends(name, (".parquet",)):
            return "table"
        return "parquet"
    raise UsageError(
        f"{store.path(name)}: not a source (wanted .tar, .tar.gz, .jsonl, .csv, .tsv, .parquet, "
        ".arrow, or a folder)"
    )


def _first_files(store: Store) -> Iterator[str]:
    seen = 0
    for prefix, names in tree(store):
        for name in names:
            yield prefix + name
            seen += 1
            if seen >= _LOOK:
                return


def _ending(store: Store, endings: tuple[str, ...]) -> list[str]:
    return [prefix + name for prefix, names in tree(store) for name in names if ends(name, endings)]


def _top(store: Store, endings: tuple[str, ...]) -> list[str]:
    return [name for name in store.names("") if ends(name, endings)]


def _some(url: str, files: list[str], kind: str) -> list[str]:
    if not files:
        raise UsageError(f"{url}: no {kind} files in it")
    return files
