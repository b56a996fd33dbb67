"""The plan of a training: which samples share a pack and which packs share a step, on disk.

    PLAN/token_count-<fingerprint>/...   lengths, kept for other plans
    PLAN/steps/000000.parquet            a row a packed sample, sorted by step, pack, slot
    PLAN/plan.json                       written last

A pure function of the exports' indexes, shares, seed, sequence length, tokenizer and vision
settings: neither the number of ranks nor of workers is part of it.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

import numpy as np
import pyarrow as pa

from curation.core.errors import CorpusError, RunError
from curation.io.store import Store
from curation.io.tables import read_table
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import Tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.mixture import EffectiveShare, share_lines
from curation.trainer.packing import CostWeights
from curation.trainer.steps import steps_path

PLAN_FILE = "plan.json"

_BLOCK_PACKS = 32_768
_BLOCK_STEPS = 64
"""Packs are sorted by cost within a block of at most so many packs and steps."""


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """What decides a plan beside the corpora, the tokenizer and the vision settings."""

    seq_len: int
    """Tokens of a pack: 8,192 in stage 1, 32,768 in stage 2."""
    global_batch: int
    """Packs of a step over all ranks."""
    steps: int | None = None
    """Length of the training; null reads the corpora `epochs` times."""
    epochs: float = 1.0
    """Without `steps`: passes until the first corpus has been read so often at its share."""
    seed: int = 0
    weights: CostWeights = field(default_factory=CostWeights)
    full: float = 0.998
    """Share of a pack that must be filled, as long as samples to fill it are at hand."""
    window: int = 128
    """Packs' worth of samples that are packed together."""

    def __post_init__(self) -> None:
        if self.seq_len < 16 or self.global_batch < 1 or self.window < 1:
            raise ValueError("seq_len must be at least 16, global_batch and window at least 1")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not (math.isfinite(self.epochs) and self.epochs > 0 and 0 < self.full <= 1):
            raise ValueError("epochs must be above 0, full in (0, 1]")

    @property
    def block_steps(self) -> int:
        """Steps that are grouped together, and lie in one file."""
        return max(1, min(_BLOCK_STEPS, _BLOCK_PACKS // self.global_batch))


@dataclass(frozen=True, kw_only=True)
class PlannedCorpus:
    """A corpus of a plan, as the loader finds its bytes."""

    name: str
    url: str
    family: str
    tars: list[str]
    """Tar files by shard number."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A finished plan."""

    url: str
    """Folder that it lies in."""
    plan_hash: str
    steps: int
    settings: PlanSettings
    processor: Processor
    corpora: list[PlannedCorpus]
    shares: list[EffectiveShare]
    fill: float
    """Share of all packs' tokens that are not padding."""
    balance_before: float
    """Work of the slowest rank over the mean, packs in packing order, one a rank."""
    balance_after: float
    """The same with packs of similar cost in one step."""
    cost: float
    """Predicted FLOPs of the whole training."""

    @property
    def seq_len(self) -> int:
        return self.settings.seq_len

    @property
    def global_batch(self) -> int:
        return self.settings.global_batch

    @property
    def store(self) -> Store:
        return Store(self.url)

    def lines(self) -> list[str]:
        """What `--plan-only` prints: size, fill, balance, mixture."""
        tokens = self.steps * self.global_batch * self.seq_len
        return [
            f"plan {self.plan_hash}: {self.steps:,} steps of {self.global_batch:,} packs of "
            f"{self.seq_len:,} tokens, {tokens:,} in all; {self.cost:.3g} FLOPs",
            f"fill {self.fill:.4f}; work of the slowest rank over the mean "
            f"{self.balance_before:.3f} before grouping, {self.balance_after:.3f} after",
            *share_lines(self.shares),
        ]

    def packs(self, start: int = 0) -> Iterator[tuple[int, list[pa.Table]]]:
        """Steps from `start` on: (step, its packs as PACKED rows). One file is held at a time."""
        size = self.settings.block_steps
        for block in range(start // size, -(-self.steps // size)):
            table = self._rows(block)
            steps = table["step"].to_numpy()
            for step in range(max(start, block * size), min(self.steps, (block + 1) * size)):
                low, high = np.searchsorted(steps, [step, step + 1]).tolist()
                rows = table.slice(low, high - low)
                borders = np.searchsorted(
                    rows["pack"].to_numpy(), np.arange(self.global_batch + 1)
                ).tolist()
                yield (
                    step,
                    [
                        rows.slice(borders[n], borders[n + 1] - borders[n])
                        for n in range(self.global_batch)
                    ],
                )

    def _rows(self, block: int) -> pa.Table:
        """A file of steps. Raises CorpusError where it is gone or damaged."""
        try:
            return read_table(self.store, steps_path(block)).combine_chunks()
        except RunError as error:
            raise CorpusError(
                f"{error}; delete {self.store.path(PLAN_FILE)} and run the same command again, it "
                "makes the same plan"
            ) from error


def open_plan(url: str) -> Plan:
    """The plan in a folder. Raises CorpusError where there is none, or a damaged one."""
    store = Store(url)
    try:
        loaded = json.loads(store.read(PLAN_FILE))
        weights = CostWeights(**loaded["settings"].pop("weights"))
        loaded["settings"] = PlanSettings(**loaded["settings"], weights=weights)
        tokenizer = Tokenizer(loaded["processor"]["tokenizer"]["folder"])
        vision = VisionSettings(**loaded["processor"]["vision"])
        loaded["processor"] = Processor(tokenizer, vision)
        loaded["corpora"] = [PlannedCorpus(**corpus) for corpus in loaded["corpora"]]
        loaded["shares"] = [EffectiveShare(**share) for share in loaded["shares"]]
        plan = Plan(**{**loaded, "url": url})
        for part in (plan, plan.settings, weights, *plan.corpora, *plan.shares):
            _check_kinds(part)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorpusError(
            f"{store.path(PLAN_FILE)}: damaged; delete the file and plan again ({error})"
        ) from error
    return plan


_KINDS: dict[Any, type | UnionType] = {int: int, float: int | float, str: str, list[str]: list}


def _check_kinds(part: Any) -> None:
    """Raises TypeError where a number or text of a dataclass read from JSON is something else."""
    for known in dataclasses.fields(part):
        value, kind = getattr(part, known.name), _KINDS.get(known.type, object)
        inner = value if isinstance(value, list) and known.type == list[str] else ()
        if not isinstance(value, kind) or not all(isinstance(each, str) for each in inner):
            raise TypeError(f"{known.name} is {value!r:.40}")
