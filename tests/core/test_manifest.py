"""Manifests: what is written comes back, and what cannot be read is one line."""

import dataclasses
import json
import types
import typing

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.corpus import FORMAT_VERSION
from curation.core.errors import CorpusError
from curation.core.manifest import (
    decode_manifest,
    encode_manifest,
    manifest_sha256,
    schema_hash,
)
from schemas.manifest import CorpusManifest, ExportManifest

WORDS = st.text(max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
REALS = st.floats(allow_nan=False, allow_infinity=False)
SIMPLE = {
    int: NUMBERS,
    str: WORDS,
    float: REALS,
    bool: st.booleans(),
    typing.Any: st.none() | NUMBERS | WORDS | st.lists(NUMBERS),
}


def values(kind) -> st.SearchStrategy:
    """Values of an annotated type of the manifest."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        parts = {f.name: values(hints[f.name]) for f in dataclasses.fields(kind)}
        parts["format_version" if "format_version" in parts else "_"] = st.just(FORMAT_VERSION)
        parts.pop("_", None)
        return st.builds(kind, **parts)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.just(inner[0])
    if origin is list:
        return st.lists(values(inner[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(WORDS, values(inner[1]), max_size=2)
    assert origin is types.UnionType, kind
    return st.none() | values(inner[0])


MANIFESTS = values(CorpusManifest) | values(ExportManifest)


@settings(max_examples=60)
@given(MANIFESTS)
def test_every_manifest_comes_back_as_it_was(manifest):
    data = encode_manifest(manifest)
    assert decode_manifest(data, "m.json") == manifest
    assert encode_manifest(decode_manifest(data, "m.json")) == data


def small() -> CorpusManifest:
    return CorpusManifest(
        format_version=FORMAT_VERSION,
        code_version="0",
        family="image-text",
        recipe={"b": 1, "a": {"d": None, "c": 0.5}},
        seed=3,
        inputs=[],
        schemas={},
        tables={},
        totals={"ingested": 1, "kept": 1, "dropped": 0, "quarantined": 0},  # type: ignore[arg-type]
    )


def test_the_order_in_which_a_recipe_was_filled_changes_nothing():
    other = dataclasses.replace(small(), recipe={"a": {"c": 0.5, "d": None}, "b": 1})
    assert encode_manifest(other) == encode_manifest(small())
    assert manifest_sha256(other) == manifest_sha256(small())
    changed = dataclasses.replace(small(), seed=4)
    assert manifest_sha256(changed) != manifest_sha256(small())


def test_a_file_name_that_is_not_utf8_survives():
    manifest = dataclasses.replace(small(), warnings=["caf\udce9.tar: cut short"])
    data = encode_manifest(manifest)
    data.decode("utf-8")
    assert decode_manifest(data, "m.json").warnings == manifest.warnings


def edited(**changes) -> bytes:
    loaded = json.loads(encode_manifest(small())) | changes
    return json.dumps({k: v for k, v in loaded.items() if v is not ...}, default=str).encode()


def test_a_newer_format_is_refused_in_one_line():
    with pytest.raises(CorpusError) as caught:
        decode_manifest(edited(format_version=FORMAT_VERSION + 1), "/c/manifest.json")
    assert str(caught.value) == (
        f"/c/manifest.json: written in format {FORMAT_VERSION + 1}, "
        f"this version reads up to {FORMAT_VERSION}; upgrade curation"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        edited(kind="something"),
        edited(kind=[]),
        edited(format_version=...),
        edited(format_version="1"),
        edited(format_version=None),
        edited(surprise=1),
        edited(totals={"ingested": 1}),
        edited(totals=None),
        edited(totals=[1, 1, 0, 0]),
        edited(seed="3"),
        edited(seed=None),
        edited(family=["image-text"]),
        edited(inputs={"format": "tar"}),
        edited(inputs=[None]),
        edited(warnings="all of them"),
        edited(licenses={"CC0": 3}),
        edited(licenses=[]),
        edited(recipe=...),
        edited(tables={"shards": {"path": "p", "sha256": "s", "rows": "3"}}),
    ],
)
def test_a_damaged_manifest_is_one_line(data):
    with pytest.raises(CorpusError, match=r"^/c/manifest\.json: ") as caught:
        decode_manifest(data, "/c/manifest.json")
    assert "\n" not in str(caught.value)


@settings(max_examples=200)
@given(st.data())
def test_a_flipped_byte_never_raises_anything_else(data):
    whole = bytearray(encode_manifest(small()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_manifest(bytes(whole), "m.json")
    except CorpusError as fault:
        assert str(fault).startswith("m.json: ")


def test_a_schema_hash_names_names_types_and_nulls():
    fields = [("a", pa.int32()), ("b", pa.string())]
    base = schema_hash(pa.schema(fields))
    assert schema_hash(pa.schema([pa.field(*f, metadata={"doc": "x"}) for f in fields])) == base
    others = [
        pa.schema(fields[::-1]),
        pa.schema([("a", pa.int64()), fields[1]]),
        pa.schema([("c", pa.int32()), fields[1]]),
        pa.schema([pa.field("a", pa.int32(), nullable=False), fields[1]]),
    ]
    assert len({base, *map(schema_hash, others)}) == 5
