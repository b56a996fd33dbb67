"""Captions cut into pieces that are marked: what is plain, a kept fact, a rejected claim."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curation.report.wording import EMAIL, LONG_NUMBER, display_safe

LONGEST = 1_000
"""Characters of a caption that are shown beside its pair."""

_ACCENTS = 2
"""Marks over one letter that are shown; more would cover the lines around it."""
_GONE = "\0"
_BETWEEN = r"(?:[\s_]|<[^<>]{0,80}>|&[#\w]{1,12};)+"
"""What may stand between two words of a fact: the facts come from a text without markup."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A stretch of a caption, in characters, and what is said of it."""

    start: int
    end: int
    kind: str
    """`held`: a fact that both captions have; `lost`: one that the new caption lacks; `rejected`:
    a claim that nothing supports."""
    what: str
    """Kind of fact: name, date, unit, number, quotation, url."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text as it is shown, not yet escaped. `kind` and `what` are empty where nothing is marked."""

    text: str
    kind: str = ""
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence of a new caption."""

    pieces: list[Piece]
    dropped: str = ""
    """Why it is not in the caption that is used; empty where it is."""
    flags: list[str]
    """What else was found in it."""
    scores: list[str]
    """What a model said of it."""


def legible(text: str) -> str:
    """`text` with what must not be shown replaced, each character by one.

    Controls and direction marks become NUL, white space a space; characters of what looks like an
    e-mail address, a telephone or a card number become dots.
    """
    for private in (EMAIL, LONG_NUMBER):
        text = private.sub(lambda found: re.sub(r"[^\W_]", "•", found[0]), text)
    shown, accents = [], 0
    for character in text:
        accents = accents + 1 if unicodedata.category(character) == "Mn" else 0
        if character.isspace():
            shown.append(" ")
        elif accents > _ACCENTS:
            shown.append(_GONE)
        else:
            shown.append(display_safe(character, 1) or _GONE)
    return "".join(shown)


def pieces(text: str, start: int, end: int, marks: Iterable[Mark]) -> list[Piece]:
    """`text[start:end]` of a text made `legible`, cut where marks begin and end.

    A mark that overlaps the one before is left out.
    """
    found: list[Piece] = []
    at = start
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.end)):
        if mark.start < at or mark.start >= end or mark.end <= mark.start:
            continue
        found.append(Piece(text=_plain(text[at : mark.start])))
        at = min(mark.end, end)
        found.append(Piece(text=_plain(text[mark.start : at]), kind=mark.kind, what=mark.what))
    found.append(Piece(text=_plain(text[at:end])))
    return [piece for piece in found if piece.text]


def _plain(text: str) -> str:
    return re.sub(" {2,}", " ", text.replace(_GONE, ""))


def located(text: str, words: Sequence[str]) -> list[tuple[int, int] | None]:
    """Where in `text` each of `words` stands, looked for in order; null where it is not found.

    The words come from a text without markup, its entities resolved, some letters raised.
    """
    found: list[tuple[int, int] | None] = []
    at = 0
    for said in words:
        loose = _BETWEEN.join(map(re.escape, re.split(r"[\s_]+", said)))
        match = re.compile(loose, re.IGNORECASE).search(text, at) if said else None
        found.append(match.span() if match else None)
        at = match.end() if match else at
    return found
