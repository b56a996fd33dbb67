"""Every thing that a scene can hold, and how often the web would show it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation.core.draw import order_keys
from curation.demo.drawing import Drawing, parse
from curation.demo.palette import COLOURS
from curation.demo.things.animals import ANIMALS
from curation.demo.things.birds_and_sea import BIRDS_AND_SEA
from curation.demo.things.food import FOOD, FRUIT
from curation.demo.things.home import FURNITURE, HOUSEHOLD
from curation.demo.things.outdoors import BUILDINGS, NATURE
from curation.demo.things.shapes_and_goods import GOODS, SHAPES
from curation.demo.things.tools import DEVICES, INSTRUMENTS, TOOLS
from curation.demo.things.vehicles import VEHICLES
from curation.demo.things.wear_and_play import CLOTHES, PLAY


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object that can be drawn and named."""

    name: str
    """An English noun in the singular (or a plural-only one, as scissors)."""
    category: str
    """animal, bird or sea animal, fruit, food, vehicle, furniture and so on."""
    text: str
    """Its drawing, in the language of `drawing`."""
    colours: tuple[str, ...]
    """What it usually comes in, names of `palette.COLOURS`; empty where any will do."""
    top: tuple[float, float, float] | None
    """Height of a surface that others can stand on, and where it starts and ends (x), in units
    of the drawing's field; none for most."""
    floats: bool
    """Belongs in the air, not on the ground."""

    @property
    def drawing(self) -> Drawing:
        return parse(self.text)


def _thing(name: str, category: str, source: str) -> Thing:
    colours: tuple[str, ...] = ()
    top: tuple[float, float, float] | None = None
    floats = False
    shapes = []
    for line in source.splitlines():
        words = line.split()
        match words[:1]:
            case ["@"]:
                colours = tuple(words[1:])
            case ["@top"]:
                y, left, right = map(float, words[1:])
                top = (y, left, right)
            case ["@sky"]:
                floats = True
            case _:
                shapes.append(line)
    unknown = [c for c in colours if c not in COLOURS]
    if unknown:
        raise ValueError(f"{name}: no such colour: {unknown}")
    return Thing(
        name=name,
        category=category,
        text="\n".join(shapes),
        colours=colours,
        top=top,
        floats=floats,
    )


_CATEGORIES = {
    "animal": ANIMALS,
    "bird or sea animal": BIRDS_AND_SEA,
    "fruit": FRUIT,
    "food": FOOD,
    "vehicle": VEHICLES,
    "furniture": FURNITURE,
    "household": HOUSEHOLD,
    "tool": TOOLS,
    "instrument": INSTRUMENTS,
    "device": DEVICES,
    "clothes": CLOTHES,
    "play": PLAY,
    "building": BUILDINGS,
    "nature": NATURE,
    "shape": SHAPES,
    "goods": GOODS,
}

THINGS: dict[str, Thing] = {
    name: _thing(name, category, source)
    for category, sources in _CATEGORIES.items()
    for name, source in sources.items()
}
"""Name to thing."""

_HEAD = (
    "car", "dog", "tree", "house", "cat", "flower", "shirt", "phone", "book", "chair", "cup",
    "bird", "shoe", "table", "cake", "horse", "boat", "star", "heart", "bicycle", "lamp",
)  # fmt: skip
"""What the web shows most, most frequent first; the rest follow in a fixed random order."""


def _by_popularity() -> tuple[str, ...]:
    head = [name for name in _HEAD if name in THINGS]
    rest = sorted(set(THINGS) - set(head))
    order = np.argsort(order_keys(0, "demo popularity", np.arange(len(rest))), kind="stable")
    return (*head, *(rest[i] for i in order))


POPULARITY: tuple[str, ...] = _by_popularity()
"""Every name, the most frequent first."""


def popularity(exponent: float) -> npt.NDArray[np.float64]:
    """Probability of each name of POPULARITY under Zipf's law with that exponent."""
    weights = np.arange(1, len(POPULARITY) + 1, dtype=np.float64) ** -exponent
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares
