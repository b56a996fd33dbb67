"""The claims of a caption that a text can check: what they are and where they stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from curation.operators.text.facts_evidence import Evidence
from curation.operators.text.facts_forms import (
    LONGEST,
    MAGNITUDES,
    MONTHS,
    NUMBER_WORDS,
    ORDINAL_WORDS,
    WEEKDAYS,
    WORD,
    canonical,
    folded,
    unit_of,
    word_numbers,
)
from curation.operators.text.facts_lexicon import SMALL
from curation.operators.text.facts_names import names
from curation.operators.text.facts_sentences import sentences

CLAIM_KINDS = ("url", "quotation", "date", "unit", "number", "name")
"""In the order in which they are looked for: what one holds is no claim of another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Characters `start` to `end` of a caption, and whether the original states them."""

    kind: str
    start: int
    end: int
    supported: bool


_ENDINGS = (
    "com|org|net|edu|gov|mil|int|info|biz|example|app|dev|xyz|shop|store|online|blog|tech"
    "|ai|ar|au|br|ca|ch|cn|co|cz|de|dk|es|eu|fi|fr|gr|hk|hu|ie|il|io|jp|kr|mx|ng|nl|nz|ph|pk"
    "|pl|pt|ro|ru|se|sg|sk|th|tr|tv|tw|ua|uk|vn|za"
)
"""Of hosts named without http or www; none that is a word which may follow a stop (in, it, my)."""
ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"]{3,500}[^\s<>\".,;:!?)]"
    r"|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"
    rf"|(?<![\w.])(?:[\w-]{{2,63}}\.){{1,3}}(?:{_ENDINGS})\b(?:/\S{{0,200}})?"
    r"|(?<![\w.])(?:[\w-]{2,63}\.){1,3}[a-z]{2,12}/[\w-]\S{0,200}"
    r"|(?<!\w)[#@](?!\d+\b)\w{2,64}",
    re.IGNORECASE,
)
"""Of a page, a mailbox or a person, and tags."""
_QUOTED = re.compile(
    r"“([^“”]{2,200})”|«([^«»]{2,200})»|(?<![\w\"])\"(?=[^\s\"])([^\"]{2,200})(?<![\s])\"(?![\w\"])"
    r"|(?<![\w'’])[‘'](?=[^\s'])(?!\d0s)([^‘\n]{2,120}?)(?<![\s])['’](?![\w])"  # noqa: RUF001
)
_MONTH = "|".join(sorted({form.capitalize() for form in MONTHS}, key=len, reverse=True))
_LONG = {form for form in MONTHS if len(form) > 4} - {"march"} | {"june", "july"}
_SMALL = "|".join(sorted(_LONG - {"august"}))
_YEAR = r"(?:1[1-9]|20)\d\d"
_DAY = r"(?:[0-3]?\d)(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"\b(?:(?P<before>{_DAY})(?:\s+of)?\s+)?(?P<month>{_MONTH}|{_MONTH.upper()}|{_SMALL})\b\.?"
    rf"(?:\s+(?:the\s+)?(?P<after>{_DAY})(?![\w:]))?(?:,?\s+(?:of\s+)?(?P<year>{_YEAR})\b)?"
    rf"|(?<![\w-])(?P<digits>\d{{1,4}}([-/.])\d{{1,2}}\6\d{{2,4}})(?![\w-])"
    rf"|(?<![\w$€£.,])(?P<plain>{_YEAR})(?P<decade>['’]?s)?(?![\w%]|[.,]\d)"  # noqa: RUF001
)
_INTO_MONTH = re.compile(
    r"\b(?:in|of|since|until|by|early|mid|late|from|this|next|last)[ -]$", re.I
)
_WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b", re.IGNORECASE)
_CENTURY = re.compile(
    r"\b(\d{1,2}(?:st|nd|rd|th)|[a-z]+(?:st|nd|rd|th)|[a-z]+ty-[a-z]+)[ -](?:century|centuries)\b",
    re.I,
)
_WORD_NUMBER = rf"(?:{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})"
_WORD_TIMES = "hundred|thousand|million|billion"
_NUMBER = re.compile(
    r"(?<![\w.,/])(?P<sides>\d{1,9}(?:\.\d{1,9})?(?:\s?[x×]\s?\d{1,9}(?:\.\d{1,9})?)+)(?=[^\W\d_]{0,4}\b)"  # noqa: RUF001
    r"|(?<![\w.,/])(?P<money>[$€£¥₹]\s?)?(?P<digits>\d{1,3}(?:,\d{3}){1,9}(?:\.\d{1,9})?|\d{1,20}(?:\.\d{1,9})?)"
    r"(?P<ordinal>(?:st|nd|rd|th)(?![^\W\d_]))?(?P<glued>[^\W\d_]{1,12}\b|%|°)?(?!\w)"
    rf"|\b(?P<spelt>(?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-)?"
    rf"(?:{'|'.join(ORDINAL_WORDS)}))\b"
    rf"|\b(?P<words>{_WORD_NUMBER}(?:[ -](?:and[ -])?(?:{_WORD_NUMBER}|{_WORD_TIMES}))*)\b",
    re.IGNORECASE,
)
_UNIT_AFTER = re.compile(r"[ -]([^\W\d_]{2,12}|[glm](?!['’]))\b|\s?(%|°)")  # noqa: RUF001
_OLD = re.compile(r"[ -]years?[ -]old\b", re.IGNORECASE)
"""An age, which originals write in many ways: its number alone is held to them."""
_INITIALS = re.compile(r"\(([A-Z]{2,8})\)")
_NAMED = re.compile(r"[\w’',)] (?!Sentence)[A-Z][\w’']+ $")  # noqa: RUF001
"""A word with a capital within a sentence; Sentence 2 is talk."""
_BEFORE = re.compile(r"[^\W\d_]+")
_SIDES_UNIT = re.compile(r"[ -]?([^\W\d_]{2,12})\b")
_MODES = frozenset(("2d", "3d"))
"""Digits and a letter that are plain words."""
_MILLIONS = frozenset(("M", "B", "Bn", "BN", "bn", "Mn", "mn"))
"""Glued to a number these may be its magnitude; small m and b are others."""
_LOOSE = frozenset(("in", "second", "a", "ma", "mo", "ac", "day", "month", "year", "hour", "week"))
"""Words that are units only beside digits, or not at all after a number up to ten."""


class _Taken:
    """The characters that a claim already covers."""

    def __init__(self, length: int) -> None:
        self._flags = bytearray(length)

    def take(self, start: int, end: int) -> bool:
        """Covers them, unless one is covered."""
        if any(self._flags[start:end]):
            return False
        self._flags[start:end] = b"\1" * (end - start)
        return True

    def blank(self, text: str) -> str:
        """`text` with a mark in the place of each covered character."""
        return "".join("\x1f" if flag else c for c, flag in zip(text, self._flags, strict=True))


def claims(text: str, evidence: Evidence) -> list[Claim]:
    """The claims of `text` in order, each held against what `evidence` states."""
    taken = _Taken(len(text))
    found: list[Claim] = []
    for kind, source in (
        ("url", _urls), ("name", _expansions), ("quotation", _quotations), ("date", _dates),
        ("unit", _numbers),
    ):  # fmt: skip
        for start, end, supported, said in source(text, evidence):
            if taken.take(start, end):
                found.append(Claim(kind=said or kind, start=start, end=end, supported=supported))
    for start, end, supported in names(text, taken.blank(text), evidence):
        found.append(Claim(kind="name", start=start, end=end, supported=supported))
    return sorted(found, key=lambda claim: claim.start)


_Found = Iterator[tuple[int, int, bool, str]]
"""Start, end, whether it is stated, and the kind where it is not the source's own."""


def _urls(text: str, evidence: Evidence) -> _Found:
    for match in ADDRESS.finditer(text):
        words = [w for w in re.findall(r"[^\W_]+", match[0]) if w not in ("http", "https", "www")]
        whole = evidence.has_phrase(words)
        yield match.start(), match.end(), whole or all(map(evidence.has_word, words)), ""


def _quotations(text: str, evidence: Evidence) -> _Found:
    spans = list(sentences(text))
    for match in _QUOTED.finditer(text):
        start, end = match.span(match.lastindex or 0)
        words = WORD.findall(text, start, end)
        said = any(start <= first + 1 and end >= last - 2 for first, last in spans)
        if not words or (said and len(words) > 12):
            continue  # a captioner's own marks around what it says
        stated = all(states(evidence, word) for word in words if word.lower() not in SMALL)
        yield match.start(), match.end(), stated or evidence.has_phrase(words), ""


def _expansions(text: str, evidence: Evidence) -> _Found:
    """Words in full before their stated initials in parentheses, or stated ones before theirs."""
    for match in _INITIALS.finditer(text):
        letters = match[1].lower()
        words = list(_BEFORE.finditer(text, max(0, match.start() - 120), match.start()))
        firsts = [(word.start(), word[0][0].lower(), word[0].lower() in SMALL) for word in words]
        at = _expanded(letters, firsts)
        if at is not None and evidence.has_word(match[1]):
            yield at, match.end(), True, ""
        elif at is not None:
            yield match.start(), match.end(), True, ""


def _expanded(letters: str, firsts: list[tuple[int, str, bool]]) -> int | None:
    """Where the words begin whose first letters these are, small ones counted or not."""
    left = len(letters)
    for start, first, small in reversed(firsts):
        if left and first == letters[left - 1]:
            left -= 1
        elif not small:
            return None
        if not left:
            return start
    return None


def states(evidence: Evidence, word: str) -> bool:
    """Whether a word or number is stated."""
    if word.isdecimal() and len(word) <= LONGEST:
        return canonical(Decimal(word)) in evidence.numbers or evidence.has_word(word)
    return evidence.has_word(word)


def _dates(text: str, evidence: Evidence) -> _Found:
    for match in _DATE.finditer(text):
        if match["month"]:
            if _is_month(text, match):
                yield match.start(), match.end(), _states_date(match, evidence), ""
        elif match["digits"]:
            yield *match.span(), _states_digits(match["digits"], evidence), ""
        elif not _measured(text, match.end()):
            yield *match.span(), _states_year(match["plain"], bool(match["decade"]), evidence), ""
    for match in _WEEKDAY.finditer(text):
        day = WEEKDAYS[match[0].lower().removesuffix("s")]
        yield *match.span(), day in evidence.weekdays, ""
    for match in _CENTURY.finditer(text):
        value = _value(match[1])
        if value is not None:
            whole = any(number.isdecimal() and len(number) == 4 and int(number[:2]) == value - 1
                        for number in evidence.numbers)  # fmt: skip
            yield *match.span(), whole or canonical(value) in evidence.numbers, ""


def _is_month(text: str, match: re.Match[str]) -> bool:
    """Whether a word that may be a month is one: May, March and Mar are words of their own."""
    if match["month"].lower() in _LONG or match["year"] or match["after"] or match["before"]:
        return True
    before = text[max(0, match.start("month") - 8) : match.start("month")]
    return _INTO_MONTH.search(before) is not None


def _states_date(match: re.Match[str], evidence: Evidence) -> bool:
    days = [int(re.sub(r"\D", "", day)) for day in (match["before"], match["after"]) if day]
    year = int(match["year"]) if match["year"] else None
    return evidence.has_date(days, MONTHS[match["month"].lower()], year)


def _states_digits(date: str, evidence: Evidence) -> bool:
    """Whether the parts of a date in digits are stated, its month perhaps by name."""
    parts = [int(part) for part in re.findall(r"\d+", date)]
    return all(
        not evidence.numbers.isdisjoint((str(part), f"19{part:02}", f"20{part:02}"))
        or part in evidence.months
        for part in parts
    )


def _states_year(year: str, decade: bool, evidence: Evidence) -> bool:
    if decade and any(
        number.startswith(year[:3]) and len(number) == 4 for number in evidence.numbers
    ):
        return True
    century = str(int(year[:2]) + 1)
    return year in evidence.numbers or (
        decade and year.endswith("00") and century in evidence.numbers
    )


def _measured(text: str, end: int) -> bool:
    """Whether a unit follows, so that what looks like a year is an amount."""
    match = _UNIT_AFTER.match(text, end)
    if match is None:
        return False
    unit = unit_of(folded(match[1] or match[2]))
    return unit is not None and match[1] not in _LOOSE


def _value(text: str) -> Decimal | None:
    """The number that digits or words stand for."""
    digits = re.match(r"\d[\d,]*(?:\.\d+)?", text)
    if digits:
        return Decimal(digits[0].replace(",", ""))
    numbers = list(word_numbers(re.split(r"[ -]+", text.lower())))
    return Decimal(numbers[0]) if len(numbers) == 1 else None


def _numbers(text: str, evidence: Evidence) -> _Found:
    """Amounts with a unit, numbers above ten, and codes that begin with digits."""
    for match in _NUMBER.finditer(text):
        if match["sides"]:
            yield _sides(text, match, evidence)
            continue
        value, glued = _amount(match)
        if value is None:
            continue
        if kind := _glued(evidence, match, value):
            yield match.start(), match.end(), True, kind
            continue
        amount = canonical(value * _magnitude(text, match.end()))
        stated = amount in evidence.numbers
        unit, end = _unit(text, match, glued)
        if glued.lower() == "k" and "ct" in evidence.units:
            unit = "ct"
        if unit is not None:
            end = _past_magnitude(text, end) if match["money"] else end
            yield match.start(), end, evidence.has_amount(amount, unit), "unit"
        elif glued == "s" and len(match["digits"]) == 2:
            decades = (match["digits"], "19" + match["digits"], "20" + match["digits"])
            yield match.start(), end, not evidence.numbers.isdisjoint(decades), "date"
        elif glued.lower() in MAGNITUDES and _times(value, glued) in evidence.numbers:
            yield match.start(), match.end(), True, "number"
        elif glued:
            code = match["digits"] + glued
            if code.lower() not in _MODES:
                yield match.start(), end, evidence.has_word(code) or _parts(evidence, code), "name"
        elif (large := value * _magnitude(text, match.end()) > 10) or _is_named(text, match):
            yield match.start(), match.end(), stated, "number" if large else "name"


def _is_named(text: str, match: re.Match[str]) -> bool:
    """Whether a small number is part of a name: Season 3, but none behind a sentence's first
    word."""
    before = max(0, match.start() - 20)
    return bool(match["digits"] and _NAMED.search(text, before, match.start()))


def _amount(match: re.Match[str]) -> tuple[Decimal | None, str]:
    """A number, and the letters at it that are no magnitude of money."""
    value, glued = _value(match["digits"] or match["words"] or match["spelt"]), match["glued"] or ""
    if value is not None and match["money"] and glued.lower() in MAGNITUDES:
        return Decimal(_times(value, glued)), ""
    return value, glued


def _sides(
    text: str, match: re.Match[str], evidence: Evidence
) -> tuple[int, int, bool, Literal["unit"]]:
    """A size, as 20 x 30 cm."""
    sides = [canonical(Decimal(side)) for side in re.findall(r"\d+(?:\.\d+)?", match[0])]
    after = _SIDES_UNIT.match(text, match.end())
    unit = unit_of(folded(after[1])) if after and after[1] not in _LOOSE else None
    stated = all(side in evidence.numbers for side in sides)
    end = after.end() if after and unit else match.end()
    return match.start(), end, stated and (not unit or unit in evidence.units), "unit"


def _glued(evidence: Evidence, match: re.Match[str], value: Decimal) -> str | None:
    """The kind of a number with letters at it that is stated as it is, or in full."""
    glued = match["glued"]
    if not glued or match["money"]:
        return None
    if glued in _MILLIONS and _times(value, glued) in evidence.numbers:
        return "number"
    code = match["digits"] + glued
    if glued.isalpha() and code.lower() not in _MODES and evidence.has_word(code):
        return "unit" if unit_of(folded(glued)) else "name"
    return None


def _magnitude(text: str, end: int) -> int:
    """What an amount is multiplied by: 1.5 million is above ten, and may be stated in figures."""
    after = _SIDES_UNIT.match(text, end)
    word = after[1].lower() if after else ""
    return MAGNITUDES.get(word, 1) if len(word) > 2 else 1


def _past_magnitude(text: str, end: int) -> int:
    """Where the word for it ends, if one follows."""
    after = _SIDES_UNIT.match(text, end)
    return after.end() if after and _magnitude(text, end) > 1 else end


def _times(value: Decimal, magnitude: str) -> str:
    return canonical(value * MAGNITUDES[magnitude.lower()])


def _unit(text: str, match: re.Match[str], glued: str) -> tuple[str | None, int]:
    """The unit of a number, and where it ends."""
    if match["money"]:
        return unit_of(match["money"].strip()), match.end()
    if glued:
        return unit_of(folded(glued)) if glued not in "%°" else glued, match.end()
    after = _UNIT_AFTER.match(text, _past_magnitude(text, match.end()))
    if after is None or match["ordinal"] or match["spelt"] or _OLD.match(text, match.end()):
        return None, match.end()
    word = folded(after[1]) if after[1] else after[2]
    loose = word in _LOOSE and not (match["digits"] and word not in ("in", "a", "ma", "mo", "ac"))
    small = match["words"] and match["words"].lower() == "one"
    if loose or small:
        return None, match.end()
    return unit_of(word), after.end() if unit_of(word) else match.end()


def _parts(evidence: Evidence, code: str) -> bool:
    """Whether each run of digits or letters of a code is stated."""
    return all(states(evidence, part) for part in re.findall(r"\d+|[^\W\d_]+", code))
