"""Prepares benchmarks for decontamination: a folder becomes one file of features in the corpus.

A benchmark is read like any source and measured by the recipe's own operators, in a scratch
corpus that is thrown away; what stays is small, and enough to decide again without the folder.
"""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.core.corpus import Layer, benchmark_path, index_path
from curation.core.engine import Engine
from curation.core.errors import UsageError, check_code
from curation.core.fingerprint import digest
from curation.core.operator import Operator
from curation.core.progress import Progress, Tracker
from curation.core.step import Step
from curation.io.corpus import Corpus, ShardRef
from curation.io.sources import SourceOptions, open_source, parts
from curation.io.store import Store
from curation.io.tables import encode_table, read_table
from curation.operators.vision_language.clip import Clip
from curation.pipeline.ingest import IngestRequest, ingest, listing_hash
from curation.pipeline.measure import layers_of, measure
from curation.relational.benchmark_features import FEATURES, FeatureFile
from curation.relational.decontaminate import Decontaminate
from schemas.manifest import CorpusManifest, LayerRef

VERSION = 1
"""Raised when the same folder would give other features."""

MEASURED = ("phash", "clip_image")
"""Columns that are compared, where an operator of the recipe gives them."""

_DATA = re.compile(r"[!-~]{1000}")
"""In a string that is no text: base64, or bytes written out."""


def named_folders(given: Iterable[str]) -> dict[str, str]:
    """Folders by name, of `NAME=FOLDER` as a user writes them. Raises UsageError."""
    found: dict[str, str] = {}
    for said in given:
        name, equals, folder = (part.strip() for part in said.partition("="))
        if not (name and equals and folder):
            raise UsageError(f"--benchmark {said}: write it as NAME=FOLDER")
        if name in found:
            raise UsageError(f"--benchmark {said}: two benchmarks are called {name}")
        found[name] = folder
    return found


def check_folders(named: Mapping[str, str]) -> None:
    """Raises UsageError for a benchmark that is not there, or whose files no reader knows."""
    for name, folder in sorted(named.items()):
        try:
            found, _ = parts(folder)
        except UsageError as error:
            raise UsageError(f"benchmark {name}: {error}") from error
        if not found:
            raise UsageError(f"benchmark {name}: nothing in {folder} can be compared")


def named_features(manifest: CorpusManifest) -> list[tuple[str, str]]:
    """Name and SHA-256 of the benchmarks in the recipe that a manifest holds."""
    stages = [*manifest.recipe.get("stages", []), *manifest.recipe.get("asked", [])]
    return [(b["name"], b["sha256"]) for stage in stages for b in stage.get("benchmarks", [])]


def prepare_benchmarks(
    corpus: Corpus,
    named: Mapping[str, str],
    operators: tuple[Operator, ...],
    engine: Engine,
    progress: Progress,
) -> tuple[FeatureFile, ...]:
    """Features of the benchmarks in `named` (folder by name), kept in the corpus, by name.

    `operators` are the recipe's; of them those run that give a column of MEASURED, and what they
    read. A benchmark that the corpus's recipe already names is not measured again while its
    listing and those operators stay as they are. What cannot be read is a row with its error code;
    raises UsageError for a folder that is not there or in which nothing can be compared.
    """
    wanted = _wanted(operators)
    return tuple(
        _prepare(corpus, name, folder, wanted, engine, progress)
        for name, folder in sorted(named.items())
    )


def with_features(
    corpus: Corpus, stages: tuple[Step, ...], operators: tuple[Operator, ...]
) -> tuple[Step, ...]:
    """The stages, decontamination knowing where in the corpus its features lie.

    Raises UsageError for features that another operator measured than the recipe's.
    """
    return tuple(
        _located(corpus, step, operators) if isinstance(step, Decontaminate) else step
        for step in stages
    )


def _located(corpus: Corpus, step: Decontaminate, operators: tuple[Operator, ...]) -> Decontaminate:
    files = tuple(_in_corpus(corpus, file.name, file.sha256) for file in step.benchmarks)
    measured = _fingerprints(_wanted(operators))
    for file in files:
        footer = file.footer()
        if step.off or not footer:  # a file that is missing is the step's to tell
            continue
        theirs = json.loads(footer["layers"])
        for column in MEASURED:
            if column in step.requires.names and theirs.get(column) != measured.get(column):
                raise UsageError(
                    f"{step.name}: {column} of benchmark {file.name} was measured by another "
                    f"operator than the corpus's; name its folder again "
                    f"(--benchmark {file.name}=FOLDER)"
                )
    return dataclasses.replace(step, benchmarks=files)


def _in_corpus(corpus: Corpus, name: str, sha256: str) -> FeatureFile:
    path = f"{corpus.store.url.rstrip('/')}/{benchmark_path(sha256)}"
    return FeatureFile(name=name, sha256=sha256, path=path)


def _wanted(operators: tuple[Operator, ...]) -> tuple[Operator, ...]:
    """Operators that give a column of MEASURED, and those whose columns they read.

    CLIP without its floor: a benchmark's image counts however small, and with no caption.
    """
    taken: list[Operator] = []
    needed = set(MEASURED)
    for given in reversed(operators):
        operator = dataclasses.replace(given, floor="") if isinstance(given, Clip) else given
        if needed & set(operator.provides.names):
            taken.insert(0, operator)
            needed |= set(operator.requires.names)
    return tuple(taken)


def _fingerprints(operators: tuple[Operator, ...]) -> dict[str, str]:
    """Fingerprint of the layer that gives each column of MEASURED."""
    layers = layers_of(operators)
    return {
        column: layers[operator.name].fingerprint
        for operator in operators
        for column in MEASURED
        if column in operator.provides.names
    }


def _prepare(
    corpus: Corpus,
    name: str,
    folder: str,
    operators: tuple[Operator, ...],
    engine: Engine,
    progress: Progress,
) -> FeatureFile:
    layers = _fingerprints(operators)
    with engine.folder() as scratch:
        try:
            found, passed_over = parts(folder)
            made_from = _made_from(found, layers, Store(f"{scratch}/listing"))
        except UsageError as error:
            raise UsageError(f"benchmark {name}: {error}") from error
        for known, sha256 in named_features(corpus.manifest):
            file = _in_corpus(corpus, known, sha256)
            if known == name and file.footer().get("made_from") == made_from:
                progress.say(f"benchmark {name}: already measured")
                return file
        if passed_over:
            progress.say(f"benchmark {name}: passed over {_kinds(passed_over)}")
        rows = _Rows()
        quiet = _Quiet(progress, name)
        for number, (url, kind) in enumerate(found):
            place = f"{scratch}/{number}"
            made = _ingested(url, kind, place, engine, quiet)
            if isinstance(made, UsageError):
                progress.say(f"benchmark {name}: {made}")
                continue
            measured = measure(made, operators, engine, quiet) if kind != "texts" else []
            prefix = url.removeprefix(folder).lstrip("/").rpartition("/")[0]
            rows.take(made, measured, kind, f"{prefix}/" if prefix else "")
    if not rows.comparable:
        unread = f" ({rows.faults} items in it cannot be read)" if rows.faults else ""
        raise UsageError(f"benchmark {name}: nothing in {folder} can be compared{unread}")
    footer = {"made_from": made_from, "layers": json.dumps(layers, sort_keys=True)}
    data = encode_table(pa.Table.from_pylist(rows.rows, FEATURES), FEATURES, footer)
    file = _in_corpus(corpus, name, hashlib.sha256(data).hexdigest())
    corpus.store.write(benchmark_path(file.sha256), data)
    corpus.store.settle("tables")
    return file


def _made_from(found: list[tuple[str, str]], layers: dict[str, str], scratch: Store) -> str:
    """What features depend on: files by name and size, and how their images are measured."""
    listings = [
        listing_hash(*open_source(url, SourceOptions(format=kind), scratch)) for url, kind in found
    ]
    return digest({"version": VERSION, "layers": layers, "listings": listings})


def _kinds(files: list[str]) -> str:
    kinds = Counter(Path(file).suffix or "files without ending" for file in files)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _ingested(
    url: str, kind: str, place: str, engine: Engine, progress: Progress
) -> Corpus | UsageError:
    """One part of a benchmark as a scratch corpus, or why there is nothing in it to read."""
    request = IngestRequest(source=url, options=SourceOptions(format=kind))
    try:
        return ingest(request, place, engine, progress)
    except UsageError as error:
        return error


@dataclass(frozen=True)
class _Quiet:
    """Shows the work on a benchmark, and leaves out what is said of scratch corpora."""

    progress: Progress
    name: str

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Tracker]:
        return self.progress.track(f"benchmark {self.name}: {label}", total, unit)

    def say(self, line: str) -> None: ...


class _Rows:
    """FEATURES of a benchmark; an image or text that it has more than once is taken once."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.faults = 0
        self._seen: set[tuple[str, str]] = set()

    @property
    def comparable(self) -> bool:
        compared = ("text", *MEASURED)
        return any(row.get(name) is not None for row in self.rows for name in compared)

    def take(self, made: Corpus, layers: list[LayerRef], kind: str, prefix: str) -> None:
        """Adds what a scratch corpus holds; of a folder the images, its texts are a part too."""
        for shard in made.shards:
            for item, row in _samples(made, layers, shard):
                texts = [] if kind == "folder" else _texts(row)
                self._image(prefix + item, row)
                for text in texts:
                    self._add(prefix + item, "text", text)
                error = row["error"] or row["measuring"]
                if error and not (error == "no_media" and (texts or kind == "folder")):
                    self.faults += 1
                    self.rows.append({"item": prefix + item, "error": check_code(error)})

    def _image(self, item: str, row: dict[str, Any]) -> None:
        measured = any(row[name] is not None for name in MEASURED)
        member = next((m for m in row["members"] or [] if m["sha256"]), None)
        if member and (measured or not (row["error"] or row["measuring"])):
            self._add(item, "image", member["sha256"], **{name: row[name] for name in MEASURED})

    def _add(self, item: str, column: str, value: str, **more: Any) -> None:
        if (column, value) not in self._seen:
            self._seen.add((column, value))
            self.rows.append({"item": item, column: value, **more})


def _samples(
    made: Corpus, layers: list[LayerRef], shard: ShardRef
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each sample of a shard as (place in its source, columns of index and layers)."""
    columns = ["text", "source", "error", "members"]
    index = read_table(made.store, index_path(shard.shard), columns).to_pylist()
    rows = [{**row, "measuring": None, **dict.fromkeys(MEASURED)} for row in index]
    for ref in layers:
        layer = read_table(made.store, Layer(ref.operator, ref.fingerprint).path(shard.shard))
        given = [name for name in MEASURED if name in layer.column_names]
        if given:
            for row, found in zip(rows, layer.select([*given, "error"]).to_pylist(), strict=True):
                row["measuring"] = row["measuring"] or found.pop("error")
                row.update(found)
    for row in rows:
        source = json.loads(row["source"] or "{}")
        row["columns"] = source.get("columns", {})
        places = [source.get("table") or source.get("path"), source.get("key", source.get("row"))]
        yield ":".join(str(place) for place in places if place is not None), row


def _texts(row: dict[str, Any]) -> list[str]:
    """Every text of a sample: its caption, and each string among its other columns."""
    found = [row["text"], *_strings(row["columns"])]
    return [_clean(text) for text in found if text and text.strip() and not _DATA.search(text)]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def _clean(text: str) -> str:
    """What Parquet can hold: bytes that were no UTF-8 are replaced."""
    return text.encode("utf-8", "replace").decode()
