"""The numbers of a text, each in every form that it may be meant in."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from curation.operators.text.facts_bonds import DATE, NUMBER, PACKED, PACKED_LAST, units_after
from curation.operators.text.facts_forms import (
    FOREIGN_MONTHS,
    MAGNITUDES,
    MONTHS,
    WORD,
    canonical,
    roman,
    word_numbers,
)

_SHORT_YEAR = re.compile(
    r"(?:['’‘]|\b(?:fw|ss|aw|sp|su|fa|pf|rs|fall|spring)[ -]?|\b[sfw]"  # noqa: RUF001
    rf"|\d-(?:{'|'.join(sorted(FOREIGN_MONTHS | MONTHS))})-)(\d\d)(?!\d)",
    re.IGNORECASE,
)
"""A year of two digits: after an apostrophe, a day and month, or a season in full or as fashion
writes it."""
_RANGE = re.compile(r"(?<!\d)((?:1[5-9]|20)\d)(\d)s?\s?[-–/&]\s?'?(\d\d)(?!\d)")  # noqa: RUF001
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MONEY = frozenset("$€£¥₹")
_CARATS = 24
"""Of pure gold."""


def numbers(text: str, words: Sequence[str]) -> frozenset[str]:
    """Canonical spellings of every number of a text and its words, those of dates included."""
    found: set[str] = set()
    for match in NUMBER.finditer(text):
        found.update(read(text, match))
    for match in DATE.finditer(text):
        # Of 12/05/2016 the first part is no year.
        whole = [part for part in (match[1], match[3]) if len(part) == 4]
        for part in whole or (match[1], match[3]):
            found.update(_years(part))
    for form in (PACKED, PACKED_LAST):
        for match in form.finditer(text):
            found.update(canonical(int(part)) for part in match.groups())
    for match in _SHORT_YEAR.finditer(text):
        found.update(_years(match[1]))
    for match in _RANGE.finditer(text):
        found.add(match[1][:2] + match[3])
    found.update(word_numbers([word.lower() for word in words]))
    found.update(canonical(value) for word in words if (value := roman(word)))
    if "I" in words:
        found.add("1")
    return frozenset(found)


def read(text: str, match: re.Match[str]) -> Iterable[str]:
    """The numbers that one run of digits may be."""
    whole = re.sub(r"[,  ](?=\d{3}(?!\d))", "", match[0])
    money = text[match.start() - 1 : match.start()] in _MONEY
    values = {whole.replace(",", ".")}
    if not _is_one(text, match, money):
        values.update(re.findall(r"\d+", match[0]))
    spaced = text[match.end() : match.end() + 1] == " "
    found = WORD.match(text, match.end() + spaced)
    word = found[0].lower() if found else ""
    letters = word in ("k", "m", "b", "mn", "bn")
    unlike = letters and (spaced or (word == "b" and not money))  # a long 5 m, a flat 3B
    times = None if unlike else MAGNITUDES.get(word)
    for value in filter(_is_number, values):
        number = Decimal(value)
        if times:
            yield canonical(number * times)
        # 5m may be metres, 18k gold.
        if not times or (not money and (word == "m" or (word == "k" and number <= _CARATS))):
            yield canonical(number)
        if len(value) == 2 and word == "s":
            yield from _years(value)


def _is_one(text: str, match: re.Match[str], money: bool) -> bool:
    """Whether digits are one amount, of which no part is another: 1,500, $19.99, 3.5 kg."""
    if _GROUPED.fullmatch(match[0]):
        return True
    parted = "." in match[0] or "," in match[0]
    return parted and (money or any(True for _ in units_after(text, match.end())))


def _is_number(value: str) -> bool:
    return value.count(".") < 2 and value.replace(".", "").isdecimal()


def _years(digits: str) -> tuple[str, ...]:
    """The years that digits of a date may be."""
    if len(digits) == 2:
        return (f"19{digits}", f"20{digits}", canonical(int(digits)))
    return (canonical(int(digits)),)
