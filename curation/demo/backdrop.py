"""What lies behind the things of a scene: places and patterns, painted from a seed.

Every kind varies in colours, horizon, light and detail, so that two pictures of the same thing in
the same place are still two pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from curation.demo.canvas import Canvas, lit
from curation.demo.palette import Rgb, jittered


@dataclass(frozen=True, kw_only=True)
class Place:
    """A kind of backdrop."""

    horizon: tuple[float, float]
    """Where its ground begins, as shares of the height, least and most; (0, 0): no ground, things
    may lie anywhere."""
    paint: Callable[[Canvas], None]


def _plain(c: Canvas) -> None:
    first = jittered(c.rng, c.colours[0])
    share = c.rng.uniform(0.6, 0.95)
    r, g, b = (round(v * share) for v in first)
    ends = ((r, g, b), first) if c.rng.uniform() < 0.5 else (first, (r, g, b))
    c.fade(0, c.height, *ends)


def _stripes(c: Canvas) -> None:
    one, two = (jittered(c.rng, colour) for colour in c.colours)
    c.image.paste(one, (0, 0, c.width, c.height))
    wide = int(min(c.width, c.height) * c.rng.uniform(0.05, 0.14))
    slope = c.rng.choice([0.0, 0.5, 1.0, -1.0])
    if c.rng.uniform() < 0.3:
        for y in range(int(c.rng.integers(0, wide)), c.height, 2 * wide):
            c.draw.rectangle((0, y, c.width, y + wide), two)
        return
    reach = round(slope * c.height)
    start = -abs(reach) - int(c.rng.integers(0, 2 * wide))
    for x in range(start, c.width + abs(reach), 2 * wide):
        top = [(x, 0), (x + wide, 0)]
        c.draw.polygon([*top, (x + wide + reach, c.height), (x + reach, c.height)], two)


def _dots(c: Canvas) -> None:
    one, two = (jittered(c.rng, colour) for colour in c.colours)
    c.image.paste(one, (0, 0, c.width, c.height))
    step = int(min(c.width, c.height) * c.rng.uniform(0.08, 0.2))
    r = step * c.rng.uniform(0.18, 0.32)
    dx, dy = c.rng.integers(0, step, 2).tolist()
    for row, y in enumerate(range(dy - step, c.height + step, step)):
        for x in range(dx - step + row % 2 * step // 2, c.width + step, step):
            c.draw.ellipse((x - r, y - r, x + r, y + r), two)


def _checks(c: Canvas) -> None:
    one, two = (jittered(c.rng, colour) for colour in c.colours)
    c.image.paste(one, (0, 0, c.width, c.height))
    step = int(min(c.width, c.height) * c.rng.uniform(0.07, 0.2))
    dx, dy = c.rng.integers(0, 2 * step, 2).tolist()
    for row, y in enumerate(range(dy - 2 * step, c.height, step)):
        for x in range(dx - 2 * step + row % 2 * step, c.width, 2 * step):
            c.draw.rectangle((x, y, x + step - 1, y + step - 1), two)


def _bricks(c: Canvas) -> None:
    mortar = c.mixed((170, 160, 150), (215, 210, 200))
    c.image.paste(mortar, (0, 0, c.width, c.height))
    tall = max(8, int(c.height * c.rng.uniform(0.045, 0.08)))
    wide = int(tall * c.rng.uniform(2, 2.8))
    low, high = ((140, 60, 44), (190, 96, 70))
    for row, y in enumerate(range(-int(c.rng.integers(0, tall)), c.height, tall)):
        for x in range(-int(c.rng.integers(0, wide // 3)) - row % 2 * wide // 2, c.width, wide):
            c.draw.rectangle((x, y, x + wide - 3, y + tall - 3), c.mixed(low, high))


def _planks(c: Canvas, top: int, low: Rgb, high: Rgb) -> None:
    """Boards that run towards the viewer, below `top`."""
    base = c.mixed(low, high)
    c.fade(top, c.height, base, c.mixed(low, high))
    count = int(c.rng.integers(5, 10))
    middle = c.width * c.rng.uniform(0.3, 0.7)
    dark = (base[0] * 2 // 3, base[1] * 2 // 3, base[2] * 2 // 3)
    for n in range(-count, 2 * count + 1):
        x = n * c.width / count
        near = middle + (x - middle) * 1.6
        c.draw.line((x, top, near, c.height), dark, c.unit // 2 + 1)
    for _ in range(30):
        x, y = c.rng.uniform(0, c.width), c.rng.uniform(top, c.height)
        c.draw.line((x, y, x + c.rng.uniform(-4, 4), y + 8 * c.unit), dark, 1)


def _table(c: Canvas) -> None:
    c.wash(0, c.horizon, ((150, 140, 130), (235, 225, 215)), ((120, 110, 100), (225, 215, 205)))
    _planks(c, c.horizon, (110, 66, 34), (206, 152, 96))
    c.draw.rectangle((0, c.horizon, c.width, c.horizon + c.unit), (80, 50, 30))


def _room(c: Canvas) -> None:
    wall = c.mixed((170, 190, 170), (245, 225, 235))
    c.fade(0, c.horizon, wall, c.mixed((170, 170, 190), (240, 240, 225)))
    step = int(c.width * c.rng.uniform(0.05, 0.12)) + 4
    for x in range(int(c.rng.integers(0, step)), c.width, step):
        c.draw.line((x, 0, x, c.horizon), (wall[0] - 18, wall[1] - 18, wall[2] - 18), c.unit)
    _planks(c, c.horizon, (130, 80, 46), (196, 146, 100))
    c.draw.rectangle((0, c.horizon - 3 * c.unit, c.width, c.horizon), (240, 238, 232))


def _meadow(c: Canvas) -> None:
    c.sky()
    green = c.mixed((60, 130, 50), (130, 180, 80))
    if c.rng.uniform() < 0.6:
        hill = c.mixed((90, 140, 100), (130, 170, 140))
        c.ridge(c.horizon, 0.16 * c.height, hill, int(c.rng.integers(2, 6)), sharp=False)
    c.fade(c.horizon, c.height, green, c.mixed((60, 130, 50), (110, 160, 70)))
    c.tufts(140, c.horizon, [(52, 112, 44), (150, 196, 96), (84, 150, 60)])
    if c.rng.uniform() < 0.4:
        c.specks(30, c.horizon, [(250, 240, 120), (250, 250, 250), (240, 150, 180)], 2.2)


def _forest(c: Canvas) -> None:
    c.wash(0, c.horizon, ((150, 190, 170), (215, 230, 210)), ((120, 160, 120), (170, 200, 160)))
    for x in np.sort(c.rng.uniform(-0.05, 1.05, 14)).tolist():
        tall = c.horizon * c.rng.uniform(0.5, 1.05)
        wide, px = tall * c.rng.uniform(0.22, 0.34), x * c.width
        tone = c.mixed((20, 70, 40), (80, 130, 80))
        for level in (0.0, 0.28, 0.52):
            y = c.horizon - tall * level
            half = wide * (1 - level * 0.7) / 2
            c.draw.polygon([(px - half, y), (px + half, y), (px, y - tall * 0.5)], tone)
    c.wash(c.horizon, c.height, ((60, 100, 44), (96, 120, 60)), ((90, 80, 44), (120, 130, 70)))
    c.tufts(120, c.horizon, [(40, 90, 40), (120, 150, 70), (110, 90, 50)])


def _beach(c: Canvas) -> None:
    c.sky()
    sea = c.horizon + round((c.height - c.horizon) * c.rng.uniform(0.15, 0.35))
    c.wash(c.horizon, sea, ((30, 110, 170), (60, 160, 200)), ((90, 190, 210), (150, 220, 220)))
    c.wash(sea, c.height, ((222, 196, 140), (240, 220, 170)), ((206, 176, 120), (232, 206, 150)))
    c.draw.line((0, sea, c.width, sea), (250, 252, 252), 2 * c.unit)
    c.specks(160, sea, [(196, 166, 112), (246, 232, 196), (180, 150, 100)], 1.0)


def _snow(c: Canvas) -> None:
    c.wash(0, c.horizon, ((150, 170, 200), (190, 205, 225)), ((210, 220, 232), (228, 234, 242)))
    c.ridge(
        c.horizon,
        0.2 * c.height,
        c.mixed((170, 186, 206), (205, 216, 230)),
        4,
        sharp=c.rng.uniform() < 0.5,
    )
    c.fade(c.horizon, c.height, (236, 241, 248), c.mixed((206, 218, 234), (238, 242, 248)))
    c.ridge(
        c.height,
        (c.height - c.horizon) * 0.5,
        c.mixed((214, 224, 238), (246, 248, 252)),
        3,
        sharp=False,
    )
    c.specks(70, 0, [(255, 255, 255)], 2.4)


def _desert(c: Canvas) -> None:
    c.sky()
    sand = ((214, 160, 90), (238, 200, 130))
    c.ridge(c.horizon, 0.12 * c.height, c.mixed((190, 130, 80), (220, 170, 110)), 3, sharp=False)
    c.fade(c.horizon, c.height, c.mixed(*sand), c.mixed(*sand))
    for _ in range(3):
        base = int(c.rng.uniform(c.horizon + 0.3 * (c.height - c.horizon), c.height))
        c.ridge(base, 0.08 * c.height, c.mixed(*sand), int(c.rng.integers(2, 5)), sharp=False)
    c.specks(80, c.horizon, [(180, 124, 70), (246, 220, 170)], 0.9)


def _mountains(c: Canvas) -> None:
    c.sky()
    for share in (0.5, 0.32):
        tone = c.mixed((96, 104, 130), (160, 170, 190))
        c.ridge(c.horizon, share * c.height, tone, int(c.rng.integers(2, 6)), sharp=True)
    c.wash(c.horizon, c.height, ((96, 130, 80), (140, 160, 110)), ((110, 110, 80), (150, 150, 110)))
    c.specks(60, c.horizon, [(110, 106, 100), (150, 148, 140)], 3.0)
    c.tufts(60, c.horizon, [(70, 110, 60), (150, 170, 110)])


def _street(c: Canvas) -> None:
    c.sky()
    x = -int(c.rng.integers(0, 30))
    while x < c.width:
        wide = int(c.width * c.rng.uniform(0.1, 0.22))
        top = int(c.horizon * c.rng.uniform(0.15, 0.7))
        tone = c.mixed((110, 100, 100), (200, 180, 170))
        c.draw.rectangle((x, top, x + wide, c.horizon), tone)
        step = max(6, wide // 5)
        lit = c.mixed((70, 90, 120), (250, 236, 170))
        for wy in range(top + step // 2, c.horizon - step, step):
            for wx in range(x + step // 2, x + wide - step // 2, step):
                c.draw.rectangle((wx, wy, wx + step // 2, wy + step // 2), lit)
        x += wide
    c.wash(c.horizon, c.height, ((96, 96, 100), (130, 130, 134)), ((70, 70, 76), (104, 104, 108)))
    c.draw.rectangle((0, c.horizon, c.width, c.horizon + 2 * c.unit), (186, 184, 180))
    y = c.horizon + round((c.height - c.horizon) * c.rng.uniform(0.3, 0.7))
    for x in range(-int(c.rng.integers(0, 40)), c.width, max(20, c.width // 8)):
        c.draw.rectangle((x, y, x + c.width // 16, y + 2 * c.unit), (238, 236, 220))


def _water(c: Canvas) -> None:
    c.sky()
    blue = c.mixed((20, 80, 140), (60, 140, 190))
    c.fade(c.horizon, c.height, c.mixed((70, 150, 200), (130, 190, 220)), blue)
    for _ in range(70):
        x, y = c.rng.uniform(0, c.width), c.rng.uniform(c.horizon, c.height)
        wide = c.unit * (2 + 10 * (y - c.horizon) / max(1, c.height - c.horizon))
        c.draw.arc((x, y, x + 2 * wide, y + wide), 20, 160, (190, 225, 240), c.unit // 2 + 1)


def _underwater(c: Canvas) -> None:
    c.wash(0, c.height, ((60, 160, 200), (120, 210, 220)), ((6, 40, 90), (20, 80, 130)))
    for x in c.rng.uniform(0, 1, 7).tolist():
        tone = c.mixed((20, 90, 80), (60, 150, 110))
        tall = c.height * c.rng.uniform(0.12, 0.4)
        ys = np.linspace(c.height, c.height - tall, 12)
        sway = np.sin(np.arange(12) * 0.9 + x * 20) * c.unit * 2
        line = [(float(x * c.width + s), float(y)) for s, y in zip(sway, ys, strict=True)]
        c.draw.line(line, tone, 2 * c.unit)
    c.ridge(c.height, 0.1 * c.height, c.mixed((170, 150, 110), (210, 190, 150)), 4, sharp=False)
    for _ in range(30):
        x, y, r = (
            c.rng.uniform(0, c.width),
            c.rng.uniform(0, c.height),
            c.rng.uniform(1, 2.4) * c.unit,
        )
        c.draw.ellipse((x - r, y - r, x + r, y + r), None, (190, 230, 240), max(1, c.unit // 2))


def _night(c: Canvas) -> None:
    c.wash(0, c.horizon, ((6, 8, 30), (24, 26, 70)), ((40, 40, 96), (90, 70, 130)))
    _stars(c, 60, c.horizon)
    c.ridge(c.horizon, 0.16 * c.height, c.mixed((16, 20, 40), (36, 40, 66)), 4, sharp=False)
    c.wash(c.horizon, c.height, ((24, 40, 44), (46, 62, 60)), ((20, 34, 40), (50, 60, 60)))
    c.tufts(90, c.horizon, [(40, 66, 58), (70, 96, 84)])


def _space(c: Canvas) -> None:
    c.wash(0, c.height, ((4, 4, 16), (30, 14, 54)), ((6, 6, 24), (20, 30, 70)))
    for _ in range(5):
        x, y = c.rng.uniform(0, c.width), c.rng.uniform(0, c.height)
        r = c.rng.uniform(0.1, 0.35) * c.width
        tone = c.mixed((30, 14, 60), (70, 40, 110))
        c.draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), tone)
    c.image = c.image.filter(ImageFilter.BoxBlur(6 * c.unit))
    c.draw = ImageDraw.Draw(c.image)
    _stars(c, 140, c.height)


def _stars(c: Canvas, count: int, below: int) -> None:
    for _ in range(count):
        x, y, r = (
            c.rng.uniform(0, c.width),
            c.rng.uniform(0, below),
            c.rng.uniform(0.2, 0.7) * c.unit,
        )
        c.draw.ellipse((x - r, y - r, x + r, y + r), c.mixed((160, 170, 220), (255, 255, 250)))


_FLAT = (0.0, 0.0)

PLACES: dict[str, Place] = {
    "plain": Place(horizon=_FLAT, paint=_plain),
    "stripes": Place(horizon=_FLAT, paint=_stripes),
    "dots": Place(horizon=_FLAT, paint=_dots),
    "checks": Place(horizon=_FLAT, paint=_checks),
    "bricks": Place(horizon=_FLAT, paint=_bricks),
    "underwater": Place(horizon=_FLAT, paint=_underwater),
    "space": Place(horizon=_FLAT, paint=_space),
    "table": Place(horizon=(0.35, 0.6), paint=_table),
    "room": Place(horizon=(0.55, 0.72), paint=_room),
    "meadow": Place(horizon=(0.4, 0.65), paint=_meadow),
    "forest": Place(horizon=(0.5, 0.68), paint=_forest),
    "beach": Place(horizon=(0.35, 0.5), paint=_beach),
    "snow": Place(horizon=(0.4, 0.62), paint=_snow),
    "desert": Place(horizon=(0.4, 0.6), paint=_desert),
    "mountains": Place(horizon=(0.55, 0.7), paint=_mountains),
    "street": Place(horizon=(0.5, 0.66), paint=_street),
    "water": Place(horizon=(0.4, 0.58), paint=_water),
    "night": Place(horizon=(0.5, 0.68), paint=_night),
}
"""Kind to place. `plain` shows one named colour, `stripes`, `dots` and `checks` two."""


def is_flat(kind: str) -> bool:
    """Whether a place has no ground to stand on."""
    return PLACES[kind].horizon == _FLAT


def paint_backdrop(
    kind: str, size: tuple[int, int], horizon: float, colours: tuple[str, ...], seed: int
) -> Image.Image:
    """The backdrop alone, RGB of `size`, under an uneven light."""
    canvas = Canvas(size, horizon, colours, np.random.default_rng(seed))
    PLACES[kind].paint(canvas)
    return lit(canvas.image, canvas.rng)
