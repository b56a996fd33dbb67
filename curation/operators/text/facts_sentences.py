"""Where a caption's sentences begin and end, and what in one is no part of a caption."""

import re
from collections.abc import Iterator

_END = re.compile(r"(?:[.!?…]+[\"”’')\]]*(?=\s+[\"“‘'(\[]*[^\W_a-z])|[。！？]|\n+)")  # noqa: RUF001
_ABBREVIATED = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|mt|ft|vs|no|inc|ltd|co|corp|jr|sr|prof|gen|capt|lt|col|sgt|gov|sen|"
    r"rep|rev|vol|ave|blvd|rd|dept|univ|etc|feat|approx|fig|ed|eds|op|dist|mfg|bros)|\b[^\W\d_])\.$",
    re.IGNORECASE,
)
"""Ends of words that a sentence does not end with; single letters are initials."""


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, white space around it left out."""
    start = 0
    for match in _END.finditer(text):
        if _ABBREVIATED.search(text, max(start, match.start() - 12), match.start() + 1):
            continue
        yield from _trimmed(text, start, match.end())
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    inner = text[start:end].strip()
    if inner:
        start = text.index(inner[0], start)
        yield start, start + len(inner)
