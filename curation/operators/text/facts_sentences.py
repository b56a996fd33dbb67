"""Where a caption's sentences begin and end, and what in one is no part of a caption."""

import re
from bisect import bisect_right
from collections.abc import Iterator

_END = re.compile(
    r"(?:(?<![.!?…])[.!?…]+[\"”’')\]]*(?=\s+[\"“‘'(\[]*[^\W_a-z])|[。！？]|\n+)"  # noqa: RUF001
)
_ABBREVIATED = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|mt|ft|vs|no|inc|ltd|co|corp|jr|sr|prof|gen|capt|lt|col|sgt|gov|sen|"
    r"rep|rev|vol|ave|blvd|rd|dept|univ|etc|feat|approx|fig|ed|eds|op|dist|mfg|bros|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|oz|lbs?|pp|al)|\b[^\W\d_])\.$",
    re.IGNORECASE,
)
"""Ends of words that a sentence does not end with; single letters are initials."""
_BEFORE_NUMBER = re.compile(r"(?:\b(?:in|cm|mm|dec|nos?)\.\s+(?:[x×]\s|\d))", re.IGNORECASE)  # noqa: RUF001
"""Others that are short for something where a number follows."""
_LIST = re.compile(r"\s*\(?\d{1,2}\.")
"""The number of a list's item, which is no sentence."""
_QUOTED = re.compile(r"“[^“”\n]{2,200}”|(?<![\w\"])\"(?=[^\s\"])[^\"\n]{2,200}(?<!\s)\"(?![\w\"])")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, white space around it left out; a quotation within one is of
    it, however many it has."""
    start = 0
    opened = [match.span() for match in _QUOTED.finditer(text)]
    starts = [span[0] for span in opened]
    for match in _END.finditer(text):
        at = bisect_right(starts, match.start()) - 1
        if at >= 0 and _within(text, match, start, opened[at]):
            continue
        before = max(start, match.start() - 12)
        if (
            _ABBREVIATED.search(text, before, match.start() + 1)
            or _LIST.fullmatch(text, start, match.end())
            or any(
                found.end() > match.end()
                for found in _BEFORE_NUMBER.finditer(text, before, match.end() + 3)
            )
        ):
            continue
        yield from _trimmed(text, start, match.end())
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _within(text: str, end: re.Match[str], start: int, quoted: tuple[int, int]) -> bool:
    """Whether a sentence's end stands inside a quotation that the sentence from `start` holds: not
    in one that begins it, which a captioner puts around all that it says."""
    return end.end() < quoted[1] and bool(text[start : quoted[0]].strip())


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    inner = text[start:end].strip()
    if inner:
        start = text.index(inner[0], start)
        yield start, start + len(inner)
