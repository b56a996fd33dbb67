"""Texts alone out of a file, and what is said of a file that has none."""

import json

import pytest

from curation.core.errors import UsageError
from curation.io.sources.texts import texts_of
from curation.io.store import Store

LINE = "un château à la forêt\n"


def read(tmp_path, name: str, data: bytes, column: str = "") -> list[str | None]:
    (tmp_path / name).write_bytes(data)
    return list(texts_of(Store(str(tmp_path)), name, column))


def rows(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json"])
def test_values_of_json_are_texts_or_hold_one(tmp_path, name):
    values = ["one", {"caption": "two"}, {"other": "three"}, 4, None, {"caption": 5}]
    data = json.dumps(values).encode() if name == "a.json" else rows(*values)
    assert read(tmp_path, name, data) == ["one", "two", None, None, None, None]


def test_every_other_file_has_a_text_a_line(tmp_path):
    data = b"\xef\xbb\xbfone\n\n  two \r\n" + b"caf\xe9\n" + "thé\n".encode()
    assert read(tmp_path, "a.txt", data) == ["one", "two", None, "thé"]
    assert read(tmp_path, "a.txt", b"") == []


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json"])
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "UTF-16, not UTF-8; convert it"),
        ("utf-16-le", r"not UTF-8 \(there are zero bytes in it\); convert it"),
        ("utf-32-be", r"not UTF-8 \(there are zero bytes in it\); convert it"),
    ],
)
def test_another_encoding_is_told(tmp_path, name, encoding, told):
    with pytest.raises(UsageError, match=rf"{name}: {told}"):
        read(tmp_path, name, (LINE * 20).encode(encoding))


def test_lines_of_which_none_can_be_read_are_told(tmp_path):
    with pytest.raises(UsageError, match=r"a.txt: none of its 20 lines is UTF-8; convert it"):
        read(tmp_path, "a.txt", (LINE * 20).encode("latin-1"))
    with pytest.raises(UsageError, match=r"a.jsonl: none of its 3 lines is UTF-8"):
        read(tmp_path, "a.jsonl", '{"text": "é"}\n'.encode("latin-1") * 3)
    with pytest.raises(UsageError, match=r"a.jsonl: none of its 3 lines is JSON"):
        read(tmp_path, "a.jsonl", b"a red car\n" * 3)


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        ({"words": "a red car", "id": 3, "note": "n"}, "", "no column text or caption or alt_text "
         "or alt; give --text-column one of: words, note"),
        ({"words": "a red car"}, "title", "no column title; give --text-column one of: words"),
        ({"text": 3, "words": "a"}, "", "column text holds no text; give --text-column one of: "
         "words"),
        ({"text": None, "id": 3}, "", "column text holds no text; no other column holds any"),
    ],
)  # fmt: skip
def test_objects_without_a_text_are_told_with_the_columns_that_have_one(
    tmp_path, row, column, told
):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "a.jsonl", rows(*[row] * 3), column)
    assert str(caught.value) == f"{tmp_path / 'a.jsonl'}: {told}"
