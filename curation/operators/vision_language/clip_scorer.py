"""How `clip` computes: rows in slots of batches of one fixed shape, decoded ahead of the model.

`Preparer` is the half that decodes, `Computer` the one that holds the weights. `Scorer` is both in
one process; an engine may keep them apart, and carry `PIECE`s of a batch from one to the other.
Either way a row has the same slot beside the same rows, and so the same score.
"""

import os
import re
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.core.operator import ERROR, append
from curation.io.image_decode import whole_image
from curation.io.image_header import PILLOW_FAULTS, ImageError, read_header
from curation.models.clip import ClipModel, computing

if TYPE_CHECKING:
    from curation.operators.vision_language.clip import Clip

_AHEAD = 2
"""Batches that are decoded while one is computed."""

Floats = npt.NDArray[np.float32]

PIECE = pa.schema(
    [
        ("skipped", pa.bool_()),
        ("captioned", pa.bool_()),
        ("error", pa.string()),
        ("pixels", pa.large_binary()),
        ("tokens", pa.binary()),
    ]
)
"""Rows of one batch of the model and skipped ones between them, on their way to it: pixels as
float32, tokens as int64. Of a row without pixels, `error` holds the code, or nothing where there is
no image."""


@dataclass(frozen=True)
class Floor:
    """Bounds on columns, as `min_side>=100 aspect_ratio<=5`; empty lets every row through."""

    bounds: tuple[tuple[str, str, float], ...]

    @classmethod
    def parse(cls, text: str) -> "Floor":
        """The bounds of a text. Raises ValueError for a word that is no bound."""
        bounds = []
        for word in text.split():
            found = _BOUND.fullmatch(word)
            if found is None:
                raise ValueError(f"floor: {word!r} is not written as column>=number or <=")
            bounds.append((found[1], found[2], float(found[3])))
        return cls(tuple(bounds))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for column, _, _ in self.bounds))

    def under(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Rows outside the bounds; a null is not outside."""
        outside = np.zeros(batch.num_rows, bool)
        for column, sign, bound in self.bounds:
            values = batch[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
            outside |= values < bound if sign == ">=" else values > bound
        return outside


_BOUND = re.compile(r"([a-z][a-z0-9_]*)(>=|<=)(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Slots:
    """A batch of fixed shape; slots behind the last row, and those without pixels, are zero."""

    rows: list[int]
    """Row of each slot."""
    pixels: Floats
    """(batch size, 3, height, width)."""
    tokens: Any
    """(batch size, context length), a tensor."""
    errors: list[str | None]
    """Of each row the error code, `""` where there is no image, or null where all is well."""


@dataclass(frozen=True)
class _Filling:
    """Slots that are being filled."""

    rows: list[int]
    pixels: Floats
    images: list[Future[str | None]]
    tokens: Future[Any]

    def filled(self) -> Slots:
        errors = [image.result() for image in self.images]
        return Slots(self.rows, self.pixels, self.tokens.result(), errors)


class Preparer:
    """Decodes, preprocesses and tokenizes; needs no weights."""

    def __init__(self, operator: "Clip", model: ClipModel) -> None:
        self._operator, self._model = operator, model
        self._floor = Floor.parse(operator.floor)
        busy = (os.cpu_count() or 1) if model.device == "cuda" else operator.threads
        self._pool = ThreadPoolExecutor(operator.decoders or busy)

    def chunks(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], list[list[int]]]:
        """Which rows are skipped, and the others as they go into batches."""
        skipped = self._floor.under(batch)
        places = np.flatnonzero(~skipped).tolist()
        per = self._operator.batch_size
        return skipped, [places[start : start + per] for start in range(0, len(places), per)]

    def slots(self, batch: pa.RecordBatch, chunks: list[list[int]]) -> Iterator[Slots]:
        """Each chunk, when some after it are being decoded already."""
        flying: deque[_Filling] = deque()
        for rows in chunks:
            flying.append(self._start(batch, rows))
            if len(flying) > _AHEAD:
                yield flying.popleft().filled()
        for filling in flying:
            yield filling.filled()

    def pieces(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch as PIECEs, one behind the other; a piece is what the model computes at once."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            skipped, chunks = self.chunks(batch)
            captioned = batch["text"].is_valid()
            if not chunks:
                yield _packed(skipped, captioned, None, 0)
            starts = [0, *(rows[0] for rows in chunks[1:]), batch.num_rows]
            for slots, (start, stop) in zip(
                self.slots(batch, chunks), pairwise(starts), strict=bool(chunks)
            ):
                size = stop - start
                yield _packed(skipped[start:stop], captioned.slice(start, size), slots, start)

    def _start(self, batch: pa.RecordBatch, rows: list[int]) -> _Filling:
        pixels = np.zeros((self._operator.batch_size, 3, *self._model.size), np.float32)
        captions = batch["text"].take(pa.array(rows, pa.int64())).to_pylist()
        tokens = self._pool.submit(self._tokenize, captions)
        images = [
            self._pool.submit(self._decode, batch["image"][row].as_buffer(), pixels[slot])
            for slot, row in enumerate(rows)
        ]
        return _Filling(rows, pixels, images, tokens)

    def _tokenize(self, captions: list[str | None]) -> Any:
        import torch

        there = [slot for slot, caption in enumerate(captions) if caption is not None]
        ids = self._model.tokenize([captions[slot] or "" for slot in there] or [""])
        tokens = torch.zeros((self._operator.batch_size, ids.shape[1]), dtype=ids.dtype)
        if there:
            tokens[there] = ids
        return tokens

    def _decode(self, data: pa.Buffer | None, slot: Floats) -> str | None:
        if data is None:
            return ""
        encoded = data.to_pybytes()
        try:
            image = whole_image(encoded, read_header(encoded), self._operator.max_pixels)
            slot[:] = self._model.preprocess(image).numpy()
        except ImageError as fault:
            return fault.code
        except MemoryError:
            return "out_of_memory"
        except PILLOW_FAULTS:  # a size or mode that Pillow opens but cannot resize or convert
            return "corrupt_image"
        return None


class Computer:
    """Embeds what was prepared, and scores it."""

    def __init__(self, operator: "Clip", model: ClipModel) -> None:
        self._operator, self._model = operator, model

    def pieces(self, pieces: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """What `clip` provides, of each PIECE."""
        given = list(pieces)
        shape = (self._operator.batch_size, 3, *self._model.size)
        ready = (_unpacked(p, shape) for p in given if p["skipped"].false_count)
        with computing(self._operator.threads):
            embedded = self._embedded(ready)
            return [self._piece(piece, embedded) for piece in given]

    def _piece(
        self, piece: pa.RecordBatch, embedded: Iterator[tuple[Slots, Floats, Floats]]
    ) -> pa.RecordBatch:
        skipped = piece["skipped"].to_numpy(zero_copy_only=False)
        captioned = piece["captioned"].to_numpy(zero_copy_only=False)
        mine = [] if skipped.all() else [next(embedded)]
        scored = self._columns(piece.select(["skipped"]), skipped, captioned, mine)
        return scored.select([*self._operator.provides.names, ERROR.name])

    def scored(
        self,
        batch: pa.RecordBatch,
        skipped: npt.NDArray[np.bool_],
        captioned: npt.NDArray[np.bool_],
        prepared: Iterable[Slots],
    ) -> pa.RecordBatch:
        """`batch` with what `clip` provides."""
        return self._columns(batch, skipped, captioned, self._embedded(prepared))

    def _embedded(self, prepared: Iterable[Slots]) -> Iterator[tuple[Slots, Floats, Floats]]:
        """Embeddings of each, asked of a GPU one batch after it was set to work on it."""
        import torch

        running: deque[tuple[Slots, torch.Tensor, torch.Tensor]] = deque()
        for slots in prepared:
            pixels, tokens = torch.from_numpy(slots.pixels), slots.tokens
            if self._model.device == "cuda":
                pixels, tokens = pixels.pin_memory(), tokens.pin_memory()
            running.append((slots, self._model.images(pixels), self._model.texts(tokens)))
            if len(running) > 1:
                yield _fetched(*running.popleft())
        while running:
            yield _fetched(*running.popleft())

    def _columns(
        self,
        batch: pa.RecordBatch,
        skipped: npt.NDArray[np.bool_],
        captioned: npt.NDArray[np.bool_],
        embedded: Iterable[tuple[Slots, Floats, Floats]],
    ) -> pa.RecordBatch:
        size, dim = batch.num_rows, self._operator.embed_dim
        images = np.full((size, dim), np.nan, np.float32)
        texts = np.full((size, dim), np.nan, np.float32)
        errors: list[str | None] = [None] * size
        for slots, image, text in embedded:
            images[slots.rows] = image[: len(slots.rows)]
            texts[slots.rows] = text[: len(slots.rows)]
            for row, error in zip(slots.rows, slots.errors, strict=True):
                errors[row] = error
        seen = ~skipped & np.array([error is None for error in errors], bool)
        read = seen & captioned
        finite_image = np.isfinite(images).all(axis=1)
        finite_text = np.isfinite(texts).all(axis=1)
        bad = (seen & ~finite_image) | (read & ~finite_text)
        seen, read = seen & ~bad, read & ~bad
        with np.errstate(invalid="ignore"):
            scores = np.einsum("nd,nd->n", images, texts, dtype=np.float64).astype(np.float32)
        said = ["not_finite" if b else error or None for b, error in zip(bad, errors, strict=True)]
        columns: dict[str, Any] = {
            "clip_score": pa.array(scores, mask=~read),
            "clip_image": _halves(images, seen),
            "clip_text": _halves(texts, read),
            "clip_skipped": pa.array(skipped),
            "error": said,
        }
        return append(batch, self._operator.provides, columns)


class Scorer:
    """Both halves in one process: decodes some batches ahead of the one that is computed."""

    def __init__(self, operator: "Clip", model: ClipModel) -> None:
        self._preparer, self._computer = Preparer(operator, model), Computer(operator, model)
        self._threads = operator.threads

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        skipped, chunks = self._preparer.chunks(batch)
        captioned = batch["text"].is_valid().to_numpy(zero_copy_only=False)
        with warnings.catch_warnings(), computing(self._threads):
            warnings.simplefilter("ignore")
            prepared = self._preparer.slots(batch, chunks)
            return self._computer.scored(batch, skipped, captioned, prepared)


def _fetched(slots: Slots, images: Any, texts: Any) -> tuple[Slots, Floats, Floats]:
    return slots, images.cpu().numpy(), texts.cpu().numpy()


def _packed(
    skipped: npt.NDArray[np.bool_], captioned: pa.Array, slots: Slots | None, start: int
) -> pa.RecordBatch:
    """A PIECE of rows from `start` on, `slots` among them."""
    size = len(skipped)
    errors: list[str | None] = [None] * size
    pixels: list[Any] = [None] * size
    tokens: list[bytes | None] = [None] * size
    if slots is not None:
        ids = slots.tokens.numpy().astype("<i8")
        for slot, (row, error) in enumerate(zip(slots.rows, slots.errors, strict=True)):
            errors[row - start] = error
            pixels[row - start] = slots.pixels[slot].tobytes() if error is None else None
            tokens[row - start] = ids[slot].tobytes()
    columns = [skipped, captioned, errors, pixels, tokens]
    arrays = [pa.array(given, f.type) for given, f in zip(columns, PIECE, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=PIECE)


def _unpacked(piece: pa.RecordBatch, shape: tuple[int, ...]) -> Slots:
    """Slots of a PIECE that has any; `shape` of their pixels."""
    import torch

    rows = np.flatnonzero(~piece["skipped"].to_numpy(zero_copy_only=False)).tolist()
    errors = piece["error"].take(pa.array(rows, pa.int64())).to_pylist()
    pixels = np.zeros(shape, np.float32)
    ids = [np.frombuffer(piece["tokens"][row].as_buffer(), "<i8") for row in rows]
    tokens = np.zeros((shape[0], len(ids[0])), np.int64)
    tokens[: len(rows)] = ids
    for slot, row in enumerate(rows):
        data = piece["pixels"][row].as_buffer()
        if data is not None:
            pixels[slot] = np.frombuffer(data, np.float32).reshape(shape[1:])
    return Slots(rows, pixels, torch.from_numpy(tokens), errors)


def _halves(embeddings: Floats, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """Rows as the bytes of little-endian float16; null where not `valid`."""
    size, dim = embeddings.shape
    halves = np.where(valid[:, None], embeddings, 0).astype("<f2")
    bits = np.packbits(valid, bitorder="little").tobytes()
    buffers = [pa.py_buffer(bits), pa.py_buffer(halves.tobytes())]
    return pa.Array.from_buffers(pa.binary(2 * dim), size, buffers)
