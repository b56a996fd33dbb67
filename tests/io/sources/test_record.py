"""Records: captions of any type, JSON that every later reader survives."""

import json
import math
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.io.sources.record import (
    MAX_NESTING,
    Record,
    describe,
    extension_of,
    first_present,
    parse_json,
    safe_json,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_becomes_json_that_parquet_takes(value):
    text = safe_json(value)
    assert pa.array([text]).to_pylist() == [text]
    json.loads(text, parse_constant=pytest.fail)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_plain_values_come_back_whatever_their_order(value):
    assert json.loads(safe_json(value)) == value
    assert safe_json(dict(reversed(value.items()))) == safe_json(value)


@given(VALUES)
def test_a_caption_of_any_type_is_text_or_a_fault(value):
    if isinstance(value, float) and not math.isfinite(value):
        return
    record = Record()
    try:
        record.set_text(value)
    except TypeError:
        assert "bytes" in repr(type(value)) or isinstance(value, list | dict)
        return
    assert (record.text is None) == (value is None or record.error == "invalid_utf8")
    if isinstance(value, str) and not record.error:
        assert record.text == value
    assert (record.raw_text is None) == (record.error is None)


def test_the_first_fault_stays():
    record = Record().fail("missing_file").fail("no_media")
    assert record.error == "missing_file"
    with pytest.raises(AssertionError):
        Record().fail("unheard_of")


def test_a_second_caption_keeps_the_first_beside_it():
    record = Record(text="one")
    record.replace_text("two")
    assert (record.text, record.source) == ("two", {"columns": {"json_text": "one"}})
    record = Record(text="one")
    record.replace_text(b"one")
    assert (record.text, record.source) == ("one", {})


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.JPG", "jpg"), ("a.b/c", ""), ("a\\b.Png", "png"), (".jpg", "jpg"), ("a.", ""), ("", "")],
)
def test_the_extension_of_a_name(name, extension):
    assert extension_of(name) == extension


def test_the_first_known_column_is_taken_and_one_asked_for_alone():
    present = dict.fromkeys(["alt", "text"])
    assert first_present("", ("text", "alt"), present) == "text"
    assert first_present("alt", ("text", "alt"), present) == "alt"
    assert first_present("title", ("text", "alt"), present) is None
    assert first_present("", ("title",), present) is None


def test_licence_and_url_are_words_and_the_rest_is_kept_without_nulls():
    record = Record()
    row = {"licence": 4, "url": {"x": 1}, "n": None, "m": 0, "text": "used", "license": None}
    describe(record, row, ("text",))
    assert (record.license, record.source_url) == (None, None)
    assert record.source["columns"] == {"licence": 4, "m": 0}


@pytest.mark.parametrize(
    "text", ['{"a": [1, "[[["]}', "[]", '"x"', "null", "[" * MAX_NESTING + "]" * MAX_NESTING,
             "[[]," * 5 + "[]" + "]" * 5, '["\\"[", "[[\\\\"]']
)  # fmt: skip
def test_json_within_the_limit_is_what_the_json_module_says(text):
    assert parse_json(text) == json.loads(text)
    assert parse_json(text.encode()) == parse_json(b"\xef\xbb\xbf" + text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1),
        '{"a":' * 101 + "1" + "}" * 101,
        "[" * 10**6,
    ],
)
def test_json_beyond_the_limit_is_refused(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["[" * 200 + '"' + '\\"' * 500_000, "[" * 200 + '"' * 10**6, '"' + "[" * 10**6]
)
def test_hostile_json_takes_no_time(text):
    start = time.monotonic()
    with pytest.raises(ValueError):
        parse_json(text)
    assert time.monotonic() - start < 5
