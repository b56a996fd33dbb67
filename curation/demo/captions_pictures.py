"""Pictures of scenes at the size that the small captioner sees them, drawn by workers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation.core.progress import SILENT, Progress
from curation.demo.clip_pairs import shrunk
from curation.demo.paint import paint
from curation.demo.pair import scene_of
from curation.engines.local import LocalEngine
from curation.models.glm4v.vision_input import VisionSettings

VISION = VisionSettings(image_min_pixels=2 * 84 * 112, image_max_pixels=2 * 112 * 140)
"""12 to 20 tokens a picture: 112 x 112 pixels, or 140 x 84, or what else keeps its shape."""

Pixels = npt.NDArray[np.uint8]

_BLOCK = 200
_SMALL = 160
"""Shorter side, in pixels, that most pictures for training are painted at: it takes a third of the
time. One in four is painted as large as the demo's."""


@dataclass(frozen=True)
class _Block:
    seed: int
    start: int
    stop: int
    small: bool


def draw_pictures(
    seed: int, count: int, engine: LocalEngine, *, small: bool, progress: Progress = SILENT
) -> list[Pixels]:
    """Pictures of scenes 0 to `count` of a seed, (height, width, 3), the same with any workers."""
    blocks = [
        _Block(seed, start, min(start + _BLOCK, count), small) for start in range(0, count, _BLOCK)
    ]
    made: dict[int, list[Pixels]] = {}
    with progress.track("draw", count, "pictures") as tracker:
        for start, pictures in engine.map(_draw, blocks):
            made[start] = pictures
            tracker.advance(len(pictures))
    return [picture for block in blocks for picture in made[block.start]]


def _draw(block: _Block) -> tuple[int, list[Pixels]]:
    return block.start, list(_drawn(block))


def _drawn(block: _Block) -> Iterator[Pixels]:
    for n in range(block.start, block.stop):
        scene = scene_of(block.seed, n)
        painted = paint(shrunk(scene, _SMALL) if block.small and n % 4 else scene)
        _, tall, wide = VISION.image_grid(scene.width, scene.height)
        size = (wide * VISION.patch_size, tall * VISION.patch_size)
        yield np.asarray(painted.resize(size, Image.Resampling.BICUBIC))
