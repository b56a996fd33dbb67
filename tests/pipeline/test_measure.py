"""Measuring: layers, what is reused, and operators that fail on a row."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.errors import UsageError
from curation.core.operator import BatchFn, Operator, append
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from jobs.image_text import recipe

FATAL = ("number 7 ", "number 31 ")


@dataclass(frozen=True, kw_only=True)
class Fragile(Operator):
    """Counts characters, but fails in some way on two captions."""

    name = "fragile"
    how: str = "raise"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("letters", pa.int32())])

    def open(self) -> BatchFn:
        return self._count

    def _count(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch["text"].to_pylist()
        if any(fatal in text for text in texts for fatal in FATAL):
            if self.how == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            raise MemoryError if self.how == "memory" else RuntimeError("cannot count this")
        return append(batch, self.provides, {"letters": [len(text) for text in texts]})


@dataclass(frozen=True, kw_only=True)
class Doubled(Operator):
    """Reads what another operator provides."""

    name = "doubled"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("caption_chars", pa.int32())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("twice", pa.int32())])

    def open(self) -> BatchFn:
        def double(batch: pa.RecordBatch) -> pa.RecordBatch:
            values = [2 * n for n in batch["caption_chars"].to_pylist()]
            return append(batch, self.provides, {"twice": values})

        return double


@pytest.fixture
def corpus(pairs: Path, tmp_path: Path) -> Corpus:
    with LocalEngine(workers=0) as engine:
        options = SourceOptions(shard_samples=25)
        request = IngestRequest(source=str(pairs), options=options)
        return ingest(request, str(tmp_path / "corpus"), engine, SILENT)


def column(
    corpus: Corpus, operator: Operator, name: str, beside: tuple[Operator, ...] = ()
) -> list:
    layer = layers_of((*beside, operator))[operator.name]
    tables = (read_table(corpus.store, layer.path(s.shard), [name]) for s in corpus.shards)
    return pa.concat_tables(tables)[name].to_pylist()


@pytest.mark.parametrize(
    ("how", "workers", "code"),
    [("raise", 0, "crashed"), ("memory", 0, "out_of_memory"), ("crash", 2, "crashed")],
)
def test_a_row_that_breaks_an_operator_costs_only_itself(corpus, how, workers, code):
    operator = Fragile(how=how)
    with LocalEngine(workers=workers) as engine:
        (ref,) = measure(corpus, (operator,), engine, SILENT)
    errors = column(corpus, operator, "error")
    assert [row for row, error in enumerate(errors) if error] == [7, 31]
    assert {errors[7], errors[31]} == {code}
    assert ref.errors == {code: 2}
    letters = column(corpus, operator, "letters")
    assert sum(value is None for value in letters) == 2
    assert letters[8] is not None


def test_a_failing_row_is_told(corpus):
    said = []

    class Listening(type(SILENT)):
        def say(self, line: str) -> None:
            said.append(line)

    with LocalEngine(workers=0) as engine:
        measure(corpus, (Fragile(),), engine, Listening())
    assert said == [
        "fragile failed on shard 0 row 7: RuntimeError: cannot count this",
        "fragile failed on shard 1 row 6: RuntimeError: cannot count this",
    ]


def test_an_operator_reads_what_another_measured_before(corpus):
    *_, caption_text = recipe().operators
    with LocalEngine(workers=0) as engine:
        measure(corpus, (caption_text,), engine, SILENT)
        measure(corpus, (caption_text, Doubled()), engine, SILENT)
    chars = column(corpus, caption_text, "caption_chars")
    assert column(corpus, Doubled(), "twice", (caption_text,)) == [2 * n for n in chars]


def test_operators_in_one_pass_read_each_other(corpus):
    *_, caption_text = recipe().operators
    with LocalEngine(workers=0) as engine:
        measure(corpus, (caption_text, Doubled()), engine, SILENT)
    chars = column(corpus, caption_text, "caption_chars")
    assert column(corpus, Doubled(), "twice", (caption_text,)) == [2 * n for n in chars]


def test_a_column_that_nothing_gives_is_refused(corpus):
    with pytest.raises(UsageError, match="doubled needs caption_chars"):
        layers_of((Doubled(),))


def test_only_what_is_missing_is_measured(corpus):
    operators = recipe().operators
    with LocalEngine(workers=0) as engine:
        measure(corpus, operators, engine, SILENT)
        layer = layers_of(operators)["image_probe"]
        folder = Path(corpus.store.path(layer.folder))
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        (folder / "000000001.parquet").unlink()
        (folder / next(n for n in before if n.startswith("_done"))).unlink()
        measure(corpus, operators, engine, SILENT)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert after.keys() == before.keys()
    same = {name for name in before if after[name] == before[name]}
    assert same == {"000000000.parquet", "000000002.parquet"}


def test_layers_are_those_of_their_parameters(corpus):
    operators = recipe().operators
    changed = recipe().with_settings(("image_pixels.max_pixels=1000000",)).operators
    one, other = layers_of(operators), layers_of(changed)
    assert one["image_pixels"] != other["image_pixels"]
    assert one["image_probe"] == other["image_probe"]


def test_a_measured_corpus_opens_with_its_layers(corpus, tmp_path):
    assert open_corpus(str(tmp_path / "corpus")).manifest == corpus.manifest
