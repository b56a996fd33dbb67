"""An original set right: what it says truly of a scene stays, in its order; what is false goes.

Of what it leaves out only the colours of things that it names, and where the scene is, are added:
those a small model sees. A thing that the original does not name is not added, for it would be
guessed among 400.
"""

from dataclasses import dataclass

from curation.demo.captions_facts import Fact, Mention, mentions, where_told
from curation.demo.nouns import article, counted
from curation.demo.scene import Group, Scene

NOTHING = "A picture"
"""What is said of a scene where no thing that the original names is there."""

_FORWARD = {"left": "to the left of", "above": "above", "on": "on top of", "next": "next to"}
_BACKWARD = {"left": "to the right of", "above": "below", "next": "next to"}


@dataclass(frozen=True)
class _Kept:
    """A group that the original names, by its number in the scene."""

    at: int
    group: Group
    words: str


def edited(scene: Scene, original: str, true: frozenset[Fact]) -> str:
    """A caption of a scene that says what `original` has right; `true` are these facts of it."""
    kept = [
        _Kept(at, scene.groups[at], _named(scene.groups[at], true))
        for at in _groups(scene, mentions(original))
    ]
    said = _joined(scene, kept, true)
    if (board := _board(scene, original, true)) is not None:
        said = f"{said} and {board}" if said else board
    said = said or NOTHING
    return f"{said[0].upper()}{said[1:]} {where_told(scene)}"


def _groups(scene: Scene, named: list[Mention]) -> list[int]:
    """Numbers of the scene's groups that are named, in the order of the original."""
    found: list[int] = []
    for mention in named:
        alike = [
            at
            for at, group in enumerate(scene.groups)
            if group.thing == mention.thing and at not in found
        ]
        if alike:  # of two sizes of one thing, the one that is meant
            found.append(max(alike, key=lambda at: (_alike(scene.groups[at], mention), -at)))
    return found


def _alike(group: Group, mention: Mention) -> int:
    return (group.size == mention.size) + (group.colour == mention.colour)


def _named(group: Group, true: frozenset[Fact]) -> str:
    size = group.size if ("size", group.thing, group.size) in true else ""
    adjectives = f"{size} {group.colour}".strip()
    if group.count == 1 or ("count", group.thing, str(group.count)) in true:
        return counted(group.thing, adjectives, group.count)
    several = counted(group.thing, adjectives, 2)
    _, _, without = several.partition(" ")  # as many as there are
    return without


def _joined(scene: Scene, kept: list[_Kept], true: frozenset[Fact]) -> str:
    """Names with the relations between them that the original has right."""
    things = [each.group.thing for each in kept]
    if len(kept) == 3 and ("between", things[0], *sorted(things[1:])) in true:
        return f"{kept[0].words} between {kept[1].words} and {kept[2].words}"
    if len(kept) == 2:
        first, second = kept
        relation = _relation(first.group.thing, second.group.thing, true)
        if relation == "on" and first.at > second.at:
            first, second = second, first
        if relation:
            links = _FORWARD if first.at < second.at else _BACKWARD
            return f"{first.words} {links[relation]} {second.words}"
    words = [each.words for each in kept]
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def _relation(one: str, two: str, true: frozenset[Fact]) -> str:
    """The closest that the original has right, whichever of the two it has first."""
    pairs = ((one, two), (two, one))
    for kind in ("on", "above", "left", "next"):
        if any((kind, *pair) in true for pair in pairs):
            return kind
    return ""


def _board(scene: Scene, original: str, true: frozenset[Fact]) -> str | None:
    board = scene.board
    if board is None or ("object", board.kind) not in true:
        return None
    read = board.words.replace("\n", " ")
    says = f'that says "{read}"' if f'"{read}"' in original else "with words"
    return f"{article(f'{board.colour} {board.kind}')} {says}"
