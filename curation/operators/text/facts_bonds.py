"""Which numbers of a text stand at a unit or a month: 3 kg and 20 cm do not state 20 kg."""

import re
from collections.abc import Callable, Iterable, Iterator

from curation.operators.text.facts_forms import FOREIGN_MONTHS, MONTHS, folded, unit_of

NUMBER = re.compile(r"\d{1,3}(?:[,  ]\d{3})+(?:\.\d+)?(?![\d])|\d{1,20}(?:[.,]\d{1,9})?")
DATE = re.compile(r"(?<!\d)(\d{1,4})[-/._ ](\d{1,2})[-/._ ](\d{2,4})(?!\d)")
SHORT_DATE = re.compile(r"(?<![\d.])(\d{1,2})[-/.](\d{1,2})(?!\d)")
PACKED = re.compile(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])([0-3]\d)(?!\d)")
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

_JOIN = re.compile(r"\s?(?:[-–/x×&,+]|and|or|to|by)\s?", re.IGNORECASE)  # noqa: RUF001
"""Between numbers that share the unit behind the last."""
_WORD = re.compile(r"[ -]{0,2}([^\W\d_]{1,14})\b\.?")
_MARK = re.compile(r"\s?(\"|”|''|'(?!s)|’(?!s)|%|°)")  # noqa: RUF001
_BEFORE = re.compile(r"([^\W\d_]{2,14}|[$€£¥₹])[ :.]{0,2}$")

_EVERY = FOREIGN_MONTHS | MONTHS
_MONTH = rf"(?P<month>{'|'.join(sorted(_EVERY, key=len, reverse=True))})"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DAYS = rf"(?P<days>{_DAY}(?:\s?(?:[-–/&,+]|and|or|to)\s?{_DAY}){{0,6}})"  # noqa: RUF001
_YEAR = r"(?:,?[ ./-]{0,2}(?:of )?(?P<year>\d{4}|['’‘]\d\d)(?!\d))?"  # noqa: RUF001
_DAY_FIRST = re.compile(rf"(?<!\d){_DAYS}[ .-]{{0,2}}(?:of )?{_MONTH}\b\.?{_YEAR}", re.IGNORECASE)
_MONTH_FIRST = re.compile(
    rf"(?<![^\W\d_]){_MONTH}\b\.?(?:[ .-]{{0,2}}(?:the )?{_DAYS}(?!\d))?{_YEAR}", re.IGNORECASE
)


def at_units(
    text: str, read: Callable[[re.Match[str]], Iterable[str]]
) -> dict[str, frozenset[str]]:
    """Canonical numbers by the unit that they are written with; `read` tells a number's forms."""
    found: dict[str, set[str]] = {}
    chain: set[str] = set()
    before: list[str] = []
    last: re.Match[str] | None = None
    for match in NUMBER.finditer(text):
        if last is None or not _JOIN.fullmatch(text, last.end(), match.start()):
            chain, before = set(), _unit_before(text, match.start())
        chain.update(read(match))
        for unit in (*before, *_units_after(text, match.end())):
            found.setdefault(unit, set()).update(chain)
        last = match
    return {unit: frozenset(numbers) for unit, numbers in found.items()}


def _unit_before(text: str, start: int) -> list[str]:
    """The unit of $5 and EUR 5."""
    found = _BEFORE.search(text, max(0, start - 18), start)
    unit = unit_of(folded(found[1])) if found else None
    return [unit] if unit else []


def _units_after(text: str, end: int) -> Iterator[str]:
    """Of the two words behind a number, as in 5 million kg, or the mark."""
    if mark := _MARK.match(text, end):
        yield MARKS[mark[1]]
    for _ in range(2):
        word = _WORD.match(text, end)
        if word is None:
            return
        form = folded(word[1])
        for unit in (unit_of(form), MARKS.get(form)):
            if unit:
                yield unit
        end = word.end()


Months = dict[int, set[int]]
"""Numbers by month, 1-12."""


def at_months(text: str) -> tuple[Months, Months]:
    """Days and years by the month that they are written with, in every reading of digits."""
    days: Months = {}
    years: Months = {}
    for month, day, ends in (*_named(text), *_in_digits(text)):
        if 1 <= month <= 12:
            if 1 <= day <= 31:
                days.setdefault(month, set()).add(day)
            if ends:
                years.setdefault(month, set()).update(ends)
    return days, years


_Parts = Iterator[tuple[int, int, list[int]]]
"""Month, day or 0, and the years that the third part may be."""


def _named(text: str) -> _Parts:
    """Dates with a month's name."""
    for form in (_DAY_FIRST, _MONTH_FIRST):
        for match in form.finditer(text):
            month, years = _EVERY[match["month"].lower()], _years((match["year"] or "")[-4:])
            yield month, 0, years
            for day in re.findall(r"\d+", match["days"] or ""):
                yield month, int(day), years


def _in_digits(text: str) -> _Parts:
    for match in DATE.finditer(text):
        one, two, three = (int(part) for part in match.groups())
        ends = [*_years(match[1]), *_years(match[3])]
        yield from ((one, two, ends), (two, one, ends), (two, three, ends))
    for match in SHORT_DATE.finditer(text):
        one, two = int(match[1]), int(match[2])
        yield from ((one, two, []), (two, one, []))
    for match in PACKED.finditer(text):
        yield int(match[2]), int(match[3]), [int(match[1])]


def _years(digits: str) -> list[int]:
    digits = digits.lstrip("'’‘")  # noqa: RUF001
    if len(digits) == 2:
        return [1900 + int(digits), 2000 + int(digits)]
    return [int(digits)] if len(digits) == 4 else []
