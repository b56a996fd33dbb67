"""Samples whose images lie nearest to a sample, a text or a picture, by the corpus's own CLIP."""

import hashlib
import threading
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation.core.corpus import Layer
from curation.core.embedding import vectors
from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.io.image_decode import whole_image
from curation.io.image_header import PILLOW_FAULTS, ImageError, read_header
from curation.io.tables import read_table
from curation.models.clip import ClipModel, computing, load_clip
from curation.models.clip_source import LOCAL, ClipSource, checkpoint_sha256
from curation.report.viewer.fates import HIDDEN, Bools, Fates, Positions
from curation.report.viewer.kept import Kept
from curation.report.viewer.measures import unnamed_array
from schemas.manifest import LayerRef

COLUMN = "clip_image"
FOUND = 1_000
"""Samples that are found, the nearest first."""
MAX_PICTURE = 32 << 20
"""Bytes of a picture that is searched by."""

_PART = 1 << 16
_PICTURES = 256

Vector = npt.NDArray[np.float32]


class Nearest:
    """Searches all embeddings of one corpus, exactly; safe to ask from many threads."""

    def __init__(self, corpus: Corpus, fates: Fates, checkpoint: str) -> None:
        """`checkpoint` is the weights file of the corpus's CLIP, where it came from one."""
        self._corpus, self._fates, self._checkpoint = corpus, fates, checkpoint
        self._ref: LayerRef | None = next(
            (ref for ref in corpus.manifest.layers if COLUMN in ref.columns), None
        )
        self._rows: Any = None
        self._usable: Any = None
        self._model: ClipModel | None = None
        self._reading, self._loading = threading.Lock(), threading.Lock()
        self._pictures: Kept[str, Vector] = Kept(_PICTURES)

    def positions(self, near: str, mask: Bools) -> Positions:
        """Of the samples in `mask` the nearest to `at:POSITION`, `text:WORDS` or `picture:NAME`.

        Raises UsageError for anything else, and where the corpus has no embeddings.
        """
        kind, _, what = near.partition(":")
        rows, usable = self._embeddings()
        if kind == "at":
            query = self._of_sample(what, rows, usable)
        elif kind == "text":
            query = self._of_text(what)
        elif kind == "picture":
            query = self._pictures.get(what, _forgotten)
        else:
            raise UsageError(f"near is at:, text: or picture:, got {near[:40]!r}")
        return self._search(query, mask & usable)

    def picture(self, data: bytes) -> str:
        """Embeds a picture; gives the name to search by. Raises UsageError where it is none."""
        model = self._clip()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                limit = Image.MAX_IMAGE_PIXELS or 1
                image = whole_image(data, read_header(data), limit)
                pixels = model.preprocess(image)
        except ImageError as fault:
            raise UsageError(f"this picture cannot be read: {fault.code}") from fault
        except (MemoryError, *PILLOW_FAULTS) as fault:
            raise UsageError("this picture cannot be read") from fault
        with self._loading, computing(1):
            made: Vector = model.images(pixels[None]).cpu().numpy()[0]
        name = hashlib.sha256(data).hexdigest()[:32]
        self._pictures.get(name, lambda: made)
        return name

    def _of_sample(self, what: str, rows: Any, usable: Bools) -> Vector:
        position = int(what) if what.isascii() and what.isdigit() and len(what) < 16 else -1
        there = 0 <= position < self._fates.size and bool(usable[position])
        if not there or self._fates.seen(position) == HIDDEN:
            raise UsageError("this sample has no embedding")
        found: Vector = rows[position].astype(np.float32)
        return found

    def _of_text(self, text: str) -> Vector:
        model = self._clip()
        tokens = model.tokenize([text])
        with self._loading, computing(1):
            found: Vector = model.texts(tokens).cpu().numpy()[0]
        return found

    def _search(self, query: Vector, mask: Bools) -> Positions:
        """By FAISS, a part at a time: halves are copied into its index, never widened."""
        faiss = _faiss()
        best: list[npt.NDArray[np.float32]] = []
        places: list[Positions] = []
        kind = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(len(query), kind, faiss.METRIC_INNER_PRODUCT)
        for start in range(0, self._fates.size, _PART):
            there = mask[start : start + _PART]
            count = min(FOUND, int(there.sum()))
            if not count:
                continue
            index.reset()
            index.add_sa_codes(np.ascontiguousarray(self._rows[start : start + _PART]).view("u1"))
            wanted = faiss.IDSelectorBitmap(np.packbits(there, bitorder="little"))
            chosen = faiss.SearchParameters(sel=wanted)
            scores, found = index.search(query[None], count, params=chosen)
            best.append(scores[0])
            places.append(found[0] + start)
        if not places:
            return np.zeros(0, np.int64)
        every, scored = np.concatenate(places), np.concatenate(best)
        return every[np.lexsort((every, -scored))][:FOUND]

    def _embeddings(self) -> tuple[Any, Any]:
        """(samples, width) as float16, and which are there; read once, a shard at a time."""
        if self._ref is None:
            raise UsageError("no embeddings were measured here")
        layer = Layer(self._ref.operator, self._ref.fingerprint)
        with self._reading:
            if self._rows is None:
                usable = unnamed_array("bool", (self._fates.size,))
                rows: Any = None
                for nth, shard in enumerate(self._corpus.shards):
                    column = read_table(self._corpus.store, layer.path(shard.shard), [COLUMN])
                    halves, there = vectors(column[COLUMN])
                    if rows is None:
                        rows = unnamed_array("float16", (self._fates.size, halves.shape[1]))
                    start, stop = self._fates.starts[nth : nth + 2]
                    rows[start:stop], usable[start:stop] = halves, there
                self._rows, self._usable = rows, usable
        return self._rows, self._usable

    def _clip(self) -> ClipModel:
        """The model that made the embeddings. Raises UsageError where it is not at hand."""
        if self._ref is None:
            raise UsageError("no embeddings were measured here")
        said = self._ref.parameters
        sha256 = str(said.get("checkpoint_sha256") or "")
        with self._loading:
            if self._model is None:
                if bool(sha256) != bool(self._checkpoint) and (sha256 or said["model"] == LOCAL):
                    raise UsageError(
                        f"the embeddings are of a checkpoint of {said['model']}: start curate view "
                        "with --checkpoint PATH to search by text or picture"
                    )
                source = ClipSource(
                    model=str(said["model"]),
                    pretrained=str(said.get("pretrained") or ""),
                    checkpoint=self._checkpoint if sha256 else "",
                )
                if sha256 and checkpoint_sha256(source) != sha256:
                    raise UsageError("--checkpoint: not the weights that made these embeddings")
                self._model = load_clip(source)
        return self._model


def _faiss() -> Any:
    import faiss  # for this search alone; its stubs do not know what its Python face adds

    return faiss


def _forgotten() -> Vector:
    raise UsageError("this picture is forgotten: drop it once more")
