"""Histograms of whole corpora against numpy over all values at once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.corpus import Layer
from curation.io.corpus import Corpus, open_corpus
from curation.io.tables import read_table
from curation.report.histogram import Measures, count_values, limits_of, measures
from tests.pipeline.corpora import curate, ledger, write_pairs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """60 pairs over three shards, some dropped by two rules."""
    folder = tmp_path_factory.mktemp("histogram")
    source = write_pairs(folder / "source", 60)
    settings = ("heuristics.blur=400", "heuristics.language=en")
    curate(source, folder / "out", *settings)
    return open_corpus(str(folder / "out"))


@pytest.fixture(scope="module")
def measured(corpus: Corpus) -> Measures:
    return measures(corpus, limits_of(corpus.manifest))


def values_of(corpus: Corpus, operator: str, name: str) -> pa.ChunkedArray:
    (ref,) = [ref for ref in corpus.manifest.layers if ref.operator == operator]
    layer = Layer(ref.operator, ref.fingerprint)
    tables = [read_table(corpus.store, layer.path(s.shard), [name]) for s in corpus.shards]
    return pa.concat_tables(tables)[name]


def test_counts_are_those_of_numpy_over_all_values(corpus, measured):
    kept = pc.equal(ledger(corpus)["status"], "kept").to_numpy()
    assert len(corpus.shards) == 3
    assert 0 < kept.sum() < 60
    assert len(measured.numbers) > 10
    for h in measured.numbers:
        values = values_of(corpus, h.column.operator, h.column.name)
        numbers = values.cast(pa.float64()).to_numpy()
        there = np.isfinite(numbers)
        counts, _ = np.histogram(numbers[there], h.edges)
        of_kept, _ = np.histogram(numbers[there & kept], h.edges)
        assert h.counts == counts.tolist(), h.column.name
        assert h.kept == of_kept.tolist(), h.column.name
        assert h.measured == there.sum()
        assert h.missing == values.null_count
        assert h.below + sum(h.counts) + h.above == h.measured
        assert h.kept_below + sum(h.kept) + h.kept_above == (there & kept).sum()
        assert (h.minimum, h.maximum) == (numbers[there].min(), numbers[there].max())


def test_words_are_counted_by_value(corpus, measured):
    (language,) = [w for w in measured.words if w.column.name == "language"]
    values = values_of(corpus, "caption_text", "language")
    kept = pc.equal(ledger(corpus)["status"], "kept")
    expected = {v["values"]: v["counts"] for v in values.drop_null().value_counts().to_pylist()}
    of_kept = values.filter(kept).value_counts().to_pylist()
    assert {word: n for word, n, _ in language.top} == expected
    assert {w: k for w, _, k in language.top if k} == {v["values"]: v["counts"] for v in of_kept}
    assert language.missing == values.null_count


def test_a_rule_tells_who_breaks_it_and_who_it_dropped_first(corpus, measured):
    limits = measured.limits()
    blur = limits["heuristics", "blur"]
    values = values_of(corpus, "image_pixels", "blur").to_numpy()
    assert blur.fails == (values < 400).sum()
    assert blur.dropped == corpus.manifest.stages[0].reasons["blur"]
    language = limits["heuristics", "language"]
    detected = values_of(corpus, "caption_text", "language")
    assert language.fails == sum(code not in ("en", None) for code in detected.to_pylist())
    assert set(limits) == {("heuristics", rule.reason) for rule in limits_of(corpus.manifest)}


def test_a_measure_that_is_the_same_everywhere_is_no_chart(measured):
    assert {h.column.name for h in measured.constant} >= {"frames", "orientation"}
    assert not {h.column.name for h in measured.constant} & {
        h.column.name for h in measured.numbers
    }


def test_nothing_measured_gives_nothing(tmp_path: Path):
    from curation.cli.main import main

    source = write_pairs(tmp_path / "source", 3)
    main(["ingest", str(source), "--out", str(tmp_path / "corpus"), "--workers", "0"])
    found = measures(open_corpus(str(tmp_path / "corpus")), [])
    assert (found.numbers, found.constant, found.words) == ([], [], [])


@given(
    st.lists(st.floats(-1e9, 1e9), max_size=60),
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=9, unique=True),
)
def test_every_value_is_counted_once(values, edges):
    edges = sorted(edges)
    array = np.array(values, np.float64)
    counts = count_values(array, edges)
    assert counts.sum() == len(values)
    assert counts[0] == sum(v < edges[0] for v in values)
    assert counts[-1] == sum(v > edges[-1] for v in values)
    for nth, (low, high) in enumerate(pairwise(edges), 1):
        last = nth == len(edges) - 1
        assert counts[nth] == sum(low <= v and (v <= high if last else v < high) for v in values)
