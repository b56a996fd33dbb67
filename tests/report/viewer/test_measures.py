"""Columns as arrays: numbers that float32 cannot hold stay exact, and nothing is not a number."""

import numpy as np
import pyarrow as pa
import pytest

from curation.report.columns import Column
from curation.report.viewer.measures import OTHERS, _Numbers, _Words, unnamed_array


def column(name: str, *, words: bool = False) -> Column:
    return Column(name=name, operator="o", folder="f", words=words, integer=True)


def gathered(kind, *shards):
    parts = [pa.chunked_array([shard]) for shard in shards]
    size = sum(map(len, parts))
    made = kind(column("x", words=kind is _Words), lambda type_: unnamed_array(type_, (size,)))
    start = 0
    for part in parts:
        made.add(start, part)
        start += len(part)
    return made.made()


@pytest.mark.parametrize("large", [(1 << 24) + 1, (1 << 40) + 1])
def test_large_whole_numbers_stay_exact_though_they_come_late(large):
    made = gathered(_Numbers, pa.array([1, 2, None]), pa.array([large, -large]))
    assert made.values.dtype == np.float64
    assert made.values[3:].tolist() == [large, -large]
    assert made.values[:2].tolist() == [1, 2]
    assert made.missing.tolist() == [False, False, True, False, False]


def test_small_numbers_and_truths_take_four_bytes():
    assert gathered(_Numbers, pa.array([1, (1 << 24) - 1], pa.int64())).values.dtype == np.float32
    truths = gathered(_Numbers, pa.array([True, None, False]))
    assert truths.values.dtype == np.float32
    assert truths.values[[0, 2]].tolist() == [1, 0]


def test_a_nan_that_was_measured_is_not_missing():
    made = gathered(_Numbers, pa.array([float("nan"), None, 0.5], pa.float32()))
    assert np.isnan(made.values).tolist() == [True, True, False]
    assert made.missing.tolist() == [False, True, False]


def test_words_are_counted_across_shards_and_nothing_is_no_word():
    made = gathered(_Words, pa.array(["en", None, "de"]), pa.array(["de", "en", "fr"]))
    assert made.among(["de", "xx"]).tolist() == [False, False, True, True, False, False]
    assert made.missing().tolist() == [False, True, False, False, False, False]
    assert OTHERS not in made.words
