"""A CLIP whose embeddings are planted: by topic, with copies, and captions that do not belong."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append
from tests.pipeline.corpora import write_pairs

WIDTH = 32
TOPICS = ("car", "car", "car", "car", "dog", "dog", "bridge", "kettle", "car", "violin")


def words(n: int) -> str:
    """The caption of pair `n`: its topic is the n-th of TOPICS, in turns."""
    return f"A photo of a {TOPICS[n % 10]} standing in the garden, number {n}"


def planted_pairs(folder: Path, count: int) -> Path:
    """Pairs whose pictures differ and whose captions are `words`."""
    write_pairs(folder, count)
    lines = (folder / "pairs.jsonl").read_text().splitlines()
    pairs = [line.split('"text": "', 1) for line in lines]
    texts = [f'{a}"text": "{words(n)}{b[b.index(chr(34)) :]}' for n, (a, b) in enumerate(pairs)]
    (folder / "pairs.jsonl").write_text("\n".join(texts))
    return folder


def _noise(*seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal(WIDTH)
    return found / np.linalg.norm(found)


def image_of(n: int) -> np.ndarray:
    """Near those of its topic; the first three of every ten are all but the same."""
    own = n - n % 10 if n % 10 < 3 else n
    topic = TOPICS.index(TOPICS[n % 10])
    found = 0.97 * _noise(1, topic) + 0.25 * _noise(2, own) + 0.02 * _noise(3, n)
    return found / np.linalg.norm(found)


def text_of(n: int, *, blind: bool) -> np.ndarray:
    """Near its image; of every ninth, and of all where the model is blind, anywhere."""
    if blind or n % 9 == 4:
        return _noise(4, n)
    found = image_of(n) + 0.1 * _noise(5, n)
    return found / np.linalg.norm(found)


@dataclass(frozen=True, kw_only=True)
class PlantedClip(Operator):
    """Knows a pair by the number that its caption ends with."""

    name = "clip"

    blind: bool = False
    """Its texts have nothing to do with its images."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        stored = pa.binary(2 * WIDTH)
        return pa.schema(
            [
                ("clip_score", pa.float32()),
                ("clip_image", stored),
                ("clip_text", stored),
                ("clip_skipped", pa.bool_()),
            ]
        )

    def open(self) -> BatchFn:
        return self._embed

    def _embed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        numbers = [int(text.rpartition(" ")[2]) for text in batch["text"].to_pylist()]
        images = [image_of(n) for n in numbers]
        texts = [text_of(n, blind=self.blind) for n in numbers]
        columns = {
            "clip_score": [float(i @ t) for i, t in zip(images, texts, strict=True)],
            "clip_image": [i.astype("<f2").tobytes() for i in images],
            "clip_text": [t.astype("<f2").tobytes() for t in texts],
            "clip_skipped": [False] * len(numbers),
        }
        return append(batch, self.provides, columns)
