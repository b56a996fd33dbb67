"""Names for content and for the way something was made.

A fingerprint is a hash of everything that decides bytes: names, versions, parameters, the
fingerprints of what was read. Never a clock, a path, a host or the order of a dict.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from curation.core.operator import Operator

HEX = 16
"""Characters of a fingerprint in a folder name: 64 bits, enough for the layers of one corpus."""


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces; dataclasses as their fields, tuples as lists.

    Fields with metadata `hashed=False` (where a file lies) are left out.
    """
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def plain(value: object) -> Any:
    """`value` as JSON types. Raises TypeError for what has no canonical form (sets, objects)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hashed = (f for f in dataclasses.fields(value) if f.metadata.get("hashed", True))
        return {f.name: plain(getattr(value, f.name)) for f in hashed}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("only words can be keys in a fingerprint: 1 and '1' would be one key")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a fingerprint")


def digest(value: object) -> str:
    """The first 64 bits of SHA-256 over the canonical JSON of `value`, as hex."""
    encoded = canonical(value).encode("utf-8", "surrogatepass")  # file names that are not UTF-8
    return hashlib.sha256(encoded).hexdigest()[:HEX]


def content_uid(media_sha256: Iterable[str], text: bytes | None) -> str:
    """128-bit name of a sample's content: its media hashes in order, then its text.

    Lengths are hashed with the parts, so that no two splits of the same bytes share a name.
    """
    media = list(media_sha256)
    state = hashlib.sha256(b"curation-uid-1")
    state.update(len(media).to_bytes(4, "big"))
    for sha in media:
        state.update(bytes.fromhex(sha))
    state.update(b"\x00" if text is None else b"\x01" + text)
    return state.hexdigest()[:32]


def library_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution."""
    return {name: importlib.metadata.version(name) for name in distributions}


def operator_fingerprint(operator: Operator, reads: Mapping[str, str]) -> str:
    """Fingerprint of an operator's layer; `reads` are the fingerprints of layers it requires."""
    parts: dict[str, object] = {
        "operator": operator.name,
        "version": operator.version,
        "parameters": operator,
        "libraries": library_versions(operator.libraries),
        "reads": reads,
    }
    identity = operator.identity()
    return digest({**parts, "identity": identity} if identity else parts)


def file_sha256(path: str) -> str:
    """SHA-256 of a file, read once a process for as long as its size and time stay the same.

    Raises OSError where it cannot be read.
    """
    stat = Path(path).stat()
    return _file_sha256(str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
