"""What a sample is drawn of: pictures with boxes, clips and texts, in reading order.

A renderer of a family chooses among these blocks (see `curation.report.viewer.renderers`); the page
knows how to draw each of them and nothing of families.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from curation.report.viewer import renderers
from schemas.sample import FAMILIES, Segment

Block = dict[str, Any]
"""`kind` and what belongs to it: see `picture`, `clip` and `words`."""

MOST = 400
"""Blocks of a sample that are drawn, and boxes of a picture."""
_TEXT = 4_000
"""Characters of a text that are drawn."""
VIDEOS = frozenset({"mp4", "webm", "mkv", "mov", "avi"})


@dataclass(frozen=True, kw_only=True)
class Medium:
    """An image or video of a sample, in the order of its members."""

    nth: int
    ext: str
    """Last part of the member's name, lower case."""
    width: int | None = None
    """Pixels, after EXIF orientation; null where nothing tells them."""
    height: int | None = None

    @staticmethod
    def of(nth: int, ext: str, width: int | None = None, height: int | None = None) -> "Medium":
        """By the extension of its tar member, as `0.jpg`."""
        return Medium(nth=nth, ext=ext.rpartition(".")[2].lower(), width=width, height=height)

    @property
    def is_video(self) -> bool:
        return self.ext in VIDEOS


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A sample, as its renderer is given it."""

    text: str
    """The start of its caption or text."""
    media: tuple[Medium, ...]
    measured: dict[str, Any]
    """Columns of layers by name: what was found in it, where a family measures that."""
    segments: Sequence[Segment] = field(default=())
    """Of its training sample; empty where it was not exported."""


Renderer = Callable[[Shown], list[Block]]


def renderer(family: str) -> Renderer:
    """The renderer of a family; `by_segments` where it has none of its own."""
    name = family.replace("-", "_")
    there = {module.name for module in iter_modules(renderers.__path__)}
    if family not in FAMILIES or name not in there:
        return by_segments
    found: Renderer = import_module(f"{renderers.__name__}.{name}").render
    return found


@dataclass
class Boxes:
    """Numbers the boxes of a picture in the order in which they are met."""

    count: int = 0
    """The last number that was given; 0: none yet."""
    found: list[dict[str, Any]] = field(default_factory=list)
    """Number `n` and `box` of each."""

    def add(self, box: Any) -> int | None:
        """Its number; null for what is no box in 0-999."""
        sides = isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)
        if not sides or not all(0 <= side <= 999 for side in box) or len(self.found) >= MOST:
            return None
        self.count += 1
        self.found.append({"n": self.count, "box": box})
        return self.count


def picture(medium: Medium, boxes: Boxes | None = None) -> Block:
    """An image with numbered boxes over it, in 0-999 of its sides; `boxes` may grow afterwards."""
    size = {"width": medium.width, "height": medium.height}
    return {"kind": "picture", "nth": medium.nth, **size, "boxes": boxes.found if boxes else []}


def clip(medium: Medium, times: Sequence[float]) -> Block:
    """A video by the time in seconds of its sampled frames."""
    told = [float(t) for t in times[:MOST] if isinstance(t, int | float)]
    return {"kind": "clip", "nth": medium.nth, "ext": medium.ext, "times": told}


def words(parts: Sequence[str | int], *, learnt: bool | None = None) -> Block:
    """Text, in which a number stands for the box of that number; `learnt`: a trainer learns it."""
    told = [part if isinstance(part, int) else part[:_TEXT] for part in parts]
    return {"kind": "words", "parts": told, "learnt": learnt}


def by_segments(shown: Shown) -> list[Block]:
    """Media, texts and boxes as the training sample has them; else every medium, then the text."""
    if shown.segments:
        return list(_flow(shown))[:MOST]
    blocks = [clip(m, ()) if m.is_video else picture(m) for m in shown.media[:MOST]]
    return [*blocks, words([shown.text])] if shown.text else blocks


def _flow(shown: Shown) -> Iterator[Block]:
    parts: list[str | int] = []
    learnt = False
    boxes = Boxes()
    for segment in shown.segments:
        kind = segment.get("type")
        if kind == "text":
            parts.append(str(segment.get("text", "")))
            learnt |= bool(segment.get("loss"))
        elif kind == "box" and (number := boxes.add(segment.get("box"))) is not None:
            parts.append(number)
            learnt |= bool(segment.get("loss"))
        medium = _medium(shown, segment) if kind in ("image", "video") else None
        if medium is None:
            continue
        if parts:
            yield words(parts, learnt=learnt)
        parts, learnt = [], False
        if kind == "video":
            times = segment.get("timestamps")
            yield clip(medium, times if isinstance(times, list) else ())
        else:
            boxes = Boxes(boxes.count)
            yield picture(medium, boxes)
    if parts:
        yield words(parts, learnt=learnt)


def _medium(shown: Shown, segment: Segment) -> Medium | None:
    """The medium that a segment names: members are numbered in order, as `0.jpg`."""
    number = str(segment.get("member", "")).partition(".")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        return None
    nth = int(number)
    if nth >= len(shown.media):
        return None
    size = {n: v if type(v := segment.get(n)) is int else None for n in ("width", "height")}
    return Medium(nth=nth, ext=shown.media[nth].ext, **size)
