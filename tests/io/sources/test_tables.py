"""Tables of paths: columns chosen, rows that cannot be read, and rows never held together."""

import csv
import io
import json
from collections.abc import Generator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.errors import UsageError
from curation.io.sources import tables
from curation.io.sources.record import MAX_NESTING, MAX_TEXT_BYTES, Record
from tests.io.images import encoded, scene
from tests.io.sources.pairs import opened, read_all
from tests.memory import grown

IMAGE = encoded(scene((9, 9)), "PNG")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one image, `x.png`."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x.png").write_bytes(IMAGE)
    return tmp_path / "source"


def records(folder: Path, **options) -> list[Record]:
    _, source = opened(folder, folder.parent / "scratch", **options)
    return read_all(source)


def lines(folder: Path, *rows: object, name: str = "t.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("row", "image", "text"),
    [
        ({"path": "x.png", "alt": "t"}, "path", "alt"),
        ({"path": "no", "file_name": "x.png", "alt": "no", "alt_text": "t"},
         "file_name", "alt_text"),
        ({"file_name": "no", "image_path": "x.png", "alt_text": "no", "caption": "t"},
         "image_path", "caption"),
        ({"caption": "no", "text": "t", "image_path": "no", "image": "x.png"}, "image", "text"),
    ],
)  # fmt: skip
def test_columns_are_chosen_in_a_stated_order_and_the_choice_is_told(folder, row, image, text):
    _, source = opened(lines(folder, row), folder.parent / "s")
    (record,) = read_all(source)
    assert (record.text, record.media, record.error) == ("t", [("png", IMAGE)], None)
    assert source.notes() == [f"t.jsonl: images from column {image!r}, texts from {text!r}"]
    rest = {k: v for k, v in row.items() if k not in (image, text)}
    assert record.source.get("columns", {}) == rest


def test_columns_that_are_asked_for_are_taken(folder):
    row = {"image": "no", "photo": "x.png", "text": "no", "title": "t"}
    (record,) = records(lines(folder, row), image_column="photo", text_column="title")
    assert (record.text, record.error) == ("t", None)
    assert record.source["columns"] == {"image": "no", "text": "no"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "photo"}, "no column photo; name the one .*there are: picture, words"),
        ({}, "no column image or image_path or file_name or path; .*there are: picture, words"),
        ({"image_column": "picture", "text_column": "title"}, "no column title; .*picture, words"),
    ],
)
def test_a_column_that_is_not_there_is_one_line(folder, options, message):
    with pytest.raises(UsageError, match=message):
        records(lines(folder, {"picture": "x.png", "words": "t"}), **options)


def test_rows_of_json_may_each_lack_what_they_have_nothing_for(folder):
    rows = [{"id": 1}, {"image": "x.png"}, {"text": "two", "image": "x.png"}, {"text": "three"}]
    found = records(lines(folder, *rows))
    assert [(r.text, r.error) for r in found] == [
        (None, "no_media"),
        (None, None),
        ("two", None),
        ("three", "no_media"),
    ]
    assert found[0].source["columns"] == {"id": 1}


def test_a_table_without_texts_is_read_without_them(folder):
    rows = [{"image": "x.png", "id": n} for n in range(2500)]
    _, source = opened(lines(folder, *rows), folder.parent / "s")
    found = read_all(source)
    assert [r.source["columns"]["id"] for r in found] == list(range(2500))
    assert {r.text for r in found} == {None}
    assert source.notes() == ["t.jsonl: images from column 'image', texts from None"]


def test_several_tables_are_one_source_each_with_its_columns(folder):
    lines(folder, {"image": "x.png", "text": "b"}, name="b.jsonl")
    (folder / "a.csv").write_text("path,caption\nx.png,a1\nx.png,a2\n")
    (folder / "c.tsv").write_text("file_name\talt\nx.png\tc\n")
    _, source = opened(folder, folder.parent / "s", shard_samples=3)
    found = read_all(source)
    assert [(r.text, r.source["table"], r.source["row"]) for r in found] == [
        ("a1", "a.csv", 0),
        ("a2", "a.csv", 1),
        ("b", "b.jsonl", 0),
        ("c", "c.tsv", 0),
    ]
    assert [piece.samples for piece in source.plan()] == [3, 1]
    assert len(source.notes()) >= 3


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.tsv"])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_column(folder, name, quoted):
    if name == "t.jsonl":
        text = '{"image": "x.png", "text": "t"}\n'
    else:
        rows = [["image", "text"], ["x.png", "t"]]
        sink = io.StringIO()
        delimiter = "\t" if name == "t.tsv" else ","
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        csv.writer(sink, delimiter=delimiter, quoting=quoting).writerows(rows)
        text = sink.getvalue()
    (folder / name).write_text(text, encoding="utf-8-sig")
    assert [(r.text, r.error) for r in records(folder)] == [("t", None)]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8),
    st.sampled_from([",", "\t"]),
    st.booleans(),
)
def test_any_cells_come_back_as_the_csv_module_wrote_them(cells, delimiter, crlf):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\r\n" if crlf else "\n")
    writer.writerow(["text", "other", "image"])
    writer.writerows([text, other, f"{n}.png"] for n, (text, other) in enumerate(cells))
    reader = tables._csv if delimiter == "," else tables._tsv
    found = list(reader(io.BytesIO(sink.getvalue().encode())))
    assert found == [
        (n, {"text": text, "other": other, "image": f"{n}.png"}, None)
        for n, (text, other) in enumerate(cells)
    ]


def test_a_row_of_another_length_costs_only_itself(folder):
    text = "image,text\nx.png,one\nx.png\nx.png,two,three\n\nx.png,four\n"
    (folder / "t.csv").write_text(text)
    found = records(folder)
    assert [(r.text, r.error) for r in found] == [
        ("one", None),
        (None, "corrupt_record"),
        (None, "corrupt_record"),
        ("four", None),
    ]
    assert [r.source["row"] for r in found] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_line_of_many_megabytes_costs_only_itself(folder, name):
    big = "long, " * (MAX_TEXT_BYTES // 6 + 1000)
    with (folder / name).open("w") as file:
        if name == "t.csv":
            writer = csv.writer(file)
            writer.writerow(["image", "text"])
            writer.writerows([["x.png", "one"], ["x.png", big], ["x.png", "two"]])
        else:
            for text in ("one", big, "two"):
                file.write(json.dumps({"image": "x.png", "text": text}) + "\n")
    found = records(folder)
    assert [(r.text, r.error) for r in found] == [("one", None), (None, "too_large"), ("two", None)]


def test_a_field_of_a_megabyte_is_a_caption(folder):
    big = "word \n" * 200_000
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "text"], ["x.png", big]])
    assert [(r.text, r.error) for r in records(folder)] == [(big, None)]


def test_captions_that_are_not_utf8_cost_only_themselves(folder):
    (folder / "t.csv").write_bytes(b"image,text\nx.png,caf\xe9\nx.png,fine\n")
    first, second = records(folder)
    assert (first.text, first.raw_text, first.error) == (None, b"caf\xe9", "invalid_utf8")
    assert (second.text, second.error) == ("fine", None)


@pytest.mark.parametrize(
    "levels", [1, MAX_NESTING - 1, MAX_NESTING, 300, 900, 990, 1000, 5000, 100_000]
)
def test_nested_json_costs_only_its_row(folder, levels):
    nested = '{"image": "x.png", "text": "deep", "a": ' + "[" * levels + "]" * levels + "}"
    (folder / "t.jsonl").write_text('{"image": "x.png", "text": "one"}\n' + nested + "\n")
    one, deep = records(folder)
    assert (one.text, one.error) == ("one", None)
    if levels < MAX_NESTING:
        assert (deep.text, deep.error) == ("deep", None)
    else:
        assert deep.error == "corrupt_record"


def test_brackets_in_words_are_not_levels(folder):
    (found,) = records(lines(folder, {"image": "x.png", "text": '[{"\\' * 500, "a": [[]] * 500}))
    assert (found.text, found.error) == ('[{"\\' * 500, None)


def test_numbers_that_json_cannot_say_are_kept_as_words(folder):
    (folder / "t.jsonl").write_text('{"image": "x.png", "text": "t", "a": NaN, "b": [1e999]}\n')
    (found,) = records(folder)
    assert found.source["columns"] == {"a": "nan", "b": ["inf"]}


def test_parquet_columns_of_any_type_are_kept(folder):
    table = pa.table(
        {
            "image": ["x.png", None, ""],
            "text": [["a", "b"], None, []],
            "when": pa.array([0, None, 1], pa.timestamp("s")),
            "raw": [b"\xff", None, b""],
            "sizes": [{"w": 1}, {"w": None}, None],
            "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
        }
    )
    pq.write_table(table, folder / "t.parquet")
    found = records(folder, format="table")
    assert [(r.text, r.error) for r in found] == [
        ('["a", "b"]', None),
        (None, "no_media"),
        ("[]", "no_media"),
    ]
    assert found[0].source["columns"]["u"] == 2**64 - 1
    assert found[0].source["columns"]["sizes"] == {"w": 1}
    for record in found:
        json.dumps(record.source)


def test_a_damaged_parquet_table_is_one_quarantined_row(folder):
    rows = pa.table({"image": ["x.png"] * 5000, "text": [f"t{n}" for n in range(5000)]})
    pq.write_table(rows, folder / "t.parquet", row_group_size=1000, compression="none")
    data = bytearray((folder / "t.parquet").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    (folder / "t.parquet").write_bytes(bytes(data))
    found = records(folder, format="table")
    assert [r.error for r in found if r.error] in ([], ["corrupt_record"])
    (folder / "t.parquet").write_bytes(bytes(data[:5000]))
    assert [r.error for r in records(folder, format="table")] == ["corrupt_record"]


MANY = 120_000


def planned_and_read(folder: Path) -> Generator[None, None, None]:
    _, source = opened(folder / "t.jsonl", folder / "s", shard_samples=600)
    plan = source.plan()
    samples = next(plan).samples  # what it imports is not counted
    yield
    for piece in plan:
        samples += piece.samples
        for record in source.read(piece, [samples % 3000 == 0] * piece.samples):
            assert record.error == "missing_file"
    assert samples == MANY


def test_a_table_of_many_rows_is_planned_and_read_in_little_memory(tmp_path):
    with (tmp_path / "t.jsonl").open("w") as file:
        for n in range(MANY):
            file.write(f'{{"image": "gone/{n}.jpg", "text": "caption number {n} of many words"}}\n')
    assert grown(planned_and_read, tmp_path) < 40 << 20  # all rows together would be over 100 MB


def test_rows_are_taken_from_the_table_only_as_pieces_are(tmp_path):
    """Planning a piece reads its rows and one more, however long the table is."""
    taken = 0

    def endless(file):
        nonlocal taken
        while True:
            yield taken, {"image": "x.png", "text": "t"}, None
            taken += 1

    (tmp_path / "t.jsonl").write_text("")
    _, source = opened(tmp_path / "t.jsonl", tmp_path / "s", shard_samples=10)
    original, tables._jsonl = tables._jsonl, endless
    try:
        plan = source.plan()
        assert [next(plan).samples for _ in range(3)] == [10, 10, 10]
    finally:
        tables._jsonl = original
    assert taken == 30
