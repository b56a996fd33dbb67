"""Counts words, pairs of words and names of one part of a corpus or one file of texts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.core.corpus import Layer, index_path
from curation.io.sources.texts import texts_of
from curation.io.store import Store
from curation.io.tables import read_table
from curation.operators.text.phrases import names, phrases, sentences

COUNTS = pa.schema(
    [("kind", pa.string()), ("first", pa.string()), ("second", pa.string()), ("n", pa.int64())]
)
"""`word` and `name` have no second; `pair` is two words in a row."""

HELD = 1_000_000
"""Distinct words, pairs and names that a worker holds (about 200 MB) before it sets them aside."""

Key = tuple[str, str, str | None]


@dataclass(frozen=True)
class Part:
    """What one task counts: a shard of a corpus, or a file."""

    number: int
    shard: int | None = None
    file: str = ""

    def __str__(self) -> str:
        return self.file or f"shard {self.shard}"


@dataclass(frozen=True)
class Counted:
    """What a task saw."""

    texts: int
    skipped: int
    """Records that could not be read, or had no text."""
    words: int
    files: list[str]
    """Parquet files of COUNTS; a key may be in several."""


@dataclass(frozen=True)
class CountPart:
    """A task: sets the counts of a part aside as Parquet files in `scratch`."""

    store: Store
    scratch: str
    language: str
    languages: Layer | None
    """Layer that says each sample's language; every text counts where there is none."""
    column: str = ""

    def __call__(self, part: Part) -> Counted:
        spill = _Spill(Path(self.scratch), part.number)
        texts = skipped = words = 0
        for text in self._texts(part):
            if not text:
                skipped += 1
                continue
            texts += 1
            for sentence in sentences(phrases(text, self.language)):
                for phrase in sentence:
                    words += len(phrase.words)
                    spill.counts.update(("word", word, None) for word in phrase.words)
                    spill.counts.update(("pair", *pair) for pair in pairwise(phrase.words))
                spill.counts.update(("name", name, None) for name in names(sentence))
            spill.when_full()
        spill.write()
        return Counted(texts, skipped, words, spill.files)

    def _texts(self, part: Part) -> Iterator[str | None]:
        if part.shard is None:
            yield from texts_of(self.store, part.file, self.column)
            return
        column = read_table(self.store, index_path(part.shard), ["text"])["text"]
        if self.languages is None:
            yield from (text.as_py() for text in column)
            return
        said = read_table(self.store, self.languages.path(part.shard), ["language"])["language"]
        for text, language in zip(column, said.to_pylist(), strict=True):
            if language == self.language:
                yield text.as_py()


@dataclass
class _Spill:
    """Counts of a task, set aside whenever there are many."""

    folder: Path
    number: int
    counts: Counter[Key] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)

    def when_full(self) -> None:
        if len(self.counts) > HELD:
            self.write()

    def write(self) -> None:
        file = str(self.folder / f"{self.number:09d}-{len(self.files)}.parquet")
        kinds, firsts, seconds = zip(*self.counts, strict=True) if self.counts else ((), (), ())
        columns = [kinds, firsts, seconds, list(self.counts.values())]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, COUNTS, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=COUNTS), file)
        self.files.append(file)
        self.counts.clear()
