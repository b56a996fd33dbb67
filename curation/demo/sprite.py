"""One drawing painted at a size: anti-aliased, outlined, shaded, on a transparent ground."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from curation.demo.drawing import Drawing, Points, Shape
from curation.demo.palette import Rgb, edge, inks

_OUTLINE = 0.016
"""Width of outlines as a share of the longer side."""

_ROUND_FROM = 4.0
"""Strokes at least this wide, in painted pixels, get round ends and an outline."""


def sprite(drawing: Drawing, main: Rgb, width: int, height: int) -> Image.Image:
    """RGBA; the drawing's extent fills `width` by `height` pixels in the middle of it.

    Around them is the same transparent margin on every side, so that outlines are not cut.
    """
    longer = max(width, height)
    margin = 2 + math.ceil(longer * _OUTLINE)
    detail = 3 if longer < 120 else 2
    left, top, right, bottom = drawing.extent
    scale = np.array([width / (right - left), height / (bottom - top)]) * detail
    origin = np.array([left, top])
    size = ((width + 2 * margin) * detail, (height + 2 * margin) * detail)
    image = Image.new("RGBA", size, (*edge(main), 0))
    brush = _Brush(ImageDraw.Draw(image), inks(main), longer * detail * _OUTLINE)
    for shape in drawing.shapes:
        points = (shape.points - origin) * scale + margin * detail
        brush.paint(shape, points, shape.width * float(scale.mean()))
    return _shaded(image.reduce(detail))


class _Brush:
    """Paints shapes whose points are already in pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw, colours: dict[str, Rgb], outline: float) -> None:
        self._draw = draw
        self._colours = colours
        self._outline = outline

    def paint(self, shape: Shape, points: Points, width: float) -> None:
        ink = self._colours[shape.ink]
        line = max(1, round(self._outline))
        path = points.ravel().tolist()
        if not width:
            self._draw.polygon(path, ink)
            if shape.outlined:
                self._draw.line([*path, *path[:2]], edge(ink), line)
                self._round(points, line, edge(ink))
            return
        wide = max(1, round(width))
        if shape.outlined and width >= _ROUND_FROM * max(1.0, self._outline / 2):
            self._stroke(points, path, wide + 2 * line, edge(ink))
        self._stroke(points, path, wide, ink)

    def _stroke(self, points: Points, path: list[float], width: int, ink: Rgb) -> None:
        self._draw.line(path, ink, width)
        self._round(points, width, ink)

    def _round(self, points: Points, width: int, ink: Rgb) -> None:
        """Discs on the points: round joints and ends."""
        if width < _ROUND_FROM:
            return
        radius = width / 2 - 0.5
        for x, y in points.tolist():
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), ink)


@lru_cache(maxsize=1)
def _light() -> Image.Image:
    """Brightness from the upper left (full) to the lower right (four fifths)."""
    ramp = np.add.outer(np.linspace(0, 1, 64), np.linspace(0, 1, 64) * 0.5) / 1.5
    return Image.fromarray(np.rint(255 - 52 * ramp).astype(np.uint8))


def _shaded(image: Image.Image) -> Image.Image:
    light = _light().resize(image.size, Image.Resampling.BILINEAR)
    alpha = image.getchannel("A")
    colour = ImageChops.multiply(image.convert("RGB"), Image.merge("RGB", (light, light, light)))
    colour.putalpha(alpha)
    return colour
