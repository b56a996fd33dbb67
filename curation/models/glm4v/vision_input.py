"""How pictures become patches: sizes, frame times and pixel layout, as transformers' Glm4v does.

Sizes come from width, height and timestamps alone, so a plan needs no pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Grid = tuple[int, int, int]
"""Patches in time, height and width."""

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
_MAX_ASPECT: Final = 200
_MAX_SIDE: Final = 1 << 31
"""Pixels; no image format holds more."""
_MOST_PIXELS: Final = 1 << 30
"""Of a budget: 684,784 tokens, more than any sequence, and still little memory."""
_MOST_FRAMES: Final = 1 << 20
_MAX_SECONDS: Final = 1e9
"""Thirty years: a time beyond is no time."""
_EPSILON: Final = 1e-6
"""Seconds by which a frame may come early: timestamps are sums of rounded durations."""


@dataclass(frozen=True, kw_only=True)
class VisionSettings:
    """Patch sizes, pixel budgets and frame rate; the defaults are GLM-4.1V's and 4.5V's.

    A budget counts pixels over frames, an image being two frames (the temporal patch).
    """

    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    image_min_pixels: int = 112 * 112
    image_max_pixels: int = 28 * 28 * 15_000
    """7,500 tokens an image."""
    video_min_pixels: int = 112 * 112
    video_max_pixels: int = 28 * 28 * 2 * 30_000
    """30,000 tokens a video."""
    fps: float = 2.0
    """Frames a second taken of a video."""
    max_seconds: int = 300
    """Of longer videos `max_seconds * fps` frames are taken, evenly spread."""

    def __post_init__(self) -> None:
        if not 0 < self.fps < math.inf or self.max_seconds < 1:
            raise ValueError(f"fps and max_seconds must be above 0: {self.fps}, {self.max_seconds}")
        if self.max_seconds > _MOST_FRAMES or self.fps * self.max_seconds > _MOST_FRAMES:
            raise ValueError(f"fps times max_seconds must be at most {_MOST_FRAMES:,} frames")
        for kind in ("image", "video"):
            low, high = getattr(self, f"{kind}_min_pixels"), getattr(self, f"{kind}_max_pixels")
            if not 0 < low <= high:
                raise ValueError(f"{kind}: 0 < min_pixels <= max_pixels, got {low} and {high}")
            if high > _MOST_PIXELS:
                raise ValueError(f"{kind}_max_pixels must be at most {_MOST_PIXELS:,}, got {high}")

    @property
    def patch_values(self) -> int:
        """Numbers in one patch."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @property
    def factor(self) -> int:
        """What sides are multiples of, in pixels: a merged patch."""
        return self.patch_size * self.merge_size

    def image_grid(self, width: int, height: int) -> Grid:
        """Patches of an image of that size in pixels. Raises ValueError for a shape too long."""
        return self._grid(self.temporal_patch_size, width, height, image=True)

    def video_grid(self, frames: int, width: int, height: int) -> Grid:
        """Patches of so many sampled frames. Raises ValueError for a shape too long."""
        return self._grid(frames + frames % self.temporal_patch_size, width, height, image=False)

    def _grid(self, frames: int, width: int, height: int, *, image: bool) -> Grid:
        low = self.image_min_pixels if image else self.video_min_pixels
        high = self.image_max_pixels if image else self.video_max_pixels
        for side in (width, height):
            if not (isinstance(side, int) and 1 <= side < _MAX_SIDE):
                raise ValueError(f"no size: {width!r:.40} x {height!r:.40}")
        tall, wide = _resized(frames, height, width, self, low, high)
        return (
            frames // self.temporal_patch_size,
            tall // self.patch_size,
            wide // self.patch_size,
        )

    def tokens(self, grid: Grid) -> int:
        """Merged patches: positions that a medium takes in the sequence."""
        return math.prod(grid) // self.merge_size**2


def _resized(
    frames: int, height: int, width: int, settings: VisionSettings, low: int, high: int
) -> tuple[int, int]:
    """Height and width in pixels after resizing (`smart_resize` of transformers' Glm4v)."""
    factor = settings.factor
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    if max(height, width) / min(height, width) > _MAX_ASPECT:
        raise ValueError(f"sides of {width} x {height} differ more than {_MAX_ASPECT} times")
    tall, wide = (round(side / factor) * factor for side in (height, width))
    temporal = settings.temporal_patch_size
    counted = round(frames / temporal) * temporal * tall * wide
    if counted > high:
        beta = math.sqrt(frames * height * width / high)
        return tuple(  # type: ignore[return-value]
            max(factor, math.floor(side / beta / factor) * factor) for side in (height, width)
        )
    if counted < low:
        beta = math.sqrt(low / (frames * height * width))
        tall, wide = (math.ceil(side * beta / factor) * factor for side in (height, width))
    return tall, wide


def frame_times(timestamps: Sequence[float], settings: VisionSettings) -> list[float]:
    """Which of a video's frames are shown, by their time in seconds; an even number of them.

    The first frame at or after every 1/fps second. Frames that were sampled at that rate already
    are all taken. An odd last frame is shown twice.
    """
    times = np.asarray(timestamps, np.float64)
    if times.ndim != 1 or not len(times):
        raise ValueError("a video without timestamps")
    if not (np.abs(times) < _MAX_SECONDS).all() or (np.diff(times) < 0).any():
        raise ValueError("timestamps that do not ascend")
    gap = float(np.median(np.diff(times))) if len(times) > 1 else 1 / settings.fps
    duration = float(times[-1] - times[0]) + gap
    most = int(settings.max_seconds * settings.fps)
    if duration <= settings.max_seconds + _EPSILON:
        count = max(1, math.floor(duration * settings.fps + _EPSILON))
        wanted = np.arange(count) / settings.fps
    elif most >= len(times):
        wanted = times - times[0]
    else:
        wanted = np.linspace(0, duration, most)
    found = np.searchsorted(times - times[0] + _EPSILON, wanted)
    chosen = np.unique(np.minimum(found, len(times) - 1))
    shown: list[float] = times[chosen].tolist()
    return shown + shown[-1:] * (len(shown) % settings.temporal_patch_size)


def patches(frames: npt.NDArray[np.uint8], grid: Grid, settings: VisionSettings) -> "Tensor":
    """Patches of an image (one frame) or a video, float32 (t*h*w, 3*temporal*patch*patch).

    `frames` is (n, height, width, 3), n being 1 or t * temporal_patch_size. Resized bicubically
    with antialiasing in 8 bits, normalised as CLIP is; patches that are merged later lie together.
    """
    import torch
    from torch.nn import functional

    size, temporal, merge = settings.patch_size, settings.temporal_patch_size, settings.merge_size
    time, tall, wide = grid
    assert len(frames) in (1, time * temporal), (len(frames), grid)
    writable = np.require(frames, requirements=["C", "W"])  # torch warns of other arrays
    shown = torch.from_numpy(writable).permute(0, 3, 1, 2).contiguous()
    if shown.shape[-2:] != (tall * size, wide * size):
        shown = functional.interpolate(
            shown, (tall * size, wide * size), mode="bicubic", antialias=True
        )
    mean = torch.tensor(MEAN).mul_(255.0).view(3, 1, 1)
    std = torch.tensor(STD).mul_(255.0).view(3, 1, 1)
    shown = shown.float().sub_(mean).div_(std)
    if len(frames) == 1:
        shown = shown.expand(time * temporal, -1, -1, -1)
    cut = shown.reshape(
        time, temporal, 3, tall // merge, merge, size, wide // merge, merge, size
    ).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return cut.reshape(time * tall * wide, settings.patch_values)
