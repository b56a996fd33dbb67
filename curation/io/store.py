"""Bytes in and out of a folder or any fsspec URL; a file is seen whole or not at all.

Files are written under `.tmp/`, synced where they are local, then renamed. Object stores make a
file visible only when its last part is sent. Every other module reads and writes through a `Store`.
"""

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import fsspec

from curation.core.errors import CorpusError, StorageError, UsageError

TEMPORARY = ".tmp"
"""Folder of unfinished files; removed when a command ends well, rewritten when one resumes."""

_BUFFER = 1 << 20
"""Bytes gathered before a write: members of a tar are small."""

_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss"))
"""Protocols whose uploads are seen when they are committed, and that have no cheap rename."""

_REMEDY = {
    errno.ENOSPC: "the disk is full; free space and run the same command again, it continues",
    errno.EDQUOT: "the disk quota is used up; free space and run the same command again",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose a place you may write to",
    errno.EPERM: "not permitted; choose a place you may write to",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENOTDIR: "a parent of this path is a file, not a folder",
    errno.EEXIST: "a parent of this path is a file, not a folder",
    errno.EIO: "the device reports an input/output error",
}


def storage_error(path: str, error: OSError) -> StorageError:
    """One line for a user: which file, what is wrong, what to do."""
    remedy = _REMEDY.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"{path}: {remedy}")


@dataclass(frozen=True)
class Store:
    """A folder of files, by paths relative to it; small enough to send to a worker."""

    url: str

    @cached_property
    def _fs(self) -> Any:
        return fsspec.core.url_to_fs(self.url)[0]

    @cached_property
    def _root(self) -> str:
        return str(fsspec.core.url_to_fs(self.url)[1]).rstrip("/")

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    def __getstate__(self) -> dict[str, str]:
        """A worker elsewhere has another working folder, and no use for our sockets and locks."""
        return {"url": str(Path(self.url).absolute()) if "://" not in self.url else self.url}

    def path(self, name: str) -> str:
        """Full path of a file in this store."""
        return f"{self._root}/{name}" if name else self._root

    def local(self, name: str) -> Path:
        """Path object of a file of a local store."""
        assert self.is_local, self.url
        return Path(self.path(name))

    def exists(self, name: str) -> bool:
        if self.is_local:
            return self.local(name).exists()
        return bool(self._fs.exists(self.path(name)))

    def size(self, name: str) -> int:
        if self.is_local:
            found = self.local(name).stat()
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
                raise OSError(errno.EINVAL, "not a file, but a pipe, socket or device")
            return found.st_size
        return int(self._fs.size(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """A file to read. Raises CorpusError if it is not there, StorageError if it is refused."""
        try:
            if self.is_local:
                return self.local(name).open("rb")
            return self._fs.open(self.path(name), "rb")  # type: ignore[no-any-return]
        except FileNotFoundError as error:
            raise CorpusError(f"{self.path(name)}: no such file") from error
        except OSError as error:
            raise storage_error(self.path(name), error) from error

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def names(self, folder: str) -> list[str]:
        """Names directly in `folder`, sorted; for gc and verify, never to resume."""
        if self.is_local:
            path = self.local(folder)
            return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        if not self._fs.exists(self.path(folder)):
            return []
        entries = self._fs.ls(self.path(folder), detail=False, refresh=True)
        return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def remove(self, name: str) -> None:
        """Deletes a file or a whole folder; nothing happens if it is not there."""
        if self.is_local:
            path = self.local(name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        elif self._fs.exists(self.path(name)):
            self._fs.rm(self.path(name), recursive=True)

    def write(self, name: str, data: bytes) -> None:
        """Writes a whole small file, seen only when complete."""
        with self.writer(name) as file:
            file.write(data)

    def scratch(self, name: str, data: bytes) -> None:
        """Writes a file that a run killed now would make anew: it need not outlive a power cut."""
        if not self.is_local:
            self.write(name, data)
            return
        path = self.local(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise storage_error(str(path), error) from error

    @contextmanager
    def writer(self, name: str) -> Iterator[IO[bytes]]:
        """A file that appears under `name` when the block ends without an exception."""
        try:
            if self.is_local:
                with self._local_writer(name) as file:
                    yield file
            else:
                with self._remote_writer(name) as file:
                    yield file
        except OSError as error:
            raise storage_error(self.path(name), error) from error

    @contextmanager
    def _local_writer(self, name: str) -> Iterator[IO[bytes]]:
        final = self.local(name)
        aside = self.local(TEMPORARY) / uuid.uuid4().hex
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb", buffering=_BUFFER) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(final)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    @contextmanager
    def _remote_writer(self, name: str) -> Iterator[IO[bytes]]:
        self._fs.makedirs(self.path(name).rsplit("/", 1)[0], exist_ok=True)
        protocols = self._fs.protocol
        names = {protocols} if isinstance(protocols, str) else set(protocols)
        with (self._uploaded if names & _OBJECT_STORES else self._renamed)(name) as file:
            yield file

    @contextmanager
    def _uploaded(self, name: str) -> Iterator[IO[bytes]]:
        file = self._fs.open(self.path(name), "wb", autocommit=False)
        try:
            yield file
            file.close()
            file.commit()
        except BaseException:
            file.discard()
            raise

    @contextmanager
    def _renamed(self, name: str) -> Iterator[IO[bytes]]:
        aside = self.path(f"{TEMPORARY}/{uuid.uuid4().hex}")
        self._fs.makedirs(self.path(TEMPORARY), exist_ok=True)
        try:
            with self._fs.open(aside, "wb") as file:
                yield file
            self._fs.mv(aside, self.path(name))
        except BaseException:
            if self._fs.exists(aside):
                self._fs.rm(aside)
            raise

    def settle(self, folder: str) -> None:
        """Makes renames in `folder` survive a power cut; once a stage, not once a file."""
        if self.is_local and self.local(folder).is_dir():
            handle = os.open(self.path(folder), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def check_folder_of(path: str) -> None:
    """Raises UsageError where there is no folder for a local file that a user names."""
    folder = Path(path).parent
    if "://" not in path and not folder.exists():
        raise UsageError(f"{path}: the folder {folder} does not exist; make it, or name another")


def write_file(path: str, data: bytes) -> None:
    """Writes one file that a user names, seen only when complete. Raises StorageError."""
    folder, name = str(Path(path).parent), Path(path).name
    if "://" in path:
        folder, _, name = path.rpartition("/")
    store = Store(folder)
    store.write(name, data)
    if store.is_local:
        with contextlib.suppress(OSError):  # another command's unfinished files may lie there
            store.local(TEMPORARY).rmdir()
