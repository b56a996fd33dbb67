"""The small pieces that everything stands on: errors, paths, appended columns, silence."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.corpus import (
    MAX_ROWS,
    Layer,
    StageLedger,
    index_path,
    sample_key,
    shard_name,
    tar_path,
)
from curation.core.errors import (
    ERROR_CODES,
    CorpusError,
    CurationError,
    LedgerError,
    RunError,
    StorageError,
    UsageError,
    check_code,
)
from curation.core.operator import ERROR, append
from curation.core.progress import SILENT


def test_the_error_tree_and_its_exit_codes():
    ours = [k for k in CurationError.__subclasses__() if k.__module__ == CurationError.__module__]
    tree = {kind: (kind.__bases__, kind("x").exit_code) for kind in ours}
    assert tree == {UsageError: ((CurationError,), 2), RunError: ((CurationError,), 1)}
    assert {*RunError.__subclasses__()} == {CorpusError, StorageError, LedgerError}
    assert {kind("x").exit_code for kind in RunError.__subclasses__()} == {1}


def test_error_codes_are_a_closed_list_of_words_with_a_meaning():
    assert all(code.isidentifier() and code.islower() for code in ERROR_CODES)
    assert all(meaning.strip() for meaning in ERROR_CODES.values())
    assert check_code("missing_file") == "missing_file"
    with pytest.raises(AssertionError):
        check_code("gone")


SHARDS, ROWS = st.integers(0, 10**9 - 1), st.integers(0, MAX_ROWS - 1)


@given(SHARDS, ROWS, SHARDS, ROWS)
def test_keys_are_unique_sort_as_their_numbers_and_have_no_dots(shard, row, shard_2, row_2):
    key, key_2 = sample_key(shard, row), sample_key(shard_2, row_2)
    assert len(key) == 15
    assert key.isdigit()
    assert (key < key_2) == ((shard, row) < (shard_2, row_2))
    assert (int(key[:9]), int(key[9:])) == (shard, row)
    assert (shard_name(shard) < shard_name(shard_2)) == (shard < shard_2)


def test_paths_are_those_of_the_corpus_on_disk():
    layer, ledger = Layer("image_probe", "abc"), StageLedger("final", "def")
    assert [tar_path(3), index_path(3), layer.path(3), ledger.path(3)] == [
        "shards/000000003.tar",
        "index/000000003.parquet",
        "layers/image_probe-abc/000000003.parquet",
        "ledgers/final-def/000000003.parquet",
    ]
    assert layer.done("0123456789abcdef" * 4) == (
        "layers/image_probe-abc/_done-0123456789abcdef.json"
    )
    assert ledger.done == "ledgers/final-def/_done.json"


def test_append_adds_columns_in_the_order_and_types_that_were_promised():
    batch = pa.record_batch({"text": ["a", None]})
    provides = pa.schema([("score", pa.float32()), ("hash", pa.int64())])
    columns = {"hash": pa.array([1, 2]), "score": [0.5, None], "error": [None, "corrupt_image"]}
    out = append(batch, provides, columns)
    assert out.schema == pa.schema([("text", pa.string()), *provides, ERROR])
    assert out.to_pylist() == [
        {"text": "a", "score": 0.5, "hash": 1, "error": None},
        {"text": None, "score": None, "hash": 2, "error": "corrupt_image"},
    ]
    del columns["error"]
    assert append(batch, provides, columns).schema.names == ["text", "score", "hash"]


def test_append_refuses_a_column_that_is_missing_too_short_or_of_another_type():
    batch = pa.record_batch({"text": ["a", None]})
    provides = pa.schema([("score", pa.float32())])
    with pytest.raises(KeyError):
        append(batch, provides, {})
    with pytest.raises(pa.ArrowInvalid):
        append(batch, provides, {"score": [1.0]})
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        append(batch, provides, {"score": ["high", "low"]})
    with pytest.raises(TypeError):
        append(batch, provides, {"score": pa.array([1, 2], pa.int64())})


def test_silence_takes_everything_and_shows_nothing(capsys):
    with SILENT.track("plan", None, "samples") as tracker:
        tracker.advance(3)
        SILENT.say("a line")
    assert capsys.readouterr() == ("", "")
