"""Schemas: every field explained, types that every engine reads, one shape of training sample."""

import inspect

import pyarrow as pa
import pytest
from datasets import Features

import schemas
from schemas import CHOICE, EXPORT_INDEX, EXPORT_SHARDS, INDEX, LEDGER, MEMBER, SAMPLE, SHARDS
from schemas import manifest as manifest_module
from schemas import sample as sample_module
from schemas.sample import FAMILIES, Meta, Sample, Segment, dataset_features

TABLES = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}


def nested(field: pa.Field) -> list[pa.Field]:
    """A field and all fields inside it."""
    inner = [field.type.field(n) for n in range(field.type.num_fields)]
    return [field, *(below for part in inner for below in nested(part))]


def test_the_tables_are_those_of_the_package():
    assert TABLES == {
        "INDEX": INDEX,
        "SHARDS": SHARDS,
        "LEDGER": LEDGER,
        "CHOICE": CHOICE,
        "EXPORT_INDEX": EXPORT_INDEX,
        "EXPORT_SHARDS": EXPORT_SHARDS,
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_field_says_what_it_means(name):
    named = [
        f for field in TABLES[name] for f in nested(field) if f.name not in ("item", "element")
    ]
    docs = [(f.name, (f.metadata or {}).get(b"doc", b"").decode()) for f in named]
    assert [name for name, doc in docs if len(doc) < 10 or not doc.endswith(".")] == []


@pytest.mark.parametrize("name", TABLES)
def test_no_type_that_spark_refuses(name):
    kinds = [f.type for field in TABLES[name] for f in nested(field)]
    assert not [k for k in kinds if pa.types.is_unsigned_integer(k) or pa.types.is_float16(k)]


def test_sample_tables_begin_with_the_sample():
    for table in (INDEX, LEDGER, EXPORT_INDEX):
        assert [(f.name, f.type) for f in table][:3] == [(f.name, f.type) for f in SAMPLE]
    assert [f.name for f in MEMBER] == ["ext", "offset", "size", "sha256"]


@pytest.mark.parametrize("module", [manifest_module, sample_module])
def test_every_class_says_what_it_means(module):
    classes = [c for c in vars(module).values() if getattr(c, "__module__", "") == module.__name__]
    assert [
        c.__name__ for c in classes if inspect.isclass(c) and not (c.__doc__ or "").endswith(".")
    ] == []


def test_dataset_features_are_the_keys_of_a_sample():
    features = dataset_features(["0.jpg", "0.png"])
    assert [f["name"] for f in features] == ["json", "0.jpg", "0.png", "__key__", "__url__"]
    family, segments, meta = features[0]["struct"]
    assert [f["name"] for f in (family, segments, meta)] == list(Sample.__annotations__)
    assert {f["name"] for f in segments["list"]} == set(Segment.__annotations__)
    assert [f["name"] for f in meta["struct"]] == list(Meta.__annotations__)


def test_dataset_features_have_the_types_of_a_sample():
    def word(kind: object) -> str:
        return {str: "string", int: "int32", bool: "bool"}.get(kind, str(kind))

    (segments,) = [f for f in dataset_features([])[0]["struct"] if f["name"] == "segments"]
    said = {f["name"]: f.get("dtype") or [f["list"]] for f in segments["list"]}
    promised = {name: word(kind) for name, kind in Segment.__annotations__.items()}
    promised |= {"type": "string", "box": ["int32"], "timestamps": ["float32"]}
    assert said == promised


def test_hugging_face_reads_the_features():
    features = Features._from_yaml_list(dataset_features(["0.jpg"]))
    assert list(features) == ["json", "0.jpg", "__key__", "__url__"]
    schema = features.arrow_schema
    assert pa.types.is_struct(schema.field("json").type)
    segment = schema.field("json").type.field("segments").type.value_type
    assert {f.name for f in segment} == set(Segment.__annotations__)


def test_the_families_are_six():
    assert len(set(FAMILIES)) == 6
    assert "image-text" in FAMILIES
