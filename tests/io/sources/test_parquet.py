"""Parquet and Arrow with image bytes: which column, which rows, and damaged files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.core.errors import UsageError
from curation.io.sources.parquet import bytes_column
from tests.io.images import encoded, scene
from tests.io.sources.pairs import opened, read_all

IMAGE = encoded(scene((9, 9)), "PNG")
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, table: pa.Table, group: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group, compression="none")
    return path


@pytest.mark.parametrize(
    ("fields", "wanted", "expected"),
    [
        ([("image", pa.binary())], "", "image"),
        ([("image", pa.large_binary())], "", "image"),
        ([("image", pa.binary_view())], "", "image"),
        ([("image", STRUCT)], "", "image"),
        ([("image", pa.string())], "", None),
        ([("image", pa.struct([("bytes", pa.string())]))], "", None),
        ([("image", pa.string()), ("jpg", pa.binary())], "", "jpg"),
        ([("image", pa.binary()), ("photo", pa.binary())], "photo", "photo"),
        ([("image", pa.binary())], "photo", None),
        ([("photo", pa.binary())], "", None),
    ],
)
def test_the_column_of_image_bytes(fields, wanted, expected):
    assert bytes_column(pa.schema(fields), wanted) == expected


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), STRUCT])
@pytest.mark.parametrize("name", ["d.parquet", "d.arrow"])
def test_every_type_of_bytes_is_read(tmp_path, kind, name):
    value = {"bytes": IMAGE, "path": "a/x.PNG"} if kind == STRUCT else IMAGE
    table = pa.table({"image": pa.array([value, None], kind), "text": ["t", "u"]})
    path = tmp_path / "d" / name
    path.parent.mkdir()
    if name == "d.parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    told, source = opened(path.parent, tmp_path / "s")
    first, second = read_all(source)
    assert told == "parquet"
    assert first.media == [("png" if kind == STRUCT else "", IMAGE)]
    assert (first.text, second.text, second.error) == ("t", "u", "no_media")


def test_a_path_without_bytes_is_read_from_beside(tmp_path):
    rows = [{"bytes": None, "path": "x.png"}, {"bytes": None, "path": "../x.png"},
            {"bytes": None, "path": "gone.png"}, {"bytes": None, "path": None},
            {"bytes": b"", "path": None}]  # fmt: skip
    write(tmp_path / "d" / "d.parquet", pa.table({"image": pa.array(rows, STRUCT)}))
    (tmp_path / "d" / "x.png").write_bytes(IMAGE)
    found = read_all(opened(tmp_path / "d", tmp_path / "s")[1])
    assert [r.error for r in found] == [None, "outside_source", "missing_file", "no_media", None]
    assert found[0].media == [("png", IMAGE)]


def test_the_choice_is_told_and_the_rest_is_kept(tmp_path):
    table = pa.table({"jpg": [IMAGE], "alt_text": ["t"], "n": [1], "rights": ["CC0"]})
    write(tmp_path / "d" / "a.parquet", table)
    _, source = opened(tmp_path / "d", tmp_path / "s")
    (record,) = read_all(source)
    assert source.notes() == ["a.parquet: images from column 'jpg', texts from 'alt_text'"]
    assert (record.license, record.source) == (
        "CC0",
        {"path": "a.parquet", "row": 0, "columns": {"n": 1}},
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "photo"}, "no such column of image bytes; .*--image-column .*jpg, alt"),
        ({"text_column": "title"}, "no such column of texts; .*--text-column .*jpg, alt"),
    ],
)
def test_a_column_that_is_not_there_is_one_line(tmp_path, options, message):
    write(tmp_path / "d" / "a.parquet", pa.table({"jpg": [IMAGE], "alt": ["t"]}))
    with pytest.raises(UsageError, match=message):
        read_all(opened(tmp_path / "d", tmp_path / "s", **options)[1])


@pytest.mark.parametrize("group", [1, 7, 64, 1000])
@pytest.mark.parametrize("samples", [1, 9, 64, 150, 1000])
def test_rows_are_the_same_however_groups_and_pieces_fall(tmp_path, group, samples):
    table = pa.table(
        {"image": [b"%d" % n for n in range(150)], "text": [str(n) for n in range(150)]}
    )
    write(tmp_path / "d" / "a.parquet", table, group)
    _, source = opened(tmp_path / "d", tmp_path / "s", shard_samples=samples)
    found = read_all(source)
    assert [r.media[0][1] for r in found] == [b"%d" % n for n in range(150)]
    assert [(r.text, r.source["row"]) for r in found] == [(str(n), n) for n in range(150)]


@pytest.mark.parametrize("name", ["b.parquet", "b.arrow"])
def test_a_damaged_file_costs_one_sample_and_its_neighbours_nothing(tmp_path, name):
    good = pa.table({"image": [IMAGE], "text": ["t"]})
    for other in ("a.parquet", "c.parquet"):
        write(tmp_path / "d" / other, good)
    (tmp_path / "d" / name).write_bytes(b"PAR1 and no more")
    _, source = opened(tmp_path / "d", tmp_path / "s")
    found = read_all(source)
    assert [r.error for r in found] == [None, "corrupt_record", None]
    assert found[1].source == {"path": name}
    assert any(f"{name}: damaged file" in note for note in source.notes())


def test_damage_inside_a_file_costs_the_rows_it_hides(tmp_path):
    count = 400
    table = pa.table({"image": [b"%04d" % n * 50 for n in range(count)], "text": ["t"] * count})
    path = write(tmp_path / "d" / "a.parquet", table, 100)
    data = bytearray(path.read_bytes())
    at = data.index(b"0250" * 50)
    data[at - 4 : at + 400] = b"\xff" * 404
    path.write_bytes(bytes(data))
    found = read_all(opened(tmp_path / "d", tmp_path / "s")[1])
    assert len(found) == count
    assert [r.error for r in found[:200]] == [None] * 200
    assert [r.media[0][1] for r in found[:200]] == [b"%04d" % n * 50 for n in range(200)]
    assert [r.media[0][1] for r in found[300:]] == [b"%04d" % n * 50 for n in range(300, 400)]
    hidden = [n for n, r in enumerate(found) if r.error]
    assert hidden == list(range(hidden[0], 300))
    assert {found[n].error for n in hidden} == {"corrupt_record"}
    assert found[hidden[0]].source == {"path": "a.parquet", "row": hidden[0]}


def not_utf8(values: list[bytes]) -> pa.Array:
    """A string column with these bytes."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


@pytest.mark.parametrize("images", [True, False])
def test_words_that_are_not_utf8_cost_only_their_row(tmp_path, images):
    count = 150
    texts, notes = [b"t%d" % n for n in range(count)], [b"n"] * count
    texts[70], notes[80] = b"caf\xe9", b"caf\xe9"
    nested = pa.ListArray.from_arrays(
        list(range(count + 1)), not_utf8([b"x" if n != 90 else b"\xff" for n in range(count)])
    )
    table = pa.table(
        {
            "image": [IMAGE if images else "x.png"] * count,
            "text": not_utf8(texts),
            "note": not_utf8(notes),
            "nested": nested,
        }
    )
    write(tmp_path / "d" / "a.parquet", table, 1000)
    (tmp_path / "d" / "x.png").write_bytes(IMAGE)
    told, source = opened(tmp_path / "d", tmp_path / "s")
    found = read_all(source)
    assert told == ("parquet" if images else "table")
    errors = {n: r.error for n, r in enumerate(found) if r.error}
    assert errors == {70: "invalid_utf8", 90: "corrupt_record"}
    assert found[70].raw_text == b"caf\xe9"
    assert [r.text for n, r in enumerate(found) if n not in (70, 90)] == [
        f"t{n}" for n in range(count) if n not in (70, 90)
    ]


def test_an_empty_file_has_no_pieces(tmp_path):
    write(tmp_path / "d" / "a.parquet", pa.table({"image": pa.array([], pa.binary())}))
    _, source = opened(tmp_path / "d", tmp_path / "s")
    assert list(source.plan()) == []
