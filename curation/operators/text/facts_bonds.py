"""Which numbers of a text stand at a unit or a month: 3 kg and 20 cm do not state 20 kg."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from curation.operators.text.facts_forms import (
    FOREIGN_MONTHS,
    MAGNITUDES,
    MONTHS,
    folded,
    unit_of,
)

NUMBER = re.compile(r"\d{1,3}(?:[,  ]\d{3}){1,9}(?:\.\d{1,9})?(?![\d])|\d{1,20}(?:[.,]\d{1,9})?")
DATE = re.compile(r"(?<!\d)(\d{1,4})[-/._ ](\d{1,2})[-/._ ](\d{2,4})(?!\d)")
SHORT_DATE = re.compile(r"(?<![\d.])(\d{1,2})[-/.](\d{1,2})(?!\d)")
PACKED = re.compile(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])([0-3]\d)(?!\d)")
PACKED_LAST = re.compile(r"(?<!\d)([0-3]\d)(0[1-9]|1[0-2])((?:19|20)\d\d)(?!\d)")
MARKS = {
    '"': "inch",
    "”": "inch",
    "''": "inch",
    "'": "foot",
    "’": "foot",  # noqa: RUF001
    "%": "%",
    "°": "°",
    "k": "ct",
}

_JOIN = re.compile(r"\s?(?:[-–/x×*~&,+]|and|or|to|by)\s?", re.IGNORECASE)  # noqa: RUF001
"""Between numbers that share the unit behind the last."""
_WORD = re.compile(r"[ -]{0,2}([^\W\d_]{1,14})\b\.?")
_MARK = re.compile(r"\s?(\"|”|''|'(?!s)|’(?!s)|%|°)|\s?([$€£¥₹])(?!\s?\d)")  # noqa: RUF001
_BEFORE = re.compile(r"([^\W\d_]{2,14}|[$€£¥₹])[ :.]{0,2}$")
_SIDE = re.compile(r"\s?[LWHDlwhd]\s?[x×*]")  # noqa: RUF001
"""Behind a number that is a side, and no watts."""
_LOOSE = re.compile(r"\s(?:in|a|second)\b", re.IGNORECASE)
"""Behind a number a unit, or a word of its own."""

_SHORT = re.compile(r"(?<!\d)\d{1,4}(?!\d)")
_EVERY = FOREIGN_MONTHS | MONTHS
_MONTH = rf"(?P<month>{'|'.join(sorted(_EVERY, key=len, reverse=True))})"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DAYS = rf"(?P<days>{_DAY}(?:\s?(?:[-–/&,+]|and|or|to)\s?{_DAY}){{0,6}})"  # noqa: RUF001
_YEAR = r"(?:,?[ ./-]{0,2}(?:of )?(?P<year>\d{4}|['’‘]\d\d|(?<=-)\d\d)(?!\d))?"  # noqa: RUF001
_DAY_FIRST = re.compile(rf"(?<!\d){_DAYS}[ .-]{{0,2}}(?:of )?{_MONTH}\b\.?{_YEAR}", re.IGNORECASE)
_MONTH_FIRST = re.compile(
    rf"(?<![^\W\d_]){_MONTH}\b\.?(?:[ .-]{{0,2}}(?:the )?{_DAYS}(?!\d))?{_YEAR}", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """Canonical numbers of a text, in all their forms."""

    by_unit: dict[str, frozenset[str]]
    """Those that are written with a unit, or in a row whose last is."""
    free: frozenset[str]
    """Those with no unit of their own: they may be of any."""


def amounts(text: str, read: Callable[[re.Match[str]], Iterable[str]]) -> Amounts:
    """What stands with which unit; `read` tells the forms of a number."""
    found: dict[str, set[str]] = {}
    free: set[str] = set()
    chain: set[str] = set()
    last: re.Match[str] | None = None
    for match in NUMBER.finditer(text):
        if last is None or not _JOIN.fullmatch(text, last.end(), match.start()):
            chain = set()
        forms = set(read(match))
        chain |= forms
        money = _unit_before(text, match.start())
        units = [*money, *units_after(text, match.end())]
        for unit in units:
            found.setdefault(unit, set()).update(chain)
        if not units or (not money and _LOOSE.match(text, match.end())):
            free |= forms
        last = match
    return Amounts(
        by_unit={unit: frozenset(numbers) for unit, numbers in found.items()}, free=frozenset(free)
    )


def _unit_before(text: str, start: int) -> list[str]:
    """The unit of $5 and EUR 5, which is money's: that of "in 5" is none."""
    found = _BEFORE.search(text, max(0, start - 18), start)
    unit = unit_of(folded(found[1])) if found else None
    return [unit] if unit and not unit.isalpha() else []


def units_after(text: str, end: int) -> Iterator[str]:
    """Of the word behind a number, or behind its magnitude (5 million kg), or the mark."""
    if _SIDE.match(text, end):
        return
    if mark := _MARK.match(text, end):
        unit = MARKS[mark[1]] if mark[1] else unit_of(mark[2])
        if unit:
            yield unit
    word = _WORD.match(text, end)
    while word:
        form = folded(word[1])
        yield from filter(None, (unit_of(form), MARKS.get(form)))
        word = _WORD.match(text, word.end()) if form in MAGNITUDES else None


@dataclass(frozen=True, kw_only=True)
class Dates:
    """Days and years of a text by the month, 1-12, that they are written with, in every reading of
    digits."""

    days: dict[int, set[int]]
    years: dict[int, set[int]]
    free: frozenset[int]
    """Numbers that stand in no date: they may be a day or a year of any month."""


def dates(text: str) -> Dates:
    """What stands with which month."""
    days: dict[int, set[int]] = {}
    years: dict[int, set[int]] = {}
    taken = bytearray(len(text))
    for span, month, day, ends in (*_named(text), *_in_digits(text)):
        taken[slice(*span)] = b"\1" * (span[1] - span[0])
        if 1 <= month <= 12:
            if 1 <= day <= 31:
                days.setdefault(month, set()).add(day)
            if ends:
                years.setdefault(month, set()).update(ends)
    free = (int(found[0]) for found in _SHORT.finditer(text) if not taken[found.start()])
    return Dates(days=days, years=years, free=frozenset(free))


_Parts = Iterator[tuple[tuple[int, int], int, int, list[int]]]
"""Where a date stands, its month, day or 0, and the years that the third part may be."""


def _named(text: str) -> _Parts:
    """Dates with a month's name."""
    for form in (_DAY_FIRST, _MONTH_FIRST):
        for match in form.finditer(text):
            month = _EVERY.get(match["month"].lower(), 0)  # a letter's other case may be another
            years = _years((match["year"] or "")[-4:])
            yield match.span(), month, 0, years
            for day in re.findall(r"\d+", match["days"] or ""):
                yield match.span(), month, int(day), years


def _in_digits(text: str) -> _Parts:
    for match in DATE.finditer(text):
        one, two, three = (int(part) for part in match.groups())
        ends = [*_years(match[1]), *_years(match[3])]
        for month, day in ((one, two), (two, one), (two, three)):
            yield match.span(), month, day, ends
    for match in PACKED.finditer(text):
        yield match.span(), int(match[2]), int(match[3]), [int(match[1])]
    for match in PACKED_LAST.finditer(text):
        yield match.span(), int(match[2]), int(match[1]), [int(match[3])]


def _years(digits: str) -> list[int]:
    digits = digits.lstrip("'’‘")  # noqa: RUF001
    if len(digits) == 2:
        return [1900 + int(digits), 2000 + int(digits)]
    return [int(digits)] if len(digits) == 4 else []
