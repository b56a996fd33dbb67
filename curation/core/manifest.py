"""Reading and writing manifests."""

import dataclasses
import hashlib
import json
import types
import typing
from typing import Any

import pyarrow as pa

from curation.core.corpus import FORMAT_VERSION
from curation.core.errors import CorpusError
from curation.core.fingerprint import plain
from schemas.manifest import CorpusManifest, ExportManifest, Manifest, StageSummary


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest file: JSON with sorted keys."""
    text = json.dumps(plain(manifest), sort_keys=True, indent=1, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "backslashreplace")  # file names that are not UTF-8


def decode_manifest(data: bytes, path: str) -> Manifest:
    """A manifest. Raises CorpusError for a damaged one, or one of a newer format."""
    try:
        loaded = json.loads(data)
        version = loaded["format_version"]
        kind = {"corpus": CorpusManifest, "export": ExportManifest}[loaded["kind"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(f"{path}: not a manifest of a corpus or export") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CorpusError(
            f"{path}: written in format {version}, this version reads up to {FORMAT_VERSION}; "
            "upgrade curation"
        )
    try:
        made: Manifest = _build(kind, loaded)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{path}: damaged manifest ({error})") from error
    return made


def decode_summary(data: bytes, path: str) -> StageSummary:
    """A stage's summary as it stands beside its ledger. Raises CorpusError for a damaged one."""
    try:
        made: StageSummary = _build(StageSummary, json.loads(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{path}: damaged; delete the file and run again ({error})") from error
    return made


def manifest_sha256(manifest: Manifest) -> str:
    """What names the corpus: the hash of its manifest file."""
    return hashlib.sha256(encode_manifest(manifest)).hexdigest()


def schema_hash(schema: pa.Schema) -> str:
    """Hash of names and types, as a reader sees them."""
    text = "\n".join(f"{f.name}:{f.type}:{f.nullable}" for f in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build(kind: Any, value: Any) -> Any:
    """`value` (from JSON) as the annotated type `kind`; unknown keys are errors."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{key: _build(hints[key], item) for key, item in value.items()})
    if origin in (list, dict) and not isinstance(value, origin):
        raise TypeError(f"expected {origin.__name__}, got {value!r}")
    if origin is list:
        (inner,) = typing.get_args(kind)
        return [_build(inner, item) for item in value]
    if origin is dict:
        _, inner = typing.get_args(kind)
        return {key: _build(inner, item) for key, item in value.items()}
    if origin is types.UnionType:
        if value is None:
            return None
        return _build(next(k for k in typing.get_args(kind) if k is not type(None)), value)
    if kind in (int, str) and not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
