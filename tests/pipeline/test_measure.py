"""Measuring: layers, what is reused, and operators that fail on a row."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.errors import UsageError
from curation.core.limits import Limits
from curation.core.operator import BatchFn, Operator, append
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.media import batches
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.operators.image.probe import ImageProbe
from curation.operators.text.caption_text import CaptionText
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure, switched_on
from curation.pipeline.measure_shard import careful, layer_schema
from tests.pipeline.corpora import plain_recipe
from tests.pipeline.fragile import Fragile


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


@dataclass(frozen=True, kw_only=True)
class Placed(Operator):
    """Where a row stands in its batch, as a model's bytes may depend on it; fails on some."""

    name = "placed"
    most: int = 1 << 30
    """Rows that it can take at once."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string()), ("domain", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("place", pa.int32()), ("of", pa.int32()), ("word", pa.string())])

    def open(self) -> BatchFn:
        def place(batch: pa.RecordBatch) -> pa.RecordBatch:
            texts = batch["text"].to_pylist()
            if any(fatal in (text or "") for text in texts for fatal in Fragile().words):
                raise RuntimeError("cannot place this")
            if batch.num_rows - batch["text"].null_count > self.most:
                raise MemoryError
            words = [text and text.split()[1] for text in texts]
            of = [batch.num_rows] * len(texts)
            return append(
                batch, self.provides, {"place": list(range(len(texts))), "of": of, "word": words}
            )

        return place


@dataclass(frozen=True, kw_only=True)
class Process(Operator):
    """Which process measured a row."""

    name = "process"
    threads: int = 0

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("pid", pa.int64())])

    def open(self) -> BatchFn:
        return lambda batch: append(batch, self.provides, {"pid": [os.getpid()] * batch.num_rows})


@dataclass(frozen=True, kw_only=True)
class Modelled(Process):
    """The same, with a model."""

    name = "modelled"
    threads: int = 2

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("model_pid", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Unopened(Operator):
    """Its weights are not there."""

    name = "unopened"
    requires = pa.schema([("text", pa.string())])
    provides = pa.schema([("nothing", pa.int32())])

    def open(self) -> BatchFn:
        raise UsageError("no such weights")


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
    [
        ("raise", 0, "crashed"),
        ("crash", 2, "crashed"),
        ("hang", 2, "timeout"),
        ("hang_in_c", 2, "crashed"),
        ("memory", 2, "out_of_memory"),
    ],
)
def test_a_row_that_breaks_an_operator_costs_only_itself(corpus, how, workers, code):
    operator = Fragile(how=how)
    limits = Limits(deadline=0.3 if "hang" in how else 60, memory=1 << 30)
    with LocalEngine(workers=workers, limits=limits) as engine:
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


@pytest.mark.parametrize("skip", [(), (3, 24), tuple(range(20))])
def test_rows_that_fail_or_are_skipped_leave_the_others_in_their_slots(corpus, skip):
    (batch,) = batches(corpus.store, 0, images=False)
    said = []
    out = careful(Placed(), batch, skip, said)
    bad = {7, *skip}
    assert out.schema == layer_schema(Placed())
    assert out["uid"].to_pylist() == batch["uid"].to_pylist()
    words = [text.split()[1] for text in batch["text"].to_pylist()]
    for row in out.to_pylist():
        at = row["row"]
        expected = (None, None, None, "crashed") if at in bad else (at, 25, words[at], None)
        assert (row["place"], row["of"], row["word"], row["error"]) == expected
    assert len(said) == (7 not in skip)


def test_no_rows_and_no_good_rows_are_layers_too(corpus):
    (batch,) = batches(corpus.store, 0, images=False)
    said = []
    assert careful(Placed(), batch.slice(0, 0), (), said).schema == layer_schema(Placed())
    one = careful(Placed(), batch.slice(7, 1), (), said)
    assert one.select(["place", "of", "word", "error"]).to_pylist() == [
        {"place": None, "of": None, "word": None, "error": "crashed"}
    ]
    assert len(said) == 1


def test_rows_that_fail_only_together_are_measured_apart(corpus):
    (batch,) = batches(corpus.store, 2, images=False)
    said = []
    out = careful(Placed(most=4), batch, (), said)
    assert out["place"].to_pylist() == list(range(10))
    assert out["error"].null_count == 10
    assert said == []


def test_a_model_that_cannot_be_opened_ends_the_run_and_blames_no_row(corpus):
    for workers in (0, 1):
        with LocalEngine(workers=workers) as engine, pytest.raises(UsageError, match="no such"):
            measure(corpus, (Unopened(),), engine, SILENT)
    folder = Path(corpus.store.path(layers_of((Unopened(),))["unopened"].folder))
    assert not folder.exists()


def test_a_model_has_processes_to_itself_and_fewer_where_it_takes_threads(corpus):
    cheap, two = Process(), Modelled()
    with LocalEngine(workers=2) as engine:
        measure(corpus, (two, cheap), engine, SILENT)
    cheaps, twos = set(column(corpus, cheap, "pid")), set(column(corpus, two, "model_pid"))
    assert len(twos) == 1
    assert len(cheaps) <= 2
    assert not (cheaps & twos)


def test_what_an_operator_reads_is_measured_with_it(corpus):
    probe, caption_text = ImageProbe(), CaptionText()
    operators = (probe, caption_text, Doubled())
    with LocalEngine(workers=0) as engine:
        found = measure(corpus, operators, engine, SILENT, only="doubled")
    assert [layer.operator for layer in found] == ["caption_text", "doubled"]


def test_an_operator_reads_what_another_measured_before(corpus):
    caption_text = CaptionText()
    with LocalEngine(workers=0) as engine:
        measure(corpus, (caption_text,), engine, SILENT)
        measure(corpus, (caption_text, Doubled()), engine, SILENT)
    chars = column(corpus, caption_text, "caption_chars")
    assert column(corpus, Doubled(), "twice", (caption_text,)) == [2 * n for n in chars]


def test_operators_in_one_pass_read_each_other(corpus):
    caption_text = CaptionText()
    with LocalEngine(workers=0) as engine:
        measure(corpus, (caption_text, Doubled()), engine, SILENT)
    chars = column(corpus, caption_text, "caption_chars")
    assert column(corpus, Doubled(), "twice", (caption_text,)) == [2 * n for n in chars]


def test_a_column_that_nothing_gives_is_refused(corpus):
    with pytest.raises(UsageError, match="doubled needs caption_chars"):
        layers_of((Doubled(),))


def test_only_what_is_missing_is_measured(corpus):
    operators = switched_on(plain_recipe().operators)
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
    operators = switched_on(plain_recipe().operators)
    changed = plain_recipe().with_settings(("image_pixels.max_pixels=1000000",))
    one, other = layers_of(operators), layers_of(switched_on(changed.operators))
    assert one["image_pixels"] != other["image_pixels"]
    assert one["image_probe"] == other["image_probe"]


def test_a_measured_corpus_opens_with_its_layers(corpus, tmp_path):
    assert open_corpus(str(tmp_path / "corpus")).manifest == corpus.manifest
