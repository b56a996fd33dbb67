"""A composed scene as data: which things, in which colours, where, in front of what.

`compose` draws a scene, `paint` shows it, `caption` tells it: what a caption says is to be seen.
"""

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, width and height, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Alike things: "three red apples"."""

    thing: str
    colour: str
    count: int = 1
    size: str = ""
    """small or big where the scene holds another size to compare with."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One thing of a group in the picture."""

    group: int
    box: Box
    tilt: float = 0.0
    """Degrees, clockwise."""
    mirrored: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """Words rendered in the picture."""

    words: str
    kind: str
    """sign, banner or card."""
    colour: str
    box: Box


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that a picture shows."""

    width: int
    height: int
    place: str
    """Key of PLACES."""
    place_colours: tuple[str, ...]
    """What a patterned place shows; empty for landscapes."""
    horizon: float
    groups: tuple[Group, ...]
    relation: str = ""
    """Between the groups: left, above, on, between, beside; empty where nothing is said."""
    placed: tuple[Placed, ...]
    board: Board | None = None
    seed: int
    """Of everything that needs no name: shades, textures, light."""
