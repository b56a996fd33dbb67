"""How well each sentence of a new caption fits the picture: its cosine, and an error's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.core.embedding import vectors
from curation.core.operator import BatchFn, Operator, append
from curation.models.clip import ClipModel, computing
from curation.operators.text.facts_sentences import sentences
from curation.operators.text.planted_errors import planted
from curation.operators.vision_language.clip import Clip

SCORED = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("score", pa.float32()),
        ("planted", pa.float32()),
    ]
)
"""A sentence of the new caption by its characters, its cosine, and that of the same sentence with
an error planted in it; null where it holds nothing to change."""

_LOOK = 10_000
_SLOTS = 8
"""Texts of a row that are embedded together."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CaptionClip(Operator):
    """Cosine of each sentence of a new caption with the picture, by the recipe's own `clip`.

    Reads the image embeddings that `clip` made. A row's texts have slots of their own in batches
    of one fixed shape, so that what they score depends on no other row. Null without a new caption
    or an embedding.
    """

    name = "caption_clip"
    version = 2
    follows = "recaption"
    libraries = Clip.libraries

    max_sentences: int = 40
    """Of a caption that are scored."""
    clip: Clip | None = field(default=None, metadata={"hashed": False})
    """The recipe's own, whose layer this one reads, and by that depends on; without one there is
    nothing to score with."""

    def __post_init__(self) -> None:
        if self.max_sentences < 1:
            raise ValueError(f"max_sentences must be at least 1, got {self.max_sentences}")

    @property
    def threads(self) -> int:
        return self.clip.threads if self.clip else 0

    def identity(self) -> Mapping[str, str]:
        """That of `clip`."""
        return self.clip.identity() if self.clip else {}

    @property
    def requires(self) -> pa.Schema:
        width = 2 * self.clip.embed_dim if self.clip else -1
        return pa.schema([("recaption", pa.string()), ("clip_image", pa.binary(width))])

    @property
    def provides(self) -> pa.Schema:
        if self.clip is None:
            return pa.schema([])
        return pa.schema([("recaption_clip", pa.list_(SCORED))])

    def open(self) -> BatchFn:
        assert self.clip is not None
        model, threads = self.clip.loaded(), self.clip.threads
        rows = max(1, self.clip.batch_size // _SLOTS)

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            with computing(threads):
                return self._scored(batch, model, rows)

        return measure

    def _scored(self, batch: pa.RecordBatch, model: ClipModel, rows: int) -> pa.RecordBatch:
        images, usable = vectors(batch["clip_image"])
        texts: list[list[str]] = []
        spans: list[list[tuple[int, int]]] = []
        for caption, there in zip(batch["recaption"].to_pylist(), usable.tolist(), strict=True):
            mine = list(self._spans(caption)) if caption and there else []
            spans.append(mine)
            texts.append([text for s, e in mine for text in _both(caption[s:e])])
        columns: dict[str, list[Any]] = {"recaption_clip": [], "error": []}
        for start in range(0, batch.num_rows, rows):
            group = slice(start, start + rows)
            for row, found in enumerate(_embedded(model, texts[group], rows), start):
                entries, bad = None, False
                if found is not None:  # products of halves are exact
                    scores = found.astype("<f2").astype(np.float64) @ images[row].astype(np.float64)
                    bad = not np.isfinite(scores).all()
                    entries = None if bad else _entries(spans[row], texts[row], scores)
                columns["recaption_clip"].append(entries)
                columns["error"].append("not_finite" if bad else None)
        return append(batch, self.provides, columns)

    def _spans(self, caption: str) -> Iterator[tuple[int, int]]:
        return islice(sentences(caption[:_LOOK]), self.max_sentences)


def _both(sentence: str) -> list[str]:
    """A sentence, and what it is with an error, empty where it has none."""
    return [sentence, planted(sentence) or ""]


def _embedded(model: ClipModel, texts: list[list[str]], rows: int) -> list[Floats | None]:
    """Embeddings of each row's texts, null where it has none.

    A pass of the model takes `_SLOTS` texts of every row, full or not.
    """
    import torch

    found: list[list[Floats]] = [[] for _ in texts]
    passes = max((len(mine) for mine in texts), default=0)
    for at in range(0, passes, _SLOTS):
        given = [mine[at : at + _SLOTS] for mine in texts]
        ids = model.tokenize([text for mine in given for text in mine])
        tokens = torch.zeros((rows * _SLOTS, ids.shape[1]), dtype=ids.dtype)
        places = [row * _SLOTS + n for row, mine in enumerate(given) for n in range(len(mine))]
        tokens[places] = ids
        made = model.texts(tokens).cpu().numpy().reshape(rows, _SLOTS, -1)
        for row, mine in enumerate(given):
            found[row].append(made[row, : len(mine)])
    return [np.concatenate(f) if mine else None for f, mine in zip(found, texts, strict=True)]


def _entries(
    spans: list[tuple[int, int]], texts: list[str], scores: npt.NDArray[np.float64]
) -> list[dict[str, Any]]:
    return [
        {
            "start": start,
            "end": end,
            "score": scores[2 * n],
            "planted": scores[2 * n + 1] if texts[2 * n + 1] else None,
        }
        for n, (start, end) in enumerate(spans)
    ]
