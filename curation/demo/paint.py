"""The picture of a scene."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation.demo.backdrop import is_flat, paint_backdrop
from curation.demo.palette import INKS, jittered, luma
from curation.demo.scene import Board, Placed, Scene
from curation.demo.sprite import sprite
from curation.demo.things import THINGS


def paint(scene: Scene) -> Image.Image:
    """The picture, RGB of the scene's size."""
    rng = np.random.default_rng([scene.seed, 1])
    size = (scene.width, scene.height)
    image = paint_backdrop(scene.place, size, scene.horizon, scene.place_colours, scene.seed)
    shades = [jittered(rng, group.colour) for group in scene.groups]
    grounded = not is_flat(scene.place)
    for placed in scene.placed:
        group = scene.groups[placed.group]
        _shadow(image, placed, strong=grounded and not THINGS[group.thing].floats)
        drawing = THINGS[group.thing].drawing.turned(placed.tilt, placed.mirrored)
        left, top, width, height = placed.box
        painted = sprite(drawing, shades[placed.group], max(8, round(width)), max(8, round(height)))
        at = (left + (width - painted.width) / 2, top + (height - painted.height) / 2)
        image.paste(painted, (round(at[0]), round(at[1])), painted)
    if scene.board is not None:
        _paint_board(image, scene.board, scene)
    return image


@lru_cache(maxsize=1)
def _soft() -> Image.Image:
    y, x = np.mgrid[-1:1:32j, -1:1:64j]
    return Image.fromarray(
        np.rint(np.clip(1.2 - np.hypot(x, y) * 1.2, 0, 1) * 150).astype(np.uint8)
    )


def _shadow(image: Image.Image, placed: Placed, *, strong: bool) -> None:
    """A soft dark spot where the thing stands, or behind it where there is no ground."""
    left, top, width, height = placed.box
    if strong:
        box = (left - 0.03 * width, top + height * 0.93, width * 1.06, max(6.0, height * 0.14))
    else:
        box = (left, top + height * 0.06, width * 1.04, height)
    mask = _soft().resize((max(2, round(box[2])), max(2, round(box[3]))))
    if not strong:
        mask = mask.point([v // 3 for v in range(256)])
    image.paste((20, 20, 30), (round(box[0]), round(box[1])), mask)


def _paint_board(image: Image.Image, board: Board, scene: Scene) -> None:
    rng = np.random.default_rng([scene.seed, 2])
    ground = jittered(rng, board.colour)
    ink = INKS["k"] if luma(ground) > 128 else INKS["w"]
    left, top, width, height = board.box
    draw = ImageDraw.Draw(image)
    unit = max(2, min(scene.width, scene.height) // 100)
    box = (left, top, left + width, top + height)
    if board.kind == "sign":
        for share in (0.2, 0.8):
            x = left + width * share
            foot = min(scene.height * 0.97, top + height + scene.height * 0.22)
            draw.rectangle((x - unit, top, x + unit, foot), (110, 76, 46), (60, 40, 24))
    draw.rounded_rectangle(box, 0 if board.kind == "banner" else 3 * unit, ground, ink, unit)
    lines = board.words.split("\n")
    for points in range(round(height * 0.8), 7, -2):
        font = ImageFont.load_default(points)
        spans = [draw.textbbox((0, 0), line, font=font) for line in lines]
        tall = points * 1.15 * len(lines)
        if max(s[2] - s[0] for s in spans) <= width * 0.88 and tall <= height * 0.88:
            break
    y = top + (height - tall) / 2 + tall / len(lines) / 2
    for line in lines:
        draw.text((left + width / 2, y), line, ink, font, anchor="mm")
        y += tall / len(lines)
