"""Parquet in and out: equal rows give equal bytes, and damage never passes for data."""

import contextlib
import hashlib
import itertools
import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.errors import CorpusError
from curation.io.store import Store
from curation.io.tables import ROW_GROUP, encode_table, read_footer, read_table, write_table
from schemas import MEMBER

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        ("text", pa.string()),
        ("score", pa.float32()),
        ("phash", pa.int64()),
        ("members", pa.list_(MEMBER)),
    ]
)
TEXT = st.none() | st.text(max_size=6)
MEMBERS = st.none() | st.lists(
    st.fixed_dictionaries(
        {"ext": TEXT, "offset": st.integers(0, 9), "size": st.none(), "sha256": TEXT}
    ),
    max_size=3,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "row": st.integers(-9, 9),
            "text": TEXT,
            "score": st.none() | st.floats(width=32, allow_nan=False),
            "phash": st.none() | st.integers(-(2**63), 2**63 - 1),
            "members": MEMBERS,
        }
    ),
    max_size=30,
)
FOOTER = {"b": "2", "a": "ü", "samples": "3"}


@settings(max_examples=60)
@given(ROWS, st.lists(st.integers(0, 30), max_size=4), st.integers(0, 3))
def test_bytes_do_not_depend_on_how_the_table_came_to_be(rows, cuts, extra):
    whole = pa.Table.from_pylist(rows, SCHEMA)
    expected = encode_table(whole, SCHEMA, FOOTER)
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [whole.slice(low, high - low) for low, high in itertools.pairwise(edges)]
    chunked = pa.concat_tables([whole.slice(0, 0), *parts])
    padded = pa.Table.from_pylist([{"row": 0}] * extra + rows, SCHEMA).slice(extra)
    shuffled = whole.select(SCHEMA.names[::-1]).append_column("other", pa.nulls(len(rows)))
    large = whole.set_column(1, "text", whole["text"].cast(pa.large_string()))
    for table in (chunked, padded, shuffled, large, whole.replace_schema_metadata({"x": "y"})):
        assert encode_table(table, SCHEMA, dict(reversed(FOOTER.items()))) == expected
    store = Store(f"memory://tables-{random.getrandbits(64)}")
    store.write("t", expected)
    assert read_table(store, "t").to_pylist() == rows
    assert read_table(store, "t", ["phash", "row"]).to_pylist() == [
        {"phash": row["phash"], "row": row["row"]} for row in rows
    ]


def table(rows: int = 300) -> pa.Table:
    rng = random.Random(3)
    return pa.Table.from_pylist(
        [
            {
                "row": n,
                "text": None if n % 7 == 0 else f"caption {rng.random()}",
                "score": rng.random(),
                "phash": rng.getrandbits(63),
                "members": [{"ext": "jpg", "offset": n, "size": n, "sha256": "ab" * 32}],
            }
            for n in range(rows)
        ],
        SCHEMA,
    )


def test_what_is_written_is_named_by_its_hash(tmp_path):
    store = Store(str(tmp_path))
    sha = write_table(store, "a/t.parquet", table(), SCHEMA, FOOTER)
    assert sha == hashlib.sha256(store.read("a/t.parquet")).hexdigest()
    assert read_table(store, "a/t.parquet").equals(table())
    assert read_footer(store, "a/t.parquet") == FOOTER


def test_a_file_explains_its_columns_and_has_rows_in_groups(tmp_path):
    store = Store(str(tmp_path))
    schema = pa.schema([pa.field("row", pa.int32(), metadata={"doc": "Position."})])
    rows = pa.table({"row": pa.array(range(ROW_GROUP + 1), pa.int32())})
    write_table(store, "t", rows, schema, {})
    metadata = pq.read_metadata(tmp_path / "t")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [
        ROW_GROUP,
        1,
    ]
    assert pq.read_schema(tmp_path / "t").field("row").metadata[b"doc"] == b"Position."
    assert read_footer(store, "t") == {}


def test_a_table_of_another_shape_is_refused(tmp_path):
    with pytest.raises(KeyError):
        encode_table(table().drop_columns("text"), SCHEMA, {})
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        encode_table(pa.table({"row": ["one"]}), pa.schema([("row", pa.int32())]), {})


def test_no_rows_are_a_table(tmp_path):
    store = Store(str(tmp_path))
    write_table(store, "t", SCHEMA.empty_table(), SCHEMA, FOOTER)
    assert read_table(store, "t").schema.equals(SCHEMA)
    assert read_footer(store, "t") == FOOTER


def test_not_a_number_and_infinity_survive(tmp_path):
    store = Store(str(tmp_path))
    values = pa.table({"x": pa.array([math.inf, -math.inf, math.nan, None], pa.float32())})
    write_table(store, "t", values, values.schema, {})
    back = read_table(store, "t")["x"].to_pylist()
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])
    assert back[3] is None


def test_a_missing_file_has_no_footer_and_cannot_be_read(tmp_path):
    store = Store(str(tmp_path))
    assert read_footer(store, "t") is None
    with pytest.raises(CorpusError, match="no such file"):
        read_table(store, "t")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"not parquet at all", bytes(1000)])
def test_what_is_no_parquet_is_one_fault(tmp_path, data):
    store = Store(str(tmp_path))
    store.write("t", data)
    assert read_footer(store, "t") is None
    with pytest.raises(CorpusError, match="t: damaged Parquet file"):
        read_table(store, "t")


def test_every_cut_is_found(tmp_path):
    store = Store(str(tmp_path))
    whole = encode_table(table(20), SCHEMA, FOOTER)
    for length in range(0, len(whole), 37):
        store.write("t", whole[:length])
        with pytest.raises(CorpusError):
            read_table(store, "t")


def data_pages(whole: bytes, path) -> list[tuple[int, int]]:
    """Byte ranges of the column chunks."""
    path.write_bytes(whole)
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
    return [
        (start, start + column.total_compressed_size)
        for start, column in zip(starts, columns, strict=True)
    ]


def test_a_flipped_byte_of_data_is_found_by_its_page_checksum(tmp_path):
    store = Store(str(tmp_path))
    whole = encode_table(table(), SCHEMA, FOOTER)
    rng = random.Random(5)
    found = 0
    for low, high in data_pages(whole, tmp_path / "t"):
        for _ in range(40):
            at = rng.randrange(low, high)
            damaged = bytearray(whole)
            damaged[at] ^= 1 << rng.randrange(8)
            store.write("t", bytes(damaged))
            try:
                same = read_table(store, "t").equals(table())
            except CorpusError:
                found += 1
            else:
                assert same, at
    assert found > 200


def test_a_flipped_byte_anywhere_raises_nothing_else(tmp_path):
    store = Store(str(tmp_path))
    whole = encode_table(table(10), SCHEMA, FOOTER)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        store.write("t", bytes(damaged))
        with contextlib.suppress(CorpusError):
            read_table(store, "t")
        footer = read_footer(store, "t")
        assert footer is None or isinstance(footer, dict)
