"""Originals as the web has them: partial, false in places, with facts that no picture shows.

A scene is changed (another thing, colour, number, place, things exchanged), then captioned as the
demo captions: what the caption says of the changed scene alone is false, and known to be.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from curation.demo.canvas import Rng
from curation.demo.caption import CLOSINGS, SHOPS, caption
from curation.demo.captions_edit import edited
from curation.demo.captions_facts import Fact, stated, told, truths
from curation.demo.captions_names import draw_extras
from curation.demo.compose import compose
from curation.demo.defects import caption_with
from curation.demo.palette import COLOURS
from curation.demo.scene import Group, Scene
from curation.demo.things import THINGS

_WORTHLESS = ("placeholder_caption", "file_name_caption", "boilerplate_caption", "short_caption")
"""Defects after which a caption says little or nothing of its picture."""


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """An original, and what should become of it."""

    original: str
    rewritten: str
    """What it has right, its colours and place set right, and the extras."""
    true: frozenset[Fact]
    """Facts of the picture that the original has right."""
    false: frozenset[Fact]
    """Facts that it has wrong: planted, and known to be."""
    extras: tuple[str, ...]
    """Names, dates, numbers and titles that the picture cannot show, word for word."""


def noisy(scene: Scene, rng: Rng) -> Noisy:
    """An original of a scene; the same generator state gives the same one."""
    kind = rng.uniform()
    extras: tuple[str, ...] = ()
    if kind < 0.05:  # of another picture altogether
        original = caption(compose(rng), rng)
    elif kind < 0.1:
        original = caption_with(str(rng.choice(_WORTHLESS)), scene, "", rng)[0]
    else:
        shown = changed(scene, rng) if rng.uniform() < 0.6 else scene
        original = caption(shown, rng)
        if rng.uniform() < 0.55:
            original, extras = draw_extras(original, rng)
    said, true = stated(original), truths(scene)
    extras = (*_credits(original), *extras)
    extras = tuple(sorted(extras, key=original.find))
    rewritten = edited(scene, original, said & true)
    return Noisy(
        original=original,
        rewritten=f"{', '.join((rewritten, *extras))}.",
        true=said & true,
        false=said - true,
        extras=extras,
    )


_NUMBERED = re.compile(rf"- ((?:{'|'.join(map(re.escape, CLOSINGS))}) \d+)$")


def _credits(original: str) -> list[str]:
    """The seller's name and the catalogue number that the demo's captions end with."""
    shops = [shop for shop in SHOPS if original.endswith(f"| {shop}")]
    return [*shops, *_NUMBERED.findall(original)]


def changed(scene: Scene, rng: Rng) -> Scene:
    """The scene with one to three things about it otherwise."""
    for _ in range(1 + int(rng.choice(3, p=[0.55, 0.3, 0.15]))):
        scene = _CHANGES[int(rng.choice(len(_CHANGES), p=_SHARES))](scene, rng)
    return scene


def _with(scene: Scene, at: int, group: Group) -> Scene:
    return replace(scene, groups=(*scene.groups[:at], group, *scene.groups[at + 1 :]))


def _drawn(scene: Scene, rng: Rng) -> tuple[int, Group]:
    at = int(rng.integers(0, len(scene.groups)))
    return at, scene.groups[at]


def _other_thing(scene: Scene, rng: Rng) -> Scene:
    """Half of the time one of the same kind, which looks alike."""
    at, group = _drawn(scene, rng)
    shown = {each.thing for each in scene.groups}
    near = rng.uniform() < 0.5
    kind = THINGS[group.thing].category
    names = [n for n, t in THINGS.items() if n not in shown and (not near or t.category == kind)]
    return _with(scene, at, replace(group, thing=str(rng.choice(names)), size=""))


def _other_colour(scene: Scene, rng: Rng) -> Scene:
    at, group = _drawn(scene, rng)
    colours = [colour for colour in COLOURS if colour != group.colour]
    return _with(scene, at, replace(group, colour=str(rng.choice(colours))))


def _exchanged_colours(scene: Scene, rng: Rng) -> Scene:
    if len(scene.groups) < 2:
        return _other_colour(scene, rng)
    one, two, *rest = scene.groups
    groups = (replace(one, colour=two.colour), replace(two, colour=one.colour), *rest)
    return replace(scene, groups=groups)


def _other_count(scene: Scene, rng: Rng) -> Scene:
    at, group = _drawn(scene, rng)
    counts = [n for n in range(2, 10) if n != group.count and abs(n - group.count) < 4]
    return _with(scene, at, replace(group, count=int(rng.choice(counts)), size=""))


def _exchanged(scene: Scene, rng: Rng) -> Scene:
    """Things in each other's place."""
    if len(scene.groups) < 2:
        return _other_thing(scene, rng)
    relation = "left" if scene.relation == "beside" and len(scene.groups) == 2 else scene.relation
    one, two, *rest = scene.groups
    return replace(scene, groups=(two, one, *rest), relation=relation)


def _added(scene: Scene, rng: Rng) -> Scene:
    """One more thing, which is not there."""
    shown = {each.thing for each in scene.groups}
    names = [name for name in THINGS if name not in shown]
    more = Group(thing=str(rng.choice(names)), colour=str(rng.choice(list(COLOURS))))
    return replace(scene, groups=(*scene.groups, more), relation="beside")


def _other_place(scene: Scene, rng: Rng) -> Scene:
    other = compose(rng)
    if len(other.place_colours) < 2 and scene.place == other.place:
        return _other_colour(scene, rng)
    return replace(scene, place=other.place, place_colours=other.place_colours)


Change = Callable[[Scene, Rng], Scene]
_CHANGES: tuple[Change, ...] = (
    _other_thing, _other_colour, _exchanged_colours, _other_count, _exchanged, _added, _other_place,
)  # fmt: skip
_SHARES = (0.27, 0.24, 0.1, 0.1, 0.12, 0.07, 0.1)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence about a picture, true of it or not."""

    words: str
    true: bool


def claim(scene: Scene, rng: Rng) -> Sentence:
    """One that is true half of the time; a false one is false in one or few of its words."""
    true = bool(rng.uniform() < 0.5)
    while True:
        shown = scene if true else changed(scene, rng)
        words = f"{told(shown)}." if rng.uniform() < 0.5 else caption(shown, rng)
        facts = stated(words)
        if true == (facts <= truths(scene)) and facts:
            break
    if rng.uniform() < 0.3:  # which are to be taken as given
        words, _ = draw_extras(words, rng)
    return Sentence(words=words, true=true)
