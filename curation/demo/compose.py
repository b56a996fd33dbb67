"""Draws a scene: a layout, things by popularity, colours that they come in, a place that suits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curation.demo.backdrop import PLACES, is_flat
from curation.demo.canvas import Rng
from curation.demo.palette import COLOURS
from curation.demo.scene import Board, Box, Group, Placed, Scene
from curation.demo.things import POPULARITY, THINGS, popularity
from curation.demo.words import draw_words

ZIPF = 1.0
"""Exponent of how often things occur: rank r has a share in proportion to 1 / r."""

_ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9, 3 / 4, 2 / 3, 5 / 4, 1.91, 9 / 16)
_ASPECT_SHARES = (0.18, 0.24, 0.2, 0.08, 0.1, 0.08, 0.05, 0.04, 0.03)

_BROAD = ("pair", "several")
"""Layouts side by side: never upright, where each thing would be small."""

_HOMES = {
    "animal": ("meadow", "forest", "desert", "snow", "mountains", "plain", "beach"),
    "bird or sea animal": ("water", "meadow", "beach", "underwater", "forest", "plain"),
    "fruit": ("table", "plain", "checks", "table", "dots", "meadow"),
    "food": ("table", "plain", "checks", "table", "stripes", "room"),
    "vehicle": ("street", "street", "mountains", "desert", "snow", "night", "water"),
    "furniture": ("room", "room", "plain", "bricks", "room"),
    "household": ("room", "table", "table", "plain", "bricks", "checks"),
    "tool": ("table", "bricks", "plain", "room", "meadow"),
    "instrument": ("room", "plain", "stripes", "bricks", "night"),
    "device": ("table", "room", "plain", "dots"),
    "clothes": ("plain", "dots", "stripes", "room", "bricks"),
    "play": ("room", "meadow", "beach", "plain", "dots", "snow"),
    "building": ("meadow", "mountains", "snow", "street", "night", "desert", "beach"),
    "nature": ("meadow", "mountains", "forest", "night", "beach", "snow"),
    "shape": ("plain", "stripes", "dots", "checks"),
    "goods": ("table", "room", "plain", "beach", "street", "dots"),
}
_SPACEFARING = ("rocket", "planet", "satellite", "moon", "sun", "star")


@lru_cache(maxsize=1)
def _cumulative() -> npt.NDArray[np.float64]:
    return np.cumsum(popularity(ZIPF))


def _draw_thing(rng: Rng, taken: tuple[str, ...] = (), *, resting: bool = False) -> str:
    """A name by popularity, none of `taken`; nothing that flies where it is to be `resting`."""
    while True:
        at = min(int(np.searchsorted(_cumulative(), rng.uniform())), len(POPULARITY) - 1)
        name = POPULARITY[at]
        if name not in taken and not (resting and THINGS[name].floats):
            return name


def _colour(rng: Rng, name: str) -> str:
    """One of its usual colours; now and then another, where it comes in several."""
    usual = THINGS[name].colours
    if not usual or (len(usual) > 1 and rng.uniform() < 0.15):
        usual = tuple(COLOURS)
    return str(rng.choice(usual))


def compose(rng: Rng) -> Scene:
    """A scene, complete; the same generator state gives the same scene."""
    layout = str(rng.choice(list(_LAYOUTS), p=[share for share, _ in _LAYOUTS.values()]))
    short = round(220 * (520 / 220) ** rng.uniform())
    aspect = float(rng.choice(_ASPECTS, p=_ASPECT_SHARES))
    long = min(900, round(short * max(aspect, 1 / aspect)))
    upright = aspect < 1 and layout not in _BROAD
    size = (short, long) if upright else (long, short)
    return _LAYOUTS[layout][1](rng, size)


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """A place before anything stands in it."""

    size: tuple[int, int]
    place: str
    colours: tuple[str, ...]
    horizon: float

    def scene(
        self, rng: Rng, groups: tuple[Group, ...], placed: list[Placed], relation: str = ""
    ) -> Scene:
        return Scene(
            width=self.size[0],
            height=self.size[1],
            place=self.place,
            place_colours=self.colours,
            horizon=self.horizon,
            groups=groups,
            relation=relation,
            placed=tuple(placed),
            seed=int(rng.integers(0, 1 << 62)),
        )

    def floor(self, rng: Rng, *, floats: bool) -> float:
        """Height at which things of one row stand (their lower edge), in pixels."""
        height = self.size[1]
        if is_flat(self.place):
            return height * rng.uniform(0.86, 0.94)
        if floats:
            return height * rng.uniform(0.45, 0.6)
        return height * rng.uniform(max(self.horizon + 0.14, 0.76), 0.95)


def _stage(
    rng: Rng, size: tuple[int, int], groups: tuple[Group, ...], flat: bool = False
) -> _Stage:
    first = THINGS[groups[0].thing]
    kinds = _HOMES[first.category]
    if first.name in _SPACEFARING and rng.uniform() < 0.4:
        kinds = ("space", "night")
    elif rng.uniform() < 0.12:
        kinds = tuple(PLACES)
    if flat:
        kinds = tuple(k for k in kinds if is_flat(k)) or ("plain", "dots", "stripes")
    place = str(rng.choice(kinds))
    taken = {group.colour for group in groups}
    free = [colour for colour in COLOURS if colour not in taken]
    wanted = {"plain": 1, "stripes": 2, "dots": 2, "checks": 2}.get(place, 0)
    colours = tuple(rng.choice(free, wanted, replace=False).tolist())
    low, high = PLACES[place].horizon
    return _Stage(size=size, place=place, colours=colours, horizon=float(rng.uniform(low, high)))


def _fit(
    rng: Rng,
    group: int,
    name: str,
    cell: Box,
    fill: float,
    *,
    mirror: bool | None = None,
    tilting: float = 0.35,
) -> Placed:
    """The thing as large as `fill` of the cell allows, standing on the cell's lower edge."""
    left, top, width, height = cell
    tilt = float(rng.uniform(-7, 7)) if rng.uniform() < tilting else 0.0
    mirrored = bool(rng.uniform() < 0.5) if mirror is None else mirror
    aspect = float(np.clip(THINGS[name].drawing.turned(tilt, mirrored).aspect, 0.25, 4.0))
    wide = min(width * fill, height * fill * aspect)
    slack = (width - wide) / 2
    x = left + slack + rng.uniform(-0.7, 0.7) * slack
    return Placed(
        group=group,
        box=(float(x), float(top + height - wide / aspect), float(wide), float(wide / aspect)),
        tilt=tilt,
        mirrored=mirrored,
    )


def _single(rng: Rng, size: tuple[int, int]) -> Scene:
    name = _draw_thing(rng)
    groups = (Group(thing=name, colour=_colour(rng, name)),)
    stage = _stage(rng, size, groups)
    floor = stage.floor(rng, floats=THINGS[name].floats)
    width, height = size
    top = height * 0.05
    cell = (width * 0.04, top, width * 0.92, floor - top)
    return stage.scene(rng, groups, [_fit(rng, 0, name, cell, rng.uniform(0.65, 0.98))])


def _row(rng: Rng, size: tuple[int, int], groups: tuple[Group, ...], relation: str) -> Scene:
    """Groups of one side by side, in the order of `groups`."""
    stage = _stage(rng, size, groups)
    width, height = size
    weights = np.array([{"small": 0.6, "big": 1.4}.get(g.size, 1.0) for g in groups])
    wide = weights / weights.sum() * width * 0.94
    left = width * 0.03
    ground = stage.floor(rng, floats=False)
    placed = []
    for n, group in enumerate(groups):
        floats = THINGS[group.thing].floats
        floor = (
            stage.floor(rng, floats=True) if floats else ground + height * rng.uniform(-0.03, 0.02)
        )
        tall = (floor - height * 0.05) * {"small": 0.5}.get(group.size, 1.0)
        cell = (left, floor - tall, wide[n], tall)
        placed.append(_fit(rng, n, group.thing, cell, rng.uniform(0.8, 0.95)))
        left += wide[n]
    return stage.scene(rng, groups, placed, relation)


def _pair(rng: Rng, size: tuple[int, int]) -> Scene:
    if rng.uniform() < 0.2:
        name = _draw_thing(rng)
        colours = THINGS[name].colours if len(THINGS[name].colours) > 1 else tuple(COLOURS)
        one, two = rng.choice(colours, 2, replace=False).tolist()
        sizes = ["small", "big"] if rng.uniform() < 0.5 else ["big", "small"]
        groups = tuple(
            Group(thing=name, colour=c, size=s) for c, s in zip((one, two), sizes, strict=True)
        )
    else:
        one = _draw_thing(rng)
        two = _draw_thing(rng, (one,))
        groups = tuple(Group(thing=n, colour=_colour(rng, n)) for n in (one, two))
    return _row(rng, size, groups, str(rng.choice(["left", "beside"])))


def _several(rng: Rng, size: tuple[int, int]) -> Scene:
    names: tuple[str, ...] = ()
    for _ in range(4 if size[0] >= 1.4 * size[1] and rng.uniform() < 0.4 else 3):
        names = (*names, _draw_thing(rng, names))
    groups = tuple(Group(thing=n, colour=_colour(rng, n)) for n in names)
    relation = "between" if len(groups) == 3 and rng.uniform() < 0.4 else "beside"
    return _row(rng, size, groups, relation)


def _above(rng: Rng, size: tuple[int, int]) -> Scene:
    one = _draw_thing(rng)
    two = _draw_thing(rng, (one,), resting=True)
    groups = tuple(Group(thing=n, colour=_colour(rng, n)) for n in (one, two))
    stage = _stage(rng, size, groups, flat=not THINGS[one].floats)
    width, height = size
    middle = height * 0.47
    cells = [
        (width * 0.05, height * 0.04, width * 0.9, middle - height * 0.04),
        (width * 0.05, middle + height * 0.02, width * 0.9, height * 0.44),
    ]
    placed = [_fit(rng, n, g.thing, cells[n], 0.92) for n, g in enumerate(groups)]
    centre = placed[1].box[0] + placed[1].box[2] / 2 - placed[0].box[2] / 2
    x = float(np.clip(centre, width * 0.03, width * 0.97 - placed[0].box[2]))
    placed[0] = replace(placed[0], box=(x, *placed[0].box[1:]))
    return stage.scene(rng, groups, placed, "above")


_SURFACES = tuple(name for name in POPULARITY if THINGS[name].top is not None)


def _on(rng: Rng, size: tuple[int, int]) -> Scene:
    base = str(rng.choice(_SURFACES))
    one = _draw_thing(rng, (base,), resting=True)
    groups = tuple(Group(thing=n, colour=_colour(rng, n)) for n in (one, base))
    stage = _stage(rng, size, tuple(reversed(groups)))
    width, height = size
    floor = stage.floor(rng, floats=False)
    tall = floor - height * 0.04
    cell = (width * 0.06, floor - tall * 0.55, width * 0.88, tall * 0.55)
    under = _fit(rng, 1, base, cell, 1.0, mirror=False, tilting=0)
    surface = THINGS[base].top
    assert surface is not None
    y, start, stop = surface
    left, top, right, bottom = THINGS[base].drawing.extent
    bx, by, bw, bh = under.box
    level = by + (y - top) / (bottom - top) * bh
    x0, x1 = (bx + (x - left) / (right - left) * bw for x in (start, stop))
    above = (x0, height * 0.04, x1 - x0, level - height * 0.04)
    upper = _fit(rng, 0, one, above, 0.97, tilting=0)
    return stage.scene(rng, groups, [under, upper], "on")


def _grid(rng: Rng, n: int, area: Box) -> list[Box]:
    """Cells of an area for `n` things, filling it row by row, the last row centred."""
    left, top, width, height = area
    columns = max(1, min(n, round(float(np.sqrt(n * width / height)))))
    rows = -(-n // columns)
    cells = []
    for at in range(n):
        row, column = divmod(at, columns)
        in_row = min(columns, n - row * columns)
        start = left + (width - in_row * width / columns) / 2
        cells.append(
            (
                start + column * width / columns,
                top + row * height / rows,
                width / columns,
                height / rows,
            )
        )
    return cells


def _counted(rng: Rng, size: tuple[int, int]) -> Scene:
    name = _draw_thing(rng)
    count = int(
        rng.choice([2, 3, 4, 5, 6, 7, 8, 9], p=[0.24, 0.24, 0.16, 0.12, 0.1, 0.06, 0.05, 0.03])
    )
    groups = (Group(thing=name, colour=_colour(rng, name), count=count),)
    stage = _stage(rng, size, groups, flat=count > 3)
    width, height = size
    floor = stage.floor(rng, floats=THINGS[name].floats)
    area = (width * 0.03, height * 0.05, width * 0.94, floor - height * 0.05)
    cells = _grid(rng, count, area) if count > 3 else _in_line(area, count)
    mirror = bool(rng.uniform() < 0.5)
    placed = [_fit(rng, 0, name, cell, rng.uniform(0.78, 0.92), mirror=mirror) for cell in cells]
    return stage.scene(rng, groups, placed)


def _in_line(area: Box, n: int) -> list[Box]:
    left, top, width, height = area
    return [(left + at * width / n, top, width / n, height) for at in range(n)]


def _two_counts(rng: Rng, size: tuple[int, int]) -> Scene:
    one = _draw_thing(rng)
    two = _draw_thing(rng, (one,))
    counts = (int(rng.integers(2, 5)), int(rng.integers(1, 4)))
    groups = tuple(
        Group(thing=n, colour=_colour(rng, n), count=c)
        for n, c in zip((one, two), counts, strict=True)
    )
    stage = _stage(rng, size, groups, flat=True)
    width, height = size
    if width >= height:
        areas = [
            (width * 0.03, height * 0.06, width * 0.45, height * 0.88),
            (width * 0.52, height * 0.06, width * 0.45, height * 0.88),
        ]
    else:
        areas = [
            (width * 0.05, height * 0.04, width * 0.9, height * 0.44),
            (width * 0.05, height * 0.52, width * 0.9, height * 0.44),
        ]
    placed = [
        _fit(rng, n, group.thing, cell, 0.88)
        for n, group in enumerate(groups)
        for cell in _grid(rng, group.count, areas[n])
    ]
    return stage.scene(rng, groups, placed, "left" if width >= height else "above")


def _with_words(rng: Rng, size: tuple[int, int]) -> Scene:
    width, height = size
    words = draw_words(rng)
    name = _draw_thing(rng)
    groups = (Group(thing=name, colour=_colour(rng, name)),)
    free = [c for c in COLOURS if c != groups[0].colour]
    kind = str(rng.choice(["sign", "banner", "card"]))
    colour = str(rng.choice(free))
    stage = _stage(rng, size, groups, flat=kind == "card")
    if kind == "banner" or height > width:
        tall = height * rng.uniform(0.2, 0.3)
        box = (width * 0.04, height * 0.04, width * 0.92, tall)
        floor = height * rng.uniform(0.86, 0.95)
        top = box[1] + tall + height * 0.04
        cell = (width * 0.06, top, width * 0.88, floor - top)
    else:
        floor = stage.floor(rng, floats=False)
        wide = width * rng.uniform(0.48, 0.56)
        tall = min(height * 0.5, wide * 0.6)
        left = rng.uniform() < 0.5
        lower = floor - height * (0.22 if kind == "sign" else 0.1)
        box = (width * 0.03 if left else width * 0.97 - wide, lower - tall, wide, tall)
        cell = (
            width * 0.03 + (wide if left else 0),
            height * 0.06,
            width * 0.92 - wide,
            floor - height * 0.06,
        )
    scene = stage.scene(rng, groups, [_fit(rng, 0, name, cell, 0.9)])
    return replace(scene, board=Board(words=words, kind=kind, colour=colour, box=box))


_LAYOUTS: dict[str, tuple[float, Callable[[Rng, tuple[int, int]], Scene]]] = {
    "single": (0.24, _single),
    "pair": (0.2, _pair),
    "several": (0.14, _several),
    "above": (0.07, _above),
    "on": (0.09, _on),
    "counted": (0.13, _counted),
    "two_counts": (0.05, _two_counts),
    "words": (0.08, _with_words),
}
"""Share and maker of each layout."""
