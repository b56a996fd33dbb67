"""A drawing as data: coloured shapes on a field of 100 by 100, read from a small language.

One shape a line (or after a semicolon): command, colour, numbers. x grows right, y down. A line
that starts with a number continues the one before.

    o C cx cy rx [ry]        ellipse             p C x y x y ...    polygon
    b C x0 y0 x1 y1 [r]      (rounded) box       s C x y x y ...    smooth closed curve
    f C cx cy rx ry a0 a1    filled arc, closed by its chord; degrees, clockwise from the right
    l C w x y x y ...        stroke of width w   c C w x y x y ...  smooth stroke
    a C w cx cy rx ry a0 a1  stroke along an arc

A point given twice makes a corner in a smooth curve. `o|` draws the shape and its mirror image
about x = 50, `o*8` eight copies turned about (50, 50). Colours are letters of `palette.INKS`: `m`
is the object's own colour, `d` and `l` its darker and lighter shade; `m-` leaves out the outline.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

_FIELD = 100.0
_CURVE_STEPS = 6
_ARC_DEGREES = 12.0
_CONTINUED = re.compile(r"\n\s*(?=[-\d])")


@dataclass(frozen=True)
class Shape:
    """A filled area, or a stroke where `width` is not 0."""

    points: Points
    """(n, 2), x and y."""
    ink: str
    """Letter of `palette.INKS`."""
    outlined: bool
    width: float
    """Of a stroke, in the units of the field."""


@dataclass(frozen=True)
class Drawing:
    """Shapes in painting order; the first lies at the bottom."""

    shapes: tuple[Shape, ...]

    @cached_property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is painted, without outlines."""
        low = np.min([s.points.min(axis=0) - s.width / 2 for s in self.shapes], axis=0)
        high = np.max([s.points.max(axis=0) + s.width / 2 for s in self.shapes], axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def aspect(self) -> float:
        """Width over height of the extent."""
        left, top, right, bottom = self.extent
        return (right - left) / (bottom - top)

    def turned(self, degrees: float, mirrored: bool) -> "Drawing":
        """The drawing mirrored left to right, then turned clockwise about its middle."""
        angle = math.radians(degrees)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        if mirrored:
            turn = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn
        middle = _FIELD / 2
        return Drawing(
            tuple(replace(s, points=(s.points - middle) @ turn + middle) for s in self.shapes)
        )


@cache
def parse(text: str) -> Drawing:
    """The drawing that `text` describes. Raises ValueError for a line that means nothing."""
    shapes: list[Shape] = []
    for line in _CONTINUED.sub(" ", text).replace(";", "\n").splitlines():
        words = line.split()
        if words:
            try:
                shapes.extend(_copies(words[0], words[1], [float(w) for w in words[2:]]))
            except (KeyError, ValueError, IndexError) as error:
                raise ValueError(f"not a shape: {line.strip()!r}") from error
    if not shapes:
        raise ValueError("a drawing needs a shape")
    return Drawing(tuple(shapes))


def _copies(command: str, colour: str, numbers: list[float]) -> list[Shape]:
    kind, how = command[0], command[1:]
    points, width = _POINTS[kind](numbers)
    shape = Shape(points, colour[0], not colour.endswith("-"), width)
    if how == "|":
        mirror = points * [-1.0, 1.0] + [_FIELD, 0.0]
        return [shape, replace(shape, points=mirror)]
    if how.startswith("*"):
        turns = int(how[1:])
        one = Drawing((shape,))
        return [one.turned(360.0 * n / turns, False).shapes[0] for n in range(turns)]
    if how:
        raise ValueError(how)
    return [shape]


def _pairs(numbers: list[float]) -> Points:
    return np.array(numbers, np.float64).reshape(-1, 2)


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> Points:
    steps = max(2, math.ceil(abs(stop - start) / _ARC_DEGREES))
    angles = np.radians(np.linspace(start, stop, steps + 1))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def _smooth(points: Points, closed: bool) -> Points:
    """Uniform Catmull-Rom through `points` (Catmull and Rom, 1974); equal neighbours: a corner."""
    size = len(points)
    t = (np.arange(_CURVE_STEPS) / _CURVE_STEPS)[:, None]
    parts = []
    for here in range(size if closed else size - 1):
        steps = [
            (here + n) % size if closed else min(max(here + n, 0), size - 1) for n in range(-1, 3)
        ]
        p0, p1, p2, p3 = points[steps]
        if np.array_equal(p1, p2):
            continue
        curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        parts.append((curve + (3 * p1 - p0 - 3 * p2 + p3) * t**3) / 2)
    if not closed:
        parts.append(points[-1:])
    return np.concatenate(parts)


def _ellipse(n: list[float]) -> tuple[Points, float]:
    cx, cy, rx = n[:3]
    return _arc(cx, cy, rx, n[3] if len(n) > 3 else rx, 0, 360)[:-1], 0.0


def _box(n: list[float]) -> tuple[Points, float]:
    x0, y0, x1, y1 = n[:4]
    r = min(n[4] if len(n) > 4 else 0.0, (x1 - x0) / 2, (y1 - y0) / 2)
    if r <= 0:
        return _pairs([x0, y0, x1, y0, x1, y1, x0, y1]), 0.0
    corners = [
        (x1 - r, y0 + r, -90),
        (x1 - r, y1 - r, 0),
        (x0 + r, y1 - r, 90),
        (x0 + r, y0 + r, 180),
    ]
    return np.concatenate([_arc(cx, cy, r, r, a, a + 90) for cx, cy, a in corners]), 0.0


_POINTS: dict[str, Callable[[list[float]], tuple[Points, float]]] = {
    "o": _ellipse,
    "b": _box,
    "p": lambda n: (_pairs(n), 0.0),
    "s": lambda n: (_smooth(_pairs(n), closed=True), 0.0),
    "f": lambda n: (_arc(n[0], n[1], n[2], n[3], n[4], n[5]), 0.0),
    "l": lambda n: (_pairs(n[1:]), n[0]),
    "c": lambda n: (_smooth(_pairs(n[1:]), closed=False), n[0]),
    "a": lambda n: (_arc(n[1], n[2], n[3], n[4], n[5], n[6]), n[0]),
}
"""Points of each command, and the width of a stroke."""
