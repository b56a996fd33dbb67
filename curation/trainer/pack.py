"""Builds one pack from a plan's rows: bytes from tars, tokens, labels, decoded patches.

A sample that cannot be read keeps its planned place: its tokens stay where they are known, its
pixels are zero, nothing of it is learnt, and it is reported.
"""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from curation.io.image_decode import DecodeError
from curation.io.store import Store, storage_error
from curation.io.tar import TarDamageError, walk
from curation.models.glm4v.batch import IGNORED
from curation.models.glm4v.positions import rope_positions
from curation.models.glm4v.processor import LaidSample, Medium, Processor
from curation.models.glm4v.vision_input import patches
from curation.trainer.media import decode_image, decode_video
from curation.trainer.plan import PlannedCorpus

_OPEN_FILES = 64
_READERS = 16
"""Requests to an object store at one time."""


class Slot(NamedTuple):
    """A sample's place in a pack, as planned."""

    corpus: int
    shard: int
    row: int
    first: int
    """First segment of this part."""
    stop: int
    """One past its last."""
    tokens: int
    offset: int
    """Of its first tar header."""
    size: int


@dataclass(frozen=True)
class Failure:
    """A sample that could not be read."""

    sample: str
    """`<corpus>/<key>`, or `<corpus>/<shard>-<row>` where the key cannot be read."""
    error: str
    """One of the record error codes."""

    def __str__(self) -> str:
        return f"{self.sample} ({self.error})"


@dataclass
class Built:
    """A pack as arrays, named as the fields of PackedBatch."""

    arrays: dict[str, npt.NDArray[Any]]
    families: list[str]
    ids: list[str]
    failures: list[Failure] = field(default_factory=list)


@dataclass
class _Read:
    """One sample of a pack."""

    name: str
    laid: LaidSample
    pixels: list[npt.NDArray[np.float32]]
    error: str | None = None


class PackBuilder:
    """Builds packs of one plan; keeps some tars open."""

    def __init__(
        self, corpora: Sequence[PlannedCorpus], processor: Processor, seq_len: int
    ) -> None:
        self._corpora, self._processor, self._seq_len = corpora, processor, seq_len
        self._stores = [Store(corpus.url) for corpus in corpora]
        self._files: dict[tuple[int, int], IO[bytes]] = {}
        self._readers: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Closes files and ends readers."""
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._readers is not None:
            self._readers.shutdown()
            self._readers = None

    def build(self, slots: Sequence[Slot]) -> Built:
        """The pack of these slots. Raises CorpusError or StorageError where a tar is not there."""
        reads = [
            self._sample(slot, data) for slot, data in zip(slots, self._fetch(slots), strict=True)
        ]
        lengths = [len(read.laid.ids) for read in reads]
        tokens = [read.laid.ids for read in reads]
        labels = [_labels(read) for read in reads]
        families = [self._corpora[slot.corpus].family for slot in slots]
        ids = [read.name for read in reads]
        if rest := self._seq_len - sum(lengths):
            lengths.append(rest)
            tokens.append(np.full(rest, self._processor.tokenizer.end_id, np.int64))
            labels.append(np.full(rest, IGNORED, np.int64))
            families.append("")
            ids.append("")
        flat = np.concatenate(tokens)
        media = [medium for read in reads for medium in read.laid.media]
        grids = np.array([medium.grid for medium in media], np.int64).reshape(-1, 3)
        borders = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        pixels = [part for read in reads for part in read.pixels]
        none = np.zeros((0, self._processor.vision.patch_values), np.float32)
        arrays = {
            "tokens": flat,
            "labels": np.concatenate(labels),
            "positions": self._positions(flat, grids, borders),
            "cu_seqlens": borders,
            "pixels": np.concatenate(pixels) if pixels else none,
            "grids": grids,
            "media_tokens": flat == self._processor.tokenizer.image_id,
        }
        failures = [Failure(read.name, read.error) for read in reads if read.error]
        return Built(arrays, families, ids, failures)

    def _positions(
        self,
        tokens: npt.NDArray[np.int64],
        grids: npt.NDArray[np.int64],
        borders: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.int64]:
        positions: npt.NDArray[np.int64] = rope_positions(
            torch.from_numpy(tokens == self._processor.tokenizer.image_id),
            torch.from_numpy(borders),
            torch.from_numpy(grids),
            self._processor.vision.merge_size,
        ).numpy()
        return positions

    def _fetch(self, slots: Sequence[Slot]) -> list[bytes]:
        """Each sample's stretch of its tar; shorter where the tar ends early."""
        if all(self._stores[slot.corpus].is_local for slot in slots):
            order = sorted(range(len(slots)), key=lambda n: (slots[n][:2], slots[n].offset))
            found = {n: self._read_local(slots[n]) for n in order}
            return [found[n] for n in range(len(slots))]
        if self._readers is None:
            self._readers = ThreadPoolExecutor(_READERS)
        return list(self._readers.map(self._read_remote, slots))

    def _read_local(self, slot: Slot) -> bytes:
        place = (slot.corpus, slot.shard)
        file = self._files.get(place)
        store, tar = self._stores[slot.corpus], self._corpora[slot.corpus].tars[slot.shard]
        if file is None:
            if len(self._files) >= _OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[place] = store.open(tar)
        try:
            file.seek(slot.offset)
            return file.read(slot.size)
        except OSError as error:
            raise storage_error(store.path(tar), error) from error

    def _read_remote(self, slot: Slot) -> bytes:
        store, tar = self._stores[slot.corpus], self._corpora[slot.corpus].tars[slot.shard]
        try:
            with store.open(tar) as file:
                file.seek(slot.offset)
                return file.read(slot.size)
        except OSError as error:
            raise storage_error(store.path(tar), error) from error

    def _sample(self, slot: Slot, data: bytes) -> _Read:
        corpus = self._corpora[slot.corpus].name
        name = f"{corpus}/{slot.shard}-{slot.row}"
        try:
            key, members = _members(data)
            name = f"{corpus}/{key}"
            segments = json.loads(members[f"{key}.json"])["segments"]
            whole = slot.first == 0 and slot.stop == len(segments)
            name = name if whole else f"{name}#{slot.first}-{slot.stop}"
            parts = self._processor.lay_out(segments)
            laid = self._processor.sample(parts, slot.first, slot.stop)
            if len(laid.ids) != slot.tokens:
                raise ValueError("another sample than was planned")
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._lost(name, slot.tokens)
        pixels, error = [], None
        for medium in laid.media:
            try:
                pixels.append(self._patches(medium, members.get(f"{key}.{medium.member}")))
            except DecodeError as fault:
                error = fault.code
                blank = (medium.patches, self._processor.vision.patch_values)
                pixels.append(np.zeros(blank, np.float32))
        return _Read(name, laid, pixels, error)

    def _lost(self, name: str, tokens: int) -> _Read:
        """A sample of which nothing can be read: so many ends of text."""
        ids = np.full(tokens, self._processor.tokenizer.end_id, np.int64)
        return _Read(name, LaidSample(ids, np.zeros(tokens, np.bool_), ()), [], "corrupt_record")

    def _patches(self, medium: Medium, data: bytes | None) -> npt.NDArray[np.float32]:
        if data is None:
            raise DecodeError("missing_file")
        if medium.times:
            frames = decode_video(data, medium.width, medium.height, medium.times)
        else:
            frames = decode_image(data, medium.width, medium.height)
        found: npt.NDArray[np.float32] = patches(
            frames, medium.grid, self._processor.vision
        ).numpy()
        return found


def _members(data: bytes) -> tuple[str, dict[str, bytes]]:
    """Key and members by name of the sample that a stretch of a tar holds.

    Raises ValueError where it does not start with a JSON member or ends inside one.
    """
    found: dict[str, bytes] = {}
    key = ""
    try:
        for member in walk(io.BytesIO(data), len(data)):
            name = member.name.decode()
            stop = member.offset + member.size
            if stop > len(data):
                break
            key = key or name.rpartition(".json")[0]
            found[name] = data[member.offset : stop]
    except TarDamageError:
        pass  # the stretch ends behind its last member, where an archive would go on
    if not key:
        raise ValueError("no sample")
    return key, found


def _labels(read: _Read) -> npt.NDArray[np.int64]:
    """What to predict at each position: the next token of the sample, where that is learnt."""
    labels = np.full(len(read.laid.ids), IGNORED, np.int64)
    if read.error is None:
        ids, learnt = read.laid.ids[1:], read.laid.learnt[1:]
        labels[:-1] = np.where(learnt, ids, IGNORED)
    return labels
