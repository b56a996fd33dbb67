"""source_columns: what a source said of a sample beside its caption, as texts."""

import json

import pyarrow as pa
import pytest

from curation.operators.text.source_columns import SourceColumns


def measured(columns: tuple[str, ...], *sources: dict | None) -> dict[str, list[str | None]]:
    told = [None if source is None else json.dumps({"columns": source}) for source in sources]
    batch = pa.record_batch({"source": pa.array(told, pa.string())})
    out = SourceColumns(columns=columns).open()(batch)
    return out.drop_columns(["source"]).to_pydict()


def test_texts_come_as_they_are_and_other_values_as_json():
    rows = [
        {"alt": "A  harbour\n", "n": 3},
        {"alt": " \t", "n": {"b": [1, None], "a": "é"}},
        {"alt": ["EXIT", " ", "Gate 4"], "n": False},
        {"alt": [], "n": [1, "a"]},
        {"alt": None},
        {},
        None,
    ]
    assert measured(("n", "alt"), *rows) == {
        "source_n": ["3", '{"a": "é", "b": [1, null]}', "false", '[1, "a"]', None, None, None],
        "source_alt": ["A  harbour\n", None, "EXIT\nGate 4", None, None, None, None],
    }


def test_names_become_columns_that_every_engine_takes():
    operator = SourceColumns(columns=("alt text", "OCR-words", "標題"))
    assert operator.provides.names == ["source_alt_text", "source_OCR_words", "source___"]
    assert all(field.type == pa.string() for field in operator.provides)
    assert SourceColumns().provides.names == []


@pytest.mark.parametrize("columns", [("alt", "alt"), ("alt text", "alt_text"), ("Alt", "alt")])
def test_two_of_the_same_name_are_refused(columns):
    with pytest.raises(ValueError, match=r"alt.* would both be source_"):
        SourceColumns(columns=columns)
