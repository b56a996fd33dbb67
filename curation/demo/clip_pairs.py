"""Clean demo pairs in memory, for training and judging the small CLIP; drawn, never filed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation.core.progress import SILENT, Progress
from curation.demo.caption import caption
from curation.demo.nouns import names_in
from curation.demo.paint import paint
from curation.demo.pair import scene_of
from curation.demo.scene import Box, Scene
from curation.engines.local import LocalEngine

_BLOCK = 200
_SMALL = 128
"""Shorter side, in pixels, of pictures painted for training: three times as fast as the demo's."""

_TOLD = 101
"""Purpose of the draws behind captions, apart from those of the demo corpus."""


@dataclass(frozen=True, kw_only=True)
class ClipPairs:
    """Pictures and what is said of them."""

    pixels: npt.NDArray[np.uint8]
    """(n, side, side, 3), squashed as the model's preprocessing does."""
    captions: list[tuple[str, ...]]
    """Of each picture, so many true captions."""
    recoloured: list[str | None]
    """A caption with the colours of two things exchanged, where it tells both."""
    turned: list[str | None]
    """A caption with two things exchanged, where it tells how they stand to each other."""


@dataclass(frozen=True)
class _Block:
    seed: int
    start: int
    stop: int
    side: int
    captions: int
    small: bool


def draw_pairs(
    seed: int,
    count: int,
    engine: LocalEngine,
    *,
    side: int = 64,
    captions: int = 1,
    small: bool = False,
    progress: Progress = SILENT,
) -> ClipPairs:
    """Pairs 0 to `count` of a seed, the same with any number of workers.

    `small` pictures are painted at about twice `side`, others at the demo's sizes; then both are
    squashed to `side`.
    """
    blocks = [
        _Block(seed, start, min(start + _BLOCK, count), side, captions, small)
        for start in range(0, count, _BLOCK)
    ]
    made: dict[int, tuple[Any, ...]] = {}
    with progress.track("draw", count, "pairs") as tracker:
        for start, *parts in engine.map(_draw, blocks):
            made[start] = tuple(parts)
            tracker.advance(len(parts[1]))
    columns = list(zip(*(made[block.start] for block in blocks), strict=True))
    told, recoloured, turned = ([item for part in c for item in part] for c in columns[1:])
    return ClipPairs(
        pixels=np.concatenate(columns[0]), captions=told, recoloured=recoloured, turned=turned
    )


def _draw(block: _Block) -> tuple[Any, ...]:
    numbers = range(block.start, block.stop)
    pixels = np.zeros((len(numbers), block.side, block.side, 3), np.uint8)
    told, recoloured, turned = [], [], []
    for at, n in enumerate(numbers):
        scene = scene_of(block.seed, n)
        size = (block.side, block.side)
        painted = paint(shrunk(scene, _SMALL) if block.small else scene)
        pixels[at] = np.asarray(painted.resize(size, Image.Resampling.BICUBIC))
        told.append(tuple(_told(scene, block.seed, n, k) for k in range(block.captions)))
        recoloured.append(_wrong(scene, _recoloured, block.seed, n))
        turned.append(_wrong(scene, _turned, block.seed, n))
    return block.start, pixels, told, recoloured, turned


def shrunk(scene: Scene, short: int) -> Scene:
    """The scene in a picture of another size, whose shorter side has `short` pixels."""
    share = short / min(scene.width, scene.height)

    def scaled(box: Box) -> Box:
        left, top, width, height = (share * part for part in box)
        return left, top, width, height

    return replace(
        scene,
        width=round(scene.width * share),
        height=round(scene.height * share),
        placed=tuple(replace(placed, box=scaled(placed.box)) for placed in scene.placed),
        board=replace(scene.board, box=scaled(scene.board.box)) if scene.board else None,
    )


def _told(scene: Scene, seed: int, n: int, which: int) -> str:
    return caption(scene, np.random.default_rng([seed, n, _TOLD, which]))


def _wrong(
    scene: Scene, change: Callable[[Scene, str], Scene | None], seed: int, n: int
) -> str | None:
    """What would have been said of the changed scene, word for word; null where no word changes."""
    true = _told(scene, seed, n, 0)
    changed = change(scene, true)
    said = _told(changed, seed, n, 0) if changed is not None else true
    return said if sorted(_words(said)) == sorted(_words(true)) and said != true else None


def _words(text: str) -> list[str]:
    """Words in lower case, articles aside."""
    return [word for word in text.lower().split() if word not in ("a", "an")]


def _recoloured(scene: Scene, true: str) -> Scene | None:
    """The first two things in each other's colour."""
    if len(scene.groups) != 2 or scene.groups[0].colour == scene.groups[1].colour:
        return None
    one, two = scene.groups
    if not all(names_in(true, group.colour) for group in scene.groups):
        return None
    return replace(scene, groups=(replace(one, colour=two.colour), replace(two, colour=one.colour)))


def _turned(scene: Scene, true: str) -> Scene | None:
    """The two things in each other's place."""
    one, *others = scene.groups
    if scene.relation not in ("left", "above", "on") or len(others) != 1:
        return None
    if "next to" in true or "," in true:  # said without telling which side; a list of key words
        return None
    if one.thing == others[0].thing or not all(names_in(true, g.thing) for g in scene.groups):
        return None
    return replace(scene, groups=(others[0], one))
