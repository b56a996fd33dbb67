"""How well a caption fits its picture: CLIP embeddings and their cosine (Radford et al. 2021)."""

import os
import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.operator import IMAGE, BatchFn, Operator, append
from curation.io.image_decode import whole_image
from curation.io.image_header import PILLOW_FAULTS, ImageError, read_header
from curation.models.clip import (
    LOCAL,
    ClipModel,
    ClipSource,
    checkpoint_sha256,
    computing,
    load_clip,
    model_config,
    weights_name,
)
from curation.models.device import (
    DEVICES,
    DTYPES,
    check_device,
    resolved_device,
    resolved_dtype,
)

_AHEAD = 2
"""Batches that are decoded while one is computed."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Clip(Operator):
    """Cosine of a pair's image and text embedding, and both embeddings, by any open_clip model.

    `clip_score` lies in -1 to 1 and comes from float32 embeddings; `clip_image` and `clip_text`
    are kept as little-endian float16. An image is turned upright, then preprocessed by open_clip
    itself. All is null for a row under the floor (`clip_skipped`) and for one without a readable
    image; text and score also where there is no caption.

    Rows take their places in batches of one fixed shape, in order and whatever becomes of them:
    what a row scores depends neither on its neighbours nor on the number of workers.
    """

    name = "clip"
    libraries = ("open_clip_torch", "pillow", "timm", "torch", "torchvision")

    model: str = "demo"
    """`demo` (shipped; knows nothing of photographs), a name of open_clip, or `local`."""
    pretrained: str = ""
    """Weights' tag in open_clip; empty for the demo's, for a checkpoint's, and for random ones."""
    checkpoint: str = field(default="", metadata={"hashed": False})
    """A weights file of `model`, or the folder of a `local` model in open_clip's layout."""
    checkpoint_sha256: str = ""
    """Content of the checkpoint; found from it."""
    embed_dim: int = 0
    """Numbers in an embedding; found from the model."""
    dtype: str = "float32"
    """float32, or bfloat16 (float32 after all on a processor that has none)."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    batch_size: int = 64
    """Rows computed together; the last batch is filled up with zeros."""
    threads: int = 1
    """Threads of one forward pass on a CPU; the engine runs so many times fewer processes."""
    decoders: int = field(default=0, metadata={"hashed": False})
    """Threads that decode beside the forward pass; 0: `threads` of them, on a GPU one a core."""
    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""
    floor: str = "min_side>=100 aspect_ratio<=5 caption_chars>=1"
    """The loosest thresholds that will ever be wanted; a row outside them is not scored."""

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("device", DEVICES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}")
        for name in ("batch_size", "threads", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        Floor.parse(self.floor)
        if self.checkpoint:
            object.__setattr__(self, "checkpoint_sha256", checkpoint_sha256(self.source))
        config = model_config(self.source)
        if config:
            object.__setattr__(self, "embed_dim", int(config["embed_dim"]))

    @property
    def source(self) -> ClipSource:
        """Model and weights."""
        return ClipSource(model=self.model, pretrained=self.pretrained, checkpoint=self.checkpoint)

    @property
    def requires(self) -> pa.Schema:
        bounds = ((column, pa.float64()) for column in Floor.parse(self.floor).columns)
        return pa.schema([IMAGE, ("text", pa.string()), *bounds])

    @property
    def provides(self) -> pa.Schema:
        embedding = pa.binary(2 * self.embed_dim)
        return pa.schema(
            [
                ("clip_score", pa.float32()),
                ("clip_image", embedding),
                ("clip_text", embedding),
                ("clip_skipped", pa.bool_()),
            ]
        )

    def identity(self) -> Mapping[str, str]:
        """Hash of the weights, activation, device class and dtype behind the values."""
        device = resolved_device(self.device)
        told = {
            "device": device,
            "dtype": resolved_dtype(self.dtype, device),
            "weights": self.checkpoint_sha256 or weights_name(self.source),
        }
        if self.model != LOCAL:  # whose configuration is hashed with its weights
            told["quick_gelu"] = str(bool(model_config(self.source).get("quick_gelu"))).lower()
        return told

    def open(self) -> BatchFn:
        check_device(self.device)
        if self.checkpoint_sha256 and not self.checkpoint:
            raise UsageError(
                f"the checkpoint of {self.model} is known by its hash alone; name it again "
                "(--set clip.checkpoint=PATH)"
            )
        if self.checkpoint and checkpoint_sha256(self.source) != self.checkpoint_sha256:
            raise UsageError(f"{self.checkpoint}: the weights changed; start the command again")
        told = self.identity()
        model = load_clip(self.source, device=told["device"], dtype=told["dtype"])
        return _Scorer(self, model)


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
class _Prepared:
    """A batch of fixed shape whose slots are being filled."""

    rows: list[int]
    """Row of each slot; slots behind the last stay zero."""
    pixels: Floats
    images: list[Future[str | None]]
    """Of each slot, the error code, `""` where there is no image, or null where all is well."""
    tokens: Future[Any]


class _Scorer:
    """The loaded operator: decodes some batches ahead of the one that is computed."""

    def __init__(self, operator: Clip, model: ClipModel) -> None:
        self._operator, self._model = operator, model
        self._floor = Floor.parse(operator.floor)
        busy = (os.cpu_count() or 1) if model.device == "cuda" else operator.threads
        self._pool = ThreadPoolExecutor(operator.decoders or busy)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        size, dim = batch.num_rows, self._operator.embed_dim
        skipped = self._floor.under(batch)
        places = np.flatnonzero(~skipped).tolist()
        per = self._operator.batch_size
        chunks = [places[start : start + per] for start in range(0, len(places), per)]
        images = np.full((size, dim), np.nan, np.float32)
        texts = np.full((size, dim), np.nan, np.float32)
        errors: list[str | None] = [None] * size
        with warnings.catch_warnings(), computing(self._operator.threads):
            warnings.simplefilter("ignore")
            for prepared, image, text in self._computed(batch, chunks):
                images[prepared.rows] = image[: len(prepared.rows)]
                texts[prepared.rows] = text[: len(prepared.rows)]
                for row, future in zip(prepared.rows, prepared.images, strict=True):
                    errors[row] = future.result()
        return self._columns(batch, skipped, images, texts, errors)

    def _computed(
        self, batch: pa.RecordBatch, chunks: list[list[int]]
    ) -> Iterator[tuple[_Prepared, Floats, Floats]]:
        """Embeddings of each chunk, asked of a GPU one chunk after it was set to work on it."""
        import torch

        running: deque[tuple[_Prepared, torch.Tensor, torch.Tensor]] = deque()
        for prepared in self._ahead(batch, chunks):
            tokens = prepared.tokens.result()
            for future in prepared.images:
                future.result()
            pixels = torch.from_numpy(prepared.pixels)
            if self._model.device == "cuda":
                pixels, tokens = pixels.pin_memory(), tokens.pin_memory()
            running.append((prepared, self._model.images(pixels), self._model.texts(tokens)))
            if len(running) > 1:
                yield _fetched(*running.popleft())
        while running:
            yield _fetched(*running.popleft())

    def _ahead(self, batch: pa.RecordBatch, chunks: list[list[int]]) -> Iterator[_Prepared]:
        flying: deque[_Prepared] = deque()
        for rows in chunks:
            flying.append(self._prepare(batch, rows))
            if len(flying) > _AHEAD:
                yield flying.popleft()
        yield from flying

    def _prepare(self, batch: pa.RecordBatch, rows: list[int]) -> _Prepared:
        pixels = np.zeros((self._operator.batch_size, 3, *self._model.size), np.float32)
        captions = batch["text"].take(pa.array(rows, pa.int64())).to_pylist()
        tokens = self._pool.submit(self._tokenize, captions)
        images = [
            self._pool.submit(self._decode, batch["image"][row].as_buffer(), pixels[slot])
            for slot, row in enumerate(rows)
        ]
        return _Prepared(rows, pixels, images, tokens)

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

    def _columns(
        self,
        batch: pa.RecordBatch,
        skipped: npt.NDArray[np.bool_],
        images: Floats,
        texts: Floats,
        errors: list[str | None],
    ) -> pa.RecordBatch:
        seen = ~skipped & np.array([error is None for error in errors])
        read = seen & batch["text"].is_valid().to_numpy(zero_copy_only=False)
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


def _fetched(prepared: _Prepared, images: Any, texts: Any) -> tuple[_Prepared, Floats, Floats]:
    return prepared, images.cpu().numpy(), texts.cpu().numpy()


def _halves(embeddings: Floats, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """Rows as the bytes of little-endian float16; null where not `valid`."""
    size, dim = embeddings.shape
    halves = np.where(valid[:, None], embeddings, 0).astype("<f2")
    bits = np.packbits(valid, bitorder="little").tobytes()
    buffers = [pa.py_buffer(bits), pa.py_buffer(halves.tobytes())]
    return pa.Array.from_buffers(pa.binary(2 * dim), size, buffers)
