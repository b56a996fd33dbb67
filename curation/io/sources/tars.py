"""WebDataset tars, img2dataset's output included.

Planning walks headers only. Members are grouped as WebDataset does, by the name up to its first
dot; where that would put several images under one key (dotted file names), the whole tar is
grouped by the name up to its last dot instead, so that no sample swallows another.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from curation.io.sources.files import is_image
from curation.io.sources.folder import take_json
from curation.io.sources.record import (
    MAX_MEDIA_BYTES,
    MAX_TEXT_BYTES,
    TEXT_EXTENSIONS,
    Piece,
    Record,
    SourceOptions,
    ends,
    extension_of,
    parse_json,
)
from curation.io.store import Store, storage_error
from curation.io.tar import TarDamageError, TarMember, padding, walk

Split = Callable[[bytes], tuple[bytes, bytes]]


def first_dot(name: bytes) -> tuple[bytes, bytes]:
    """WebDataset's rule: key up to the first dot of the last path part, extension after it."""
    slash = name.rfind(b"/") + 1
    dot = name.find(b".", slash)
    return (name, b"") if dot < 0 else (name[:dot], name[dot + 1 :])


def last_dot(name: bytes) -> tuple[bytes, bytes]:
    """Key up to the last dot of the last path part."""
    slash = name.rfind(b"/") + 1
    dot = name.rfind(b".", slash)
    return (name, b"") if dot < 0 else (name[:dot], name[dot + 1 :])


SPLITS: dict[str, Split] = {"first": first_dot, "last": last_dot}


@dataclass(slots=True)
class _Group:
    """Consecutive members of one key, as headers."""

    key: bytes
    members: list[tuple[bytes, TarMember]] = field(default_factory=list)

    def takes(self, key: bytes, ext: bytes) -> bool:
        return key == self.key and all(ext != other for other, _ in self.members)

    @property
    def start(self) -> int:
        return self.members[0][1].offset

    @property
    def images(self) -> int:
        return sum(is_image("x." + ext.decode("latin-1")) for ext, _ in self.members)

    @property
    def bytes(self) -> int:
        return sum(member.size for _, member in self.members)


def _groups(members: Iterator[TarMember], split: Split) -> Iterator[_Group]:
    group: _Group | None = None
    for member in members:
        if member.folder:
            continue
        key, ext = split(member.name)
        if group is None or not group.takes(key, ext.lower()):
            if group is not None:
                yield group
            group = _Group(key)
        group.members.append((ext.lower(), member))
    if group is not None:
        yield group


@dataclass
class _Cutter:
    """Counts groups of one grouping and cuts them into pieces, remembering only sums."""

    options: SourceOptions
    rule: str
    split: Split
    pieces: list[dict[str, int]] = field(default_factory=list)
    merged: int = 0
    """Groups with more than one image: under the first-dot rule, a sign of dotted names."""
    _group: _Group | None = None

    def member(self, member: TarMember) -> None:
        key, ext = self.split(member.name)
        if self._group is None or not self._group.takes(key, ext.lower()):
            self.close()
            self._group = _Group(key)
        self._group.members.append((ext.lower(), member))

    def close(self) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        self.merged += group.images > 1
        last = self.pieces[-1] if self.pieces else None
        if (
            last is None
            or last["samples"] >= self.options.shard_samples
            or last["bytes"] + group.bytes > self.options.shard_bytes
        ):
            end = last["end"] if last else 0
            last = {"start": end + padding(end), "samples": 0, "bytes": 0}
            self.pieces.append(last)
        last["samples"] += 1
        last["bytes"] += group.bytes
        final = group.members[-1][1]
        last["end"] = final.offset + final.size


@dataclass
class TarSource:
    """Tars in sorted order, each making its own shards."""

    store: Store
    tars: list[str]
    options: SourceOptions
    scratch: Store
    _notes: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        return self._notes

    def listing(self) -> Iterator[tuple[str, int]]:
        for tar in self.tars:
            yield tar, self.store.size(tar)

    def plan(self) -> Iterator[Piece]:
        for number, tar in enumerate(self.tars):
            if ends(tar, (".gz", ".tgz")):
                unpacked = f"unpacked-{number:09d}.tar"
                self._unpack(tar, unpacked)
                yield from self._plan_one(tar, self.scratch, unpacked)
            else:
                yield from self._plan_one(tar, self.store, tar)

    def _unpack(self, tar: str, unpacked: str) -> None:
        """Sets a compressed archive aside as a plain one, so that any part of it can be read."""
        try:
            with (
                self.store.open(tar) as file,
                gzip.GzipFile(fileobj=file) as plain,
                self.scratch.writer(unpacked) as sink,
            ):
                while chunk := _some(plain):
                    sink.write(chunk)
        except OSError as error:
            raise storage_error(self.store.path(tar), error) from error

    def _plan_one(self, tar: str, store: Store, name: str) -> Iterator[Piece]:
        cutters = [_Cutter(self.options, rule, split) for rule, split in SPLITS.items()]
        corrupt = False
        with store.open(name) as file:
            try:
                for member in walk(file, store.size(name)):
                    if not member.folder:
                        for cutter in cutters:
                            cutter.member(member)
            except TarDamageError as fault:
                corrupt = not fault.truncated
                self._notes.append(f"{tar}: {fault}; the samples before it are read")
        for cutter in cutters:
            cutter.close()
        first, last = cutters
        chosen = last if last.merged < first.merged else first
        if chosen is last:
            self._notes.append(
                f"{tar}: dotted names put several images under {first.merged} keys; "
                "keys are taken up to the last dot instead"
            )
        for piece in chosen.pieces:
            where: dict[str, Any] = {"tar": tar, "start": piece["start"], "end": piece["end"]}
            where |= {"split": chosen.rule, "file": name, "set_aside": store is self.scratch}
            yield Piece(piece["samples"], piece["bytes"], where)
        if corrupt:
            yield Piece(1, 0, {"tar": tar, "damaged": True})

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        where = piece.where
        if where.get("damaged"):
            yield Record(source={"path": where["tar"]}).fail("corrupt_record")
            return
        store = self.scratch if where["set_aside"] else self.store
        with store.open(where["file"]) as file:
            members = _between(file, store.size(where["file"]), where["start"], where["end"])
            groups = _groups(members, SPLITS[where["split"]])
            for number, group in enumerate(groups):
                if wanted[number]:
                    yield self._record(file, where["tar"], group)

    def _record(self, file: IO[bytes], tar: str, group: _Group) -> Record:
        name = group.key.decode("utf-8", "replace")
        record = Record(source={"path": tar, "key": name})
        if _unsafe(group.key) or not all(member.regular for _, member in group.members):
            return record.fail("unsafe_path")
        unread = []
        texts: dict[str, bytes] = {}
        for raw_ext, member in group.members:
            ext = raw_ext.decode("latin-1")
            kind = extension_of("x." + ext)
            image = is_image("x." + ext)
            if member.size > (MAX_MEDIA_BYTES if image else MAX_TEXT_BYTES):
                record.fail("too_large")
            elif image:
                if record.media:
                    record.fail("many_media")
                record.media.append((kind, self._data(file, member, record)))
            elif kind in TEXT_EXTENSIONS or kind == "json":
                texts.setdefault(
                    "text" if kind != "json" else kind, self._data(file, member, record)
                )
            else:
                unread.append(ext)
        self._texts(record, texts)
        if unread:
            record.source["unread_members"] = unread
        if not record.media:
            record.fail("no_media")
        return record

    def _texts(self, record: Record, texts: dict[str, bytes]) -> None:
        if "json" in texts:
            try:
                take_json(record, parse_json(texts["json"]), self.options.text_column)
            except (ValueError, RecursionError):
                record.fail("corrupt_record")
        if "text" in texts:
            record.replace_text(texts["text"])

    @staticmethod
    def _data(file: IO[bytes], member: TarMember, record: Record) -> bytes:
        file.seek(member.offset)
        data = file.read(member.size)
        if len(data) < member.size:
            record.fail("truncated_record")
        return data


def _between(file: IO[bytes], size: int, start: int, end: int) -> Iterator[TarMember]:
    """Members of the piece from byte `start` to `end`; damage after them is the plan's to tell."""
    try:
        for member in walk(file, size, start):
            yield member
            if member.offset + member.size >= end:
                return
    except TarDamageError:
        return


def _some(plain: gzip.GzipFile) -> bytes:
    """The next chunk of a compressed archive; nothing more where it is cut or broken."""
    try:
        return plain.read(1 << 20)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""


def _unsafe(name: bytes) -> bool:
    return name.startswith(b"/") or b".." in name.split(b"/") or b"\x00" in name or b"\\" in name
