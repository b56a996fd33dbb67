"""Brushes that the places of a scene are painted with, and the light and grain of a photograph."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from curation.demo.palette import Rgb

Rng = np.random.Generator


class Canvas:
    """A picture under way, with the brushes that places share."""

    def __init__(self, size: tuple[int, int], horizon: float, colours: tuple[str, ...], rng: Rng):
        self.width, self.height = size
        self.horizon = round(horizon * self.height)
        self.colours = colours
        self.rng = rng
        self.image = Image.new("RGB", size)
        self.draw = ImageDraw.Draw(self.image)

    @property
    def unit(self) -> int:
        """A hundredth of the shorter side, at least 2 pixels."""
        return max(2, min(self.width, self.height) // 100)

    def mixed(self, low: Rgb, high: Rgb) -> Rgb:
        """A colour somewhere between two, each channel near the same share."""
        share = self.rng.uniform() + self.rng.uniform(-0.08, 0.08, 3)
        value = np.clip(np.array(low) + (np.array(high) - np.array(low)) * share, 0, 255)
        r, g, b = np.rint(value).astype(int).tolist()
        return r, g, b

    def fade(self, top: int, bottom: int, upper: Rgb, lower: Rgb) -> None:
        """A vertical gradient between two heights."""
        if bottom <= top:
            return
        ramp = np.linspace(upper, lower, 16).reshape(16, 1, 3)
        strip = Image.fromarray(np.rint(ramp).astype(np.uint8))
        size = (self.width, bottom - top)
        self.image.paste(strip.resize(size, Image.Resampling.BILINEAR), (0, top))

    def wash(self, top: int, bottom: int, upper: tuple[Rgb, Rgb], lower: tuple[Rgb, Rgb]) -> None:
        """A gradient whose ends are each mixed from two colours."""
        self.fade(top, bottom, self.mixed(*upper), self.mixed(*lower))

    def ridge(self, base: int, height: float, colour: Rgb, peaks: int, *, sharp: bool) -> None:
        """Hills or mountains that stand on `base`, up to `height` pixels high."""
        tops = self.rng.uniform(0.15, 1.0, peaks + 2)
        across = np.linspace(0, peaks + 1, 60 if not sharp else 2 * peaks + 3)
        if sharp:
            line = np.where(np.arange(len(across)) % 2, tops[across.astype(int)], 0.15)
        else:
            cell, part = across.astype(int), across % 1
            smooth = part * part * (3 - 2 * part)
            after = tops[np.minimum(cell + 1, peaks + 1)]
            line = tops[cell] * (1 - smooth) + after * smooth
        xs = np.linspace(-0.05, 1.05, len(across)) * self.width
        points = [(float(x), float(base - height * y)) for x, y in zip(xs, line, strict=True)]
        self.draw.polygon([*points, (xs[-1], base), (xs[0], base)], colour)

    def specks(self, count: int, top: int, colours: list[Rgb], reach: float) -> None:
        """Dots below `top`, up to `reach` units wide."""
        xs = self.rng.uniform(0, self.width, count)
        ys = self.rng.uniform(top, self.height, count)
        sizes = self.rng.uniform(0.3, reach, count) * self.unit / 2
        for n, (x, y, r) in enumerate(zip(xs.tolist(), ys.tolist(), sizes.tolist(), strict=True)):
            self.draw.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), colours[n % len(colours)])

    def tufts(self, count: int, top: int, colours: list[Rgb]) -> None:
        """Blades of grass, longer towards the front."""
        xs = self.rng.uniform(0, self.width, count)
        ys = top + (self.height - top) * self.rng.uniform(0, 1, count)
        lean = self.rng.uniform(-1, 1, count)
        for n, (x, y, by) in enumerate(zip(xs.tolist(), ys.tolist(), lean.tolist(), strict=True)):
            tall = self.unit * (1.5 + 4 * (y - top) / max(1, self.height - top))
            self.draw.line((x, y, x + by * tall / 2, y - tall), colours[n % len(colours)], 2)

    def clouds(self, count: int, base: int) -> None:
        """White clouds above `base`."""
        for _ in range(count):
            x = self.rng.uniform(0, self.width)
            y = self.rng.uniform(0.05, 0.75) * base
            wide = self.rng.uniform(0.05, 0.12) * self.width
            tone = int(self.rng.integers(236, 256))
            for part in self.rng.uniform(-1, 1, 5).tolist():
                r = wide * (0.75 - 0.35 * abs(part))
                box = (
                    x + part * wide * 1.2 - r,
                    y - r * 0.5,
                    x + part * wide * 1.2 + r,
                    y + r * 0.5,
                )
                self.draw.ellipse(box, (tone, tone, min(255, tone + 4)))

    def sky(self) -> None:
        """A day or an evening sky down to the horizon."""
        if self.rng.uniform() < 0.8:
            top = self.mixed((60, 130, 220), (140, 190, 240))
            self.fade(0, self.horizon, top, self.mixed((190, 220, 245), (230, 240, 250)))
            self.clouds(int(self.rng.integers(0, 5)), self.horizon)
        else:
            top = self.mixed((90, 80, 150), (200, 120, 130))
            self.fade(0, self.horizon, top, self.mixed((250, 190, 120), (255, 220, 180)))


def lit(image: Image.Image, rng: Rng) -> Image.Image:
    """The picture under soft patches of light and shade, up to a fifth darker."""
    patches = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8))
    shade = patches.resize(image.size, Image.Resampling.BICUBIC)
    dark = image.point([round(v * 0.8) for v in range(256)] * 3)
    return Image.composite(image, dark, shade)


@lru_cache(maxsize=1)
def _tile() -> npt.NDArray[np.int16]:
    noise = np.random.default_rng(0).standard_normal((1024, 1024))
    return np.rint(noise * 16).astype(np.int16)


def grained(image: Image.Image, strength: float, rng: Rng) -> Image.Image:
    """The picture with a sensor's noise, `strength` grey levels of standard deviation."""
    dy, dx = rng.integers(0, 1024, 2).tolist()
    rows = (np.arange(image.height) + dy) % 1024
    columns = (np.arange(image.width) + dx) % 1024
    noise = (_tile()[rows][:, columns] * round(strength * 16)) >> 8
    noisy = np.asarray(image).astype(np.int16) + noise[:, :, None]
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
