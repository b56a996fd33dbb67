"""Plans and hashes of what loaders give, for tests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.engines.local import LocalEngine
from curation.io.tables import read_table
from curation.models.glm4v.batch import PackedBatch
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import demo_tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.loader import Loader
from curation.trainer.mixture import CorpusShare
from curation.trainer.pack import Failure
from curation.trainer.plan import Plan, PlanSettings
from curation.trainer.planning import make_plan
from curation.trainer.token_count import open_export

SMALL = VisionSettings(image_max_pixels=28 * 28 * 2 * 40, video_max_pixels=28 * 28 * 2 * 60)
"""Budgets of 40 tokens an image and 60 a video."""


def processor(vision: VisionSettings = SMALL) -> Processor:
    return Processor(demo_tokenizer(), vision)


def planned(
    out: Path,
    corpora: Sequence[Path | tuple[Path, float]],
    *,
    vision: VisionSettings = SMALL,
    workers: int = 0,
    **settings: Any,
) -> Plan:
    """A plan over exports, or (export, share) pairs."""
    shares = [
        CorpusShare(url=str(corpus[0]), share=corpus[1])
        if isinstance(corpus, tuple)
        else CorpusShare(url=str(corpus))
        for corpus in corpora
    ]
    with LocalEngine(workers=workers, memory="500MB") as engine:
        return make_plan(shares, str(out), PlanSettings(**settings), processor(vision), engine)


def pack_hash(pack: PackedBatch) -> str:
    """Hash of sample ids and every tensor."""
    parts = [pack.tokens, pack.labels, pack.positions, pack.cu_seqlens,
             pack.pixels, pack.grids, pack.media_tokens]  # fmt: skip
    state = hashlib.sha256(repr((pack.sample_ids, pack.max_seqlen)).encode())
    for part in parts:
        state.update(part.contiguous().numpy().tobytes())
    return state.hexdigest()


def pack_hashes(
    plan: Plan,
    *,
    world: int = 1,
    workers: int = 0,
    start: int = 0,
    stop: int | None = None,
    failed: set[Failure] | None = None,
) -> dict[int, list[str]]:
    """Hashes of the packs of each global step, in the plan's order.

    Each rank's loader is left where it stands after `stop`, with packs that it built ahead. Samples
    that could not be read are added to `failed`.
    """
    stop = plan.steps if stop is None else stop
    found = {step: [""] * plan.global_batch for step in range(start, stop)}
    for rank in range(world if stop > start else 0):
        with Loader(plan, rank=rank, world=world, workers=workers, start_step=start) as loader:
            for step in loader:
                for place, pack in enumerate(step.packs):
                    found[step.number][rank + place * world] = pack_hash(pack)
                if failed is not None:
                    failed.update(step.failures)
                if step.number + 1 == stop:
                    break
    return found


def step_hashes(plan: Plan, **how: Any) -> dict[int, str]:
    """Hash of each global step: sample ids and every tensor of its packs, in the plan's order."""
    packs = pack_hashes(plan, **how)
    return {step: hashlib.sha256(repr(each).encode()).hexdigest() for step, each in packs.items()}


def spoil(export: Path, every: int) -> int:
    """Overwrites the first bytes of the media of every so-manyth sample; returns how many."""
    spoilt = 0
    opened = open_export(str(export))
    for part in opened.parts:
        with Path(opened.store.path(part.path)).open("r+b") as tar:
            for row in read_table(opened.store, part.index).to_pylist()[::every]:
                tar.seek(row["members"][-1]["offset"])
                tar.write(bytes(32))
                spoilt += 1
    return spoilt


def rows(plan: Plan) -> list[dict[str, Any]]:
    """Every packed sample of a plan."""
    return [row for _, packs in plan.packs() for pack in packs for row in pack.to_pylist()]
