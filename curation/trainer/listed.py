"""A checkpoint's list of contents, read and checked before torch reads what it lists.

    000000120/.metadata      the list: a pickle that names tensors, and where their bytes lie
    000000120/__0_0.distcp   bytes of the first process, and so on

torch unpickles whatever the list names and tells of a damaged one by tracebacks. Here only the
classes that a list is made of are made, and every stretch of bytes must be there.
"""

import pickle
from pathlib import Path
from typing import Any, Final

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata

_LIST: Final = ".metadata"
_MOST_BYTES: Final = 1 << 30
"""Of a list; that of GLM-4.5V-106B on 1,000 processes has about a hundredth of it."""

_NAMES: Final = frozenset(
    (
        ("pathlib", "Path"),
        ("pathlib", "PosixPath"),
        ("pathlib", "PurePosixPath"),
        ("torch", "Size"),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch.distributed.checkpoint.metadata", "BytesStorageMetadata"),
        ("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"),
        ("torch.distributed.checkpoint.metadata", "Metadata"),
        ("torch.distributed.checkpoint.metadata", "MetadataIndex"),
        ("torch.distributed.checkpoint.metadata", "StorageMeta"),
        ("torch.distributed.checkpoint.metadata", "TensorProperties"),
        ("torch.distributed.checkpoint.metadata", "TensorStorageMetadata"),
        ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"),
        ("torch.serialization", "_get_layout"),
    )
)


class ListError(Exception):
    """A checkpoint that cannot be read: one line says why."""


class ListedReader(FileSystemReader):
    """Reads a checkpoint by a list that was checked. Raises ListError where it is damaged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._listed = _listed(folder)

    def read_metadata(self, *_: Any, **kwargs: Any) -> Metadata:
        """The list, the same for every process."""
        return self._listed


def _listed(folder: Path) -> Metadata:
    path = folder / _LIST
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ListError(f"its {_LIST} is too long")
        with path.open("rb") as file:
            listed = _Unpickler(file).load()
    except OSError as error:
        raise ListError(f"its {_LIST} cannot be read: {error.strerror}") from error
    except ListError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise ListError(f"its {_LIST} is cut short or broken") from error
    if not isinstance(listed, Metadata) or not isinstance(listed.storage_data, dict):
        raise ListError(f"its {_LIST} lists nothing")
    _check_stretches(folder, listed.storage_data)
    return listed


def _check_stretches(folder: Path, stretches: dict[Any, Any]) -> None:
    """Raises ListError where a file is missing, too short, or not one of the folder."""
    ends: dict[str, int] = {}
    for stretch in stretches.values():
        try:
            name, end = str(stretch.relative_path), int(stretch.offset) + int(stretch.length)
        except (AttributeError, TypeError, ValueError) as error:
            raise ListError(f"its {_LIST} is broken") from error
        if name != Path(name).name or name in ("", ".", ".."):
            raise ListError(f"its {_LIST} names {name!r}, a file elsewhere")
        ends[name] = max(end, ends.get(name, 0))
    for name, end in sorted(ends.items()):
        path = folder / name
        if not path.is_file():
            raise ListError(f"{name} is missing")
        if path.stat().st_size < end:
            raise ListError(f"{name} is cut short: {path.stat().st_size:,} of {end:,} bytes")


class _Unpickler(pickle.Unpickler):
    """Makes what a list is made of, and nothing else: a pickle may name any function to call."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and (module, name) not in _NAMES:
            raise ListError(f"its {_LIST} names {module}.{name}, which no checkpoint holds")
        return super().find_class(module, name)
