"""What a caption says of a scene, as facts that can be counted: things, colours, places, relations.

Only for scenes of the demo, whose words are all known: `told` is the one full caption of a scene,
`truths` all that is true of it, `stated` what a caption in any of the demo's styles says.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from curation.demo.caption import CLOSINGS, OPENINGS, SHOPS, WHERE
from curation.demo.nouns import article, counted, plural
from curation.demo.palette import COLOURS
from curation.demo.scene import Group, Scene
from curation.demo.things import THINGS

Fact = tuple[str, ...]
"""A kind, then what it is said of: ("object", "car"), ("colour", "car", "red"), ("left", a, b)."""

KINDS = {
    "object": "object",
    "colour": "attribute", "count": "attribute", "size": "attribute", "words": "attribute",
    "left": "relation", "above": "relation", "on": "relation", "next": "relation",
    "between": "relation",
    "place": "place",
}  # fmt: skip
"""First word of a fact to the group that it is counted in."""

_BOARDS = ("sign", "banner", "card")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")

_PLACES = {
    "plain": "on {a0} background",
    "stripes": "on a striped {0} and {1} background",
    "dots": "on {a0} background with {1} dots",
    "checks": "on a checkered {0} and {1} background",
    "bricks": "in front of a brick wall",
    "underwater": "under water",
    "space": "in outer space",
    "table": "on a wooden table",
    "room": "in a room with a wooden floor",
    "meadow": "in a meadow",
    "forest": "in the forest",
    "beach": "on the beach",
    "snow": "in the snow",
    "desert": "in the desert",
    "mountains": "in front of mountains",
    "street": "on a city street",
    "water": "on the water",
    "night": "at night",
}


def told(scene: Scene, words: bool = False) -> str:
    """The full caption of a scene, the same each time; without `words` a board's are not read."""
    names = [_named(group) for group in scene.groups]
    said = names[0]
    if len(names) == 2:
        link = {"above": "above", "on": "on top of"}.get(scene.relation, "to the left of")
        said = f"{names[0]} {link} {names[1]}"
    elif len(names) == 3:
        said = f"{names[1]} between {names[0]} and {names[2]}"
    elif len(names) > 3:
        said = f"{', '.join(names[:-1])} and {names[-1]} in a row"
    if (board := scene.board) is not None:
        read = board.words.replace("\n", " ")
        says = f'that says "{read}"' if words else "with words"
        said = f"{said} and {article(f'{board.colour} {board.kind}')} {says}"
    return f"{said[0].upper()}{said[1:]} {where_told(scene)}"


def _named(group: Group) -> str:
    return counted(group.thing, f"{group.size} {group.colour}".strip(), group.count)


def where_told(scene: Scene) -> str:
    """Where a scene is, always in the same words: "on the beach"."""
    colours = scene.place_colours
    if scene.place in ("stripes", "checks"):  # neither of their colours comes first
        colours = tuple(sorted(colours))
    first, second, *_ = (*colours, "", "")
    phrase = _PLACES[scene.place].replace("{0}", first).replace("{1}", second)
    return phrase.replace("{a0}", article(first or "-"))


def truths(scene: Scene) -> frozenset[Fact]:
    """Everything that a caption may say of a scene."""
    facts: set[Fact] = {("place", scene.place)}
    for group in scene.groups:
        facts |= {("object", group.thing), ("colour", group.thing, group.colour)}
        if group.count > 1:
            facts.add(("count", group.thing, str(group.count)))
        if group.size:
            facts.add(("size", group.thing, group.size))
    if scene.board is not None:
        kind = scene.board.kind
        facts |= {("object", kind), ("colour", kind, scene.board.colour)}
        facts.add(("words", scene.board.words.replace("\n", " ").lower()))
    if scene.place == "dots":
        facts |= {
            ("colour", "background", scene.place_colours[0]),
            ("colour", "dots", scene.place_colours[1]),
        }
    else:
        facts |= {("colour", "background", colour) for colour in scene.place_colours}
    return frozenset(facts | set(_relations(scene)))


def _relations(scene: Scene) -> Iterator[Fact]:
    names = [group.thing for group in scene.groups]
    if len(names) == 2 and scene.relation in ("above", "on"):
        yield "above", names[0], names[1]
        if scene.relation == "on":
            yield "on", names[0], names[1]
        return
    for at, left in enumerate(names):
        for right in names[at + 1 :]:
            yield "left", left, right
    for left, right in itertools.pairwise(names):
        yield "next", *sorted((left, right))
    if len(names) == 3:
        yield "between", names[1], *sorted((names[0], names[2]))


_FORMS = {form: name for name in (*THINGS, *_BOARDS) for form in (plural(name), name)}
_ADJECTIVES = rf"(?:(?P<size>small|big) )?(?:(?P<colour>{'|'.join(COLOURS)}) )?"
_PHRASE = re.compile(
    rf"\b(?:(?P<number>an?|{'|'.join(_NUMBERS)}) )?"
    r"(?:(?:pairs?|bunch|bunches|box|boxes|plates?|pieces?|bars?) of )?"
    rf"{_ADJECTIVES}(?P<thing>{'|'.join(sorted(_FORMS, key=len, reverse=True))})\b"
)
_QUOTED = re.compile(r'(?:that says|with the words|reading|with the text) "([^"]*)"')
_TITLES = re.compile(r'"[^"]*"')


def _place_pattern(kind: str, form: str) -> str:
    """A place's phrase with groups for its colours, `_0` being the first."""
    colour = "|".join(COLOURS)
    spots = {"{a0}": r"an? \1", "{0}": r"\1", "{1}": r"\2"}
    parts = re.split(r"(\{a?[01]\})", form)
    made = [
        spots[part].replace(r"\1", f"(?P<x>{colour})").replace(r"\2", f"(?P<y>{colour})")
        if part in spots
        else re.escape(part)
        for part in parts
    ]
    return "".join(made)


_WHERES = [
    (kind, re.compile(rf"\b{_place_pattern(kind, form)}(?!\w)"))
    for _, kind, form in sorted(
        (
            (len(form), kind, form)
            for kind, forms in WHERE.items()
            for form in (*forms, _PLACES[kind])
        ),
        reverse=True,
    )
]
_IDLE = re.compile(
    "|".join(
        re.escape(words.lower()) for words in sorted((*OPENINGS, *CLOSINGS, *SHOPS), key=len)[::-1]
    )
)


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A thing that a caption names."""

    thing: str
    colour: str
    size: str
    number: str
    """Of things, as a figure; empty for one, or where none is said."""
    start: int
    stop: int


def stated(caption: str) -> frozenset[Fact]:
    """What a caption in the demo's words says; other words are passed over."""
    facts: set[Fact] = {("words", quoted) for quoted in _QUOTED.findall(caption.lower())}
    text, places = _without_place(caption)
    named = list(_mentions(text))
    for each in named:
        facts.add(("object", each.thing))
        for kind in ("colour", "size"):
            if said := getattr(each, kind):
                facts.add((kind, each.thing, said))
        if each.number:
            facts.add(("count", each.thing, each.number))
    return frozenset(facts | places | set(_related(text, named)))


def mentions(caption: str) -> list[Mention]:
    """Things that a caption in the demo's words names, in its order."""
    return list(_mentions(_without_place(caption)[0]))


def _without_place(caption: str) -> tuple[str, set[Fact]]:
    """A caption in small letters, blank where it names no things, and what it says of its place."""
    facts: set[Fact] = set()
    text = _IDLE.sub(lambda found: "|" * len(found[0]), _TITLES.sub(_blank, caption.lower()))
    for kind, pattern in _WHERES:
        if found := pattern.search(text):
            facts.add(("place", kind))
            said = found.groupdict()
            second = "dots" if kind == "dots" else "background"
            facts |= {
                ("colour", what, said[key])
                for key, what in (("x", "background"), ("y", second))
                if said.get(key)
            }
            text = text[: found.start()] + "." * len(found[0]) + text[found.end() :]
    return text, facts


def _mentions(text: str) -> Iterator[Mention]:
    for found in _PHRASE.finditer(text):
        number = found["number"]
        yield Mention(
            thing=_FORMS[found["thing"]],
            colour=found["colour"] or "",
            size=found["size"] or "",
            number=str(_NUMBERS.index(number) + 2) if number in _NUMBERS else "",
            start=found.start(),
            stop=found.end(),
        )


def _blank(found: re.Match[str]) -> str:
    return '"' * len(found[0])


_LINKS = {
    "to the left of": ("left", False), "left of": ("left", False),
    "to the right of": ("left", True), "right of": ("left", True),
    "above": ("above", False), "below": ("above", True), "under": ("above", True),
    "on": ("on", False), "on top of": ("on", False),
    "next to": ("next", False), "beside": ("next", False),
}  # fmt: skip
"""Words between two things to their relation, and whether the second comes first in it."""


def _related(text: str, named: list[Mention]) -> Iterator[Fact]:
    for at, (one, two) in enumerate(itertools.pairwise(named)):
        link = text[one.stop : two.start].strip()
        if link == "between" and at + 2 < len(named):
            yield "between", one.thing, *sorted((two.thing, named[at + 2].thing))
        elif link == "with" and text[two.stop :].startswith(" on top"):
            yield "on", two.thing, one.thing
        elif link in _LINKS:
            kind, turned = _LINKS[link]
            names = [two.thing, one.thing] if turned else [one.thing, two.thing]
            yield kind, *(sorted(names) if kind == "next" else names)
