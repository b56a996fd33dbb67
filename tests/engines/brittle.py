"""A recipe of few operators and stages: one takes its time, others break where they are told."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from curation.core.engine import Engine
from curation.core.limits import Limits
from curation.core.operator import BatchFn, Operator, append
from curation.core.progress import SILENT
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import run
from tests.pipeline.corpora import plain_recipe
from tests.pipeline.fragile import Fragile, break_as

LIMITS = Limits(deadline=2.0, memory=3 << 30)
PAIRS = 48
SHARD_SAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Lingering(Operator):
    """Takes its time, so that there is some to kill what runs it."""

    name = "lingering"
    pause: float = field(default=0.0, metadata={"hashed": False})
    """Seconds for a shard."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("lingered", pa.int32())])

    def open(self) -> BatchFn:
        def linger(batch: pa.RecordBatch) -> pa.RecordBatch:
            time.sleep(self.pause)
            return append(batch, self.provides, {"lingered": [batch.num_rows] * batch.num_rows})

        return linger


@dataclass(frozen=True, kw_only=True)
class Crashing(Fragile):
    """Breaks on one sample, and gives a column of its own."""

    name = "crashing"
    how: str = "crash"
    words: tuple[str, ...] = ("number 7 ",)

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([(self.name, pa.int32())])

    def breaks(self) -> None:
        break_as(self.how)

    def _count(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = [text or "" for text in batch["text"].to_pylist()]
        if any(word in text for text in texts for word in self.words):
            self.breaks()
        letters = [len(text) for text in texts]
        return append(batch, self.provides, {self.name: letters})


@dataclass(frozen=True, kw_only=True)
class Hanging(Crashing):
    name = "hanging"
    how: str = "hang"
    words: tuple[str, ...] = ("number 19 ",)


@dataclass(frozen=True, kw_only=True)
class Hungry(Crashing):
    name = "hungry"
    words: tuple[str, ...] = ("number 31 ",)

    def breaks(self) -> None:
        held = [np.empty(1 << 28, np.uint8) for _ in range(64)]  # 16 GB
        raise AssertionError(f"got {len(held)} pieces: memory is not bounded")


BREAKING = {"crashing": (7, "crashed"), "hanging": (19, "timeout"), "hungry": (31, "out_of_memory")}
"""Operators that break: the sample on which each does, and the error of that."""


def brittle_recipe(pause: float = 0.0, *, breaking: bool = False) -> Recipe:
    """A recipe of few operators and stages, those that break among them if asked for."""
    plain = plain_recipe()
    operators = [o for o in plain.operators if o.name in ("image_probe", "caption_text")]
    if breaking:
        operators += [Crashing(), Hanging(), Hungry()]
    stages = [s for s in plain.stages if s.name in ("exact_dedup", "caption_frequency")]
    return replace(
        plain,
        operators=(*operators, Lingering(pause=pause)),
        stages=tuple(stages),
        export=replace(plain.export, scores=()),
    )


def curate(recipe: Recipe, source: str, out: str, engine: Engine) -> None:
    """Runs the recipe over a test's source."""
    request = IngestRequest(source=source, options=SourceOptions(shard_samples=SHARD_SAMPLES))
    run(recipe, request, out, engine, SILENT)
