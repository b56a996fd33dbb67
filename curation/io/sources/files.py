"""Files inside a source folder, and nothing outside it."""

import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from curation.core.errors import CorpusError, StorageError
from curation.io.sources.record import IMAGE_EXTENSIONS, MAX_MEDIA_BYTES, Record, extension_of
from curation.io.store import Store


class OutsideSourceError(ValueError):
    """A path that leads out of the source folder."""


def inside(store: Store, name: str) -> str:
    """`name` as a path in the store; an absolute path that lies in it is taken.

    Raises OutsideSourceError for every path that leads out: absolute, by `..`, or by a link.
    """
    if not name or "\x00" in name:
        raise OutsideSourceError(name)
    if "\\" in name and "/" not in name and not store.exists(name):  # written on Windows
        name = name.replace("\\", "/")
    plain = not name.startswith("/") and ".." not in name.split("/")
    if not store.is_local:
        if not plain or "://" in name:
            raise OutsideSourceError(name)
        return name
    root = _real(store.path(""))
    if plain:
        folder, _, last = name.rpartition("/")
        full = f"{_real(f'{root}/{folder}')}/{last}"
        if Path(full).is_symlink():
            full = os.path.realpath(full)
    else:
        full = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - absolute replaces root
    if not full.startswith(root.rstrip("/") + "/"):
        raise OutsideSourceError(name)
    return os.path.relpath(full, root)


@functools.lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def read_media(store: Store, name: str, record: Record) -> None:
    """Adds the file's bytes to `record`, or the reason why not."""
    if "://" in name:
        record.fail("remote_url")
        return
    try:
        path = inside(store, name)
        size = store.size(path)
        if size > MAX_MEDIA_BYTES:
            record.fail("too_large")
            return
        data = read_bytes(store, path)
    except OutsideSourceError:
        record.fail("outside_source")
    except FileNotFoundError:
        record.fail("missing_file")
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        record.fail("missing_file" if missing else "unreadable_file")
    except ValueError:  # what the operating system refuses as a name
        record.fail("missing_file")
    else:
        record.media.append((extension_of(name), data))


def read_bytes(store: Store, path: str) -> bytes:
    """A file of the source. Raises OSError: a file that is refused costs one record."""
    if store.is_local:
        return store.local(path).read_bytes()
    try:
        return store.read(path)
    except CorpusError as error:
        raise FileNotFoundError(errno.ENOENT, str(error)) from error
    except StorageError as error:
        raise OSError(errno.EIO, str(error)) from error


def size_of(store: Store, name: str) -> int:
    """Bytes of a file, 0 where it cannot be told: planning does not judge."""
    try:
        return store.size(inside(store, name))
    except (OSError, ValueError):
        return 0


def tree(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Every folder of the store with its file names, both sorted; links to folders not followed.

    Memory holds the names of one folder at a time.
    """
    if store.is_local:
        yield from _local_tree(store.local(""), "")
        return
    yield from _remote_tree(store, "")


def _remote_tree(store: Store, prefix: str) -> Iterator[tuple[str, list[str]]]:
    place = store.path(prefix).rstrip("/")
    kinds = {
        str(entry["name"]).rstrip("/").removeprefix(f"{place}/"): entry["type"]
        for entry in store._fs.ls(place, detail=True)
        if str(entry["name"]).rstrip("/") != place  # some stores list the folder itself
    }
    yield prefix, sorted(name for name, kind in kinds.items() if kind != "directory")
    for name in sorted(name for name, kind in kinds.items() if kind == "directory"):
        if not name.startswith("."):
            yield from _remote_tree(store, f"{prefix}{name}/")


def _local_tree(folder: Path, prefix: str) -> Iterator[tuple[str, list[str]]]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    yield prefix, sorted(files)
    for name in sorted(folders):
        if not name.startswith("."):
            yield from _local_tree(folder / name, f"{prefix}{name}/")


def is_image(name: str) -> bool:
    """Whether the name ends like an image's."""
    return extension_of(name) in IMAGE_EXTENSIONS
