"""Fingerprints: canonical JSON, content names, and what does and does not change them."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.fingerprint import (
    canonical,
    content_uid,
    digest,
    file_sha256,
    library_versions,
    operator_fingerprint,
    plain,
)
from curation.core.operator import BatchFn, Operator

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FINITE = LEAVES.filter(lambda leaf: not isinstance(leaf, float) or abs(leaf) != float("inf"))
JSON = st.recursive(
    FINITE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SHAS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@dataclass(frozen=True, kw_only=True)
class Listed:
    name: str
    path: str = field(metadata={"hashed": False})
    bits: tuple[int, ...] = ()


def reversed_keys(value):
    """The same value, every dict filled in the opposite order."""
    if isinstance(value, dict):
        return {key: reversed_keys(item) for key, item in reversed(value.items())}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_canonical_json_says_the_value_and_ignores_the_order_of_dicts(value):
    assert json.loads(canonical(value)) == value
    assert canonical(reversed_keys(value)) == canonical(value)
    assert digest(reversed_keys(value)) == digest(value)


def test_canonical_json_is_pinned():
    value = {"b": (1, 2.5, None), "a": {"ü": True}, "c": Listed(name="x", path="/p", bits=(3,))}
    assert canonical(value) == '{"a":{"ü":true},"b":[1,2.5,null],"c":{"bits":[3],"name":"x"}}'
    assert digest(value) == hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def test_a_field_that_is_not_hashed_changes_nothing():
    here, there = Listed(name="x", path="/a"), Listed(name="x", path="/b")
    assert digest([here]) == digest([there])
    assert digest(replace(here, name="y")) != digest(here)
    assert plain(here) == {"name": "x", "bits": []}


@pytest.mark.parametrize(
    "value", [{1, 2}, {"a": {"x"}}, [object()], b"bytes", {1: "a"}, Listed, [Listed]]
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError):
        digest(value)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_numbers_that_json_lacks_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(value)


def test_a_file_name_that_is_not_utf8_has_a_fingerprint():
    assert digest({"path": "caf\udce9.jpg"}) != digest({"path": "cafe.jpg"})


@given(st.lists(SHAS, max_size=4), st.none() | st.binary(max_size=80))
def test_content_uid_is_told_by_media_and_text(media, text):
    uid = content_uid(media, text)
    assert uid == content_uid(iter(media), text)
    assert len(uid) == 32
    assert int(uid, 16) >= 0


@given(SHAS, SHAS, st.binary(max_size=80))
def test_content_uid_never_mistakes_one_part_for_another(first, second, text):
    raw = bytes.fromhex(second)
    names = {
        content_uid([first, second], text),
        content_uid([first], raw + text),
        content_uid([first], b"\x01" + raw + text),
        content_uid([first], raw + b"\x01" + text),
        content_uid([], bytes.fromhex(first) + raw + text),
        content_uid([first, second], None),
        content_uid([first, second], b"\x00" + text),
    }
    assert len(names) == 7
    assert (content_uid([first, second], b"") == content_uid([second, first], b"")) == (
        first == second
    )


def test_no_text_and_empty_text_are_two_contents():
    assert content_uid([], None) != content_uid([], b"")


def test_content_uid_is_pinned():
    sha = hashlib.sha256(b"image").hexdigest()
    assert (
        content_uid([sha], b"A tiger")
        == (
            hashlib.sha256(
                b"curation-uid-1" + (1).to_bytes(4, "big") + bytes.fromhex(sha) + b"\x01A tiger"
            ).hexdigest()[:32]
        )
    )


@dataclass(frozen=True, kw_only=True)
class Length(Operator):
    name: ClassVar[str] = "length"
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    unit: str = "bytes"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("length", pa.int32())])

    def open(self) -> BatchFn:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LengthLearnt(Length):
    weights: str = field(default="", metadata={"hashed": False})

    def identity(self) -> dict[str, str]:
        return {"weights": self.weights} if self.weights else {}


class LengthTwo(Length):
    version: ClassVar[int] = 2


class LengthAlone(Length):
    libraries: ClassVar[tuple[str, ...]] = ()


def test_an_operators_fingerprint_changes_with_all_that_decides_its_values():
    prints = [
        operator_fingerprint(Length(), {}),
        operator_fingerprint(Length(unit="words"), {}),
        operator_fingerprint(LengthTwo(), {}),
        operator_fingerprint(LengthAlone(), {}),
        operator_fingerprint(LengthLearnt(weights="a"), {}),
        operator_fingerprint(LengthLearnt(weights="b"), {}),
        operator_fingerprint(Length(), {"other": "abc"}),
        operator_fingerprint(Length(), {"other": "abd"}),
    ]
    assert len(set(prints)) == len(prints)
    assert operator_fingerprint(Length(unit="bytes"), {}) == prints[0]


def test_an_operator_without_an_identity_keeps_the_fingerprint_that_it_had_before_there_were_any():
    parts = {
        "operator": "length",
        "version": 1,
        "parameters": {"unit": "bytes"},
        "libraries": {"pyarrow": pa.__version__},
        "reads": {},
    }
    assert operator_fingerprint(Length(), {}) == digest(parts)
    assert operator_fingerprint(LengthLearnt(), {}) == digest(parts)


def test_a_files_hash_is_that_of_what_it_holds_now(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert file_sha256(str(path)) == hashlib.sha256(b"one").hexdigest()
    os.utime(path, ns=(5, 5))
    path.write_bytes(b"another")
    assert file_sha256(str(path)) == hashlib.sha256(b"another").hexdigest()
    with pytest.raises(OSError, match="No such file"):
        file_sha256(str(tmp_path / "missing"))


def test_a_file_is_hashed_once_while_it_stays_as_it_is(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, ns=(5, 5))
    first = file_sha256(str(path))
    path.write_bytes(b"two")  # as long, and with its old time: taken for the same
    os.utime(path, ns=(5, 5))
    assert file_sha256(str(path)) == first
    os.utime(path, ns=(6, 6))
    assert file_sha256(str(path)) == hashlib.sha256(b"two").hexdigest()


def test_library_versions_are_those_installed():
    assert library_versions(["pyarrow"]) == {"pyarrow": pa.__version__}
