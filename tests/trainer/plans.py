"""Plans and hashes of what loaders give, for tests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.engines.local import LocalEngine
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import demo_tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.loader import Loader
from curation.trainer.mixture import CorpusShare
from curation.trainer.plan import Plan, PlanSettings, make_plan

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


def step_hashes(
    plan: Plan, *, world: int = 1, workers: int = 0, start: int = 0, stop: int | None = None
) -> dict[int, str]:
    """Hash of sample ids and every tensor of each global step, packs in the plan's order."""
    stop = plan.steps if stop is None else stop
    found: dict[int, list[Any]] = {step: [None] * plan.global_batch for step in range(start, stop)}
    for rank in range(world):
        with Loader(plan, rank=rank, world=world, workers=workers, start_step=start) as loader:
            for step in loader:
                for place, pack in enumerate(step.packs):
                    parts = [pack.tokens, pack.labels, pack.positions, pack.cu_seqlens,
                             pack.pixels, pack.grids, pack.media_tokens]  # fmt: skip
                    state = hashlib.sha256(repr((pack.sample_ids, pack.max_seqlen)).encode())
                    for part in parts:
                        state.update(part.contiguous().numpy().tobytes())
                    found[step.number][rank + place * world] = state.hexdigest()
                if step.number + 1 == stop:
                    break
    return {step: hashlib.sha256(repr(packs).encode()).hexdigest() for step, packs in found.items()}


def rows(plan: Plan) -> list[dict[str, Any]]:
    """Every packed sample of a plan."""
    return [row for _, packs in plan.packs() for pack in packs for row in pack.to_pylist()]
