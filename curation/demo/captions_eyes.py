"""What each part of a picture shows, as labels: they teach the vision tower before words do.

A caption names a thing once, somewhere; from captions alone a small tower learns slowly to tell
400 things apart. The generator knows where each thing stands, so every token of the tower is asked
which thing it shows and in which colour, and all of them together where the scene is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curation.demo.backdrop import PLACES
from curation.demo.palette import COLOURS
from curation.demo.scene import Scene
from curation.demo.things import THINGS

if TYPE_CHECKING:
    from torch import Tensor, nn

_THINGS = {name: at for at, name in enumerate(("", *THINGS))}
_COLOURS = {name: at for at, name in enumerate(("", *COLOURS))}
_PLACES = {name: at for at, name in enumerate(PLACES)}

_COVERED = 0.25
"""Share of a token's square that a thing must cover for the token to show it."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Labels of one picture of N tokens."""

    things: Ints
    """[N]; 0: none."""
    colours: Ints
    """[N]; 0: of none."""
    place: int


def seen(scene: Scene, tall: int, wide: int) -> Seen:
    """Labels of a scene's picture, `tall` by `wide` tokens, row by row."""
    top, left = np.arange(tall)[:, None] / tall, np.arange(wide)[None] / wide
    best = np.full((tall, wide), _COVERED)
    things, colours = np.zeros((2, tall, wide), np.int64)
    for placed in scene.placed:
        x, y, width, height = placed.box
        x0, x1 = x / scene.width, (x + width) / scene.width
        y0, y1 = y / scene.height, (y + height) / scene.height
        across = np.clip(np.minimum(left + 1 / wide, x1) - np.maximum(left, x0), 0, None) * wide
        down = np.clip(np.minimum(top + 1 / tall, y1) - np.maximum(top, y0), 0, None) * tall
        share = across * down
        group, here = scene.groups[placed.group], share > best
        things[here], colours[here] = _THINGS[group.thing], _COLOURS[group.colour]
        best = np.maximum(best, share)
    return Seen(things=things.ravel(), colours=colours.ravel(), place=_PLACES[scene.place])


def heads(width: int) -> "nn.ModuleDict":
    """A linear classifier for each sort of label; not part of the model that ships."""
    from torch import nn

    sizes = {"thing": len(_THINGS), "colour": len(_COLOURS), "place": len(_PLACES)}
    return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})


def seeing_loss(eyes: "nn.ModuleDict", media_ND: "Tensor", labels: list[Seen]) -> "Tensor":
    """Mean cross-entropy of the labels of pictures whose tokens follow one another."""
    import torch
    from torch.nn.functional import cross_entropy, rms_norm

    media_ND = rms_norm(media_ND.float(), media_ND.shape[-1:])
    sizes = [len(each.things) for each in labels]
    things = torch.from_numpy(np.concatenate([each.things for each in labels]))
    colours = torch.from_numpy(np.concatenate([each.colours for each in labels]))
    places = torch.tensor([each.place for each in labels])
    pooled = torch.stack([part.mean(0) for part in torch.split(media_ND, sizes)])
    return (
        cross_entropy(eyes["thing"](media_ND).float(), things)
        + cross_entropy(eyes["colour"](media_ND).float(), colours)
        + cross_entropy(eyes["place"](pooled).float(), places)
    )
