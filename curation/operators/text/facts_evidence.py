"""What a text states, asked for in any usual form: the original that a new caption is held to."""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property

from curation.core.words import normalise
from curation.operators.text.facts_bonds import (
    DATE,
    MARKS,
    NUMBER,
    PACKED,
    SHORT_DATE,
    Amounts,
    Dates,
    amounts,
    dates,
)
from curation.operators.text.facts_forms import (
    ADJECTIVE,
    FOREIGN_MONTHS,
    MAGNITUDES,
    MONTHS,
    NUMBER_WORDS,
    ORDINAL_WORDS,
    PEOPLES,
    PLACES,
    SHORT,
    WEEKDAYS,
    canonical,
    folded,
    is_handle,
    roman,
    root,
    stem,
    unit_of,
    word_numbers,
)
from curation.operators.text.facts_lexicon import GRAMMAR, is_common
from curation.operators.text.facts_slips import near

TAG = re.compile(r"<[a-z/!][^<>]{0,500}>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[a-z]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_RUN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.){2,}")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
_SHORT_YEAR = re.compile(
    r"(?:['’‘]|\b(?:fw|ss|aw|sp|su|fa|pf|rs|fall|spring)[ -]?|\b[sfw])(\d\d)(?!\d)",  # noqa: RUF001
    re.IGNORECASE,
)
"""A year of two digits: after an apostrophe, or a season in full or as fashion writes it."""
_RANGE = re.compile(r"(?<!\d)((?:1[5-9]|20)\d)(\d)s?\s?[-–/&]\s?'?(\d\d)(?!\d)")  # noqa: RUF001
_AFTER_NUMBER = re.compile(r"\d\s?(\"|”|''|'(?!s)|’(?!s)|%|°|in\b|k\b)|([$€£¥₹])", re.IGNORECASE)  # noqa: RUF001
_TRIES = 100
"""Places of a text where letters are looked for: enough for any that is no attack."""
_UNITED = (("states", "usa"), ("kingdom", "uk"))
_SMALL = frozenset(
    ("of", "the", "and", "for", "a", "an", "in", "to", "de", "la", "du", "di", "at", "on")
)


class Evidence:
    """The words, numbers, dates and units that a text holds, with what they are short for."""

    def __init__(self, texts: Iterable[str]) -> None:
        plain = "\n".join(TAG.sub(" ", text) for text in texts)
        if "&" in plain:
            plain = _ENTITY.sub(lambda found: normalise(found[0]) or " ", plain)
        self._plain = _INITIALS.sub(lambda found: found[0].replace(".", "") + " ", plain)
        text = self._plain.replace("_", " ").replace("%20", " ")
        found = [
            (match[0], folded(match[0]), is_handle(text, match)) for match in _RUN.finditer(text)
        ]
        self._raw = [raw for raw, _, _ in found]
        self._pairs = [(raw, word) for raw, word, _ in found if word]
        self._handles = [handle for _, word, handle in found if word]
        self._runs = [word for _, word in self._pairs]

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word and part of one, in every form that counts as it."""
        found = set(self._runs)
        for raw in self._raw:
            for parts in (_PART.findall(raw), _LETTERS_OR_DIGITS.findall(raw)):
                if len(parts) > 1:
                    found.update(map(folded, parts))
        found.update(map(stem, tuple(found)))
        for short, full in SHORT:
            if short in found:
                found.update(full.split("_"))
        found.update(self._places())
        found.update(map(stem, tuple(found)))
        return frozenset(found)

    def _places(self) -> Iterable[str]:
        for at, raw in enumerate(self._raw):
            if raw.lower() in PLACES and (len(raw) > 2 or (raw.isupper() and at)):
                yield from PLACES[raw.lower()].split("_")

    @cached_property
    def _roots(self) -> tuple[frozenset[str], frozenset[str]]:
        """Roots of all words, and of those that are formed like adjectives."""
        formed = filter(ADJECTIVE.search, self.words)
        return (
            frozenset(filter(None, map(root, self.words))),
            frozenset(filter(None, map(root, formed))),
        )

    @cached_property
    def _peoples(self) -> frozenset[int]:
        united = [nation for second, nation in _UNITED if {"united", second} <= self.words]
        return frozenset(PEOPLES[word] for word in (*self.words, *united) if word in PEOPLES)

    @cached_property
    def _squeezed(self) -> tuple[str, list[int]]:
        """All words as one string, and where in it each begins."""
        starts = itertools.accumulate(map(len, self._runs), initial=0)
        return "".join(self._runs), list(starts)[:-1]

    @cached_property
    def _initials(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """First letters of all words, and of those that are not small: folded, and as they are
        written, with "-" for a small word."""
        firsts = [(word[0], "-" if word in _SMALL else raw[0]) for raw, word in self._pairs]
        long = [(first, written) for first, written in firsts if written != "-"]
        return _joined(firsts), _joined(long)

    @cached_property
    def _acronyms(self) -> frozenset[str]:
        """Words that may be initials: written in capitals, or no common ones."""
        loud = self._plain.isupper()
        return frozenset(
            word
            for raw, word in self._pairs
            if (len(word) > 1 and _SMALL_ENDING.sub("", raw).isupper() and not loud)
            or (len(word) > 2 and not is_common(word) and word not in GRAMMAR)
        )

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Canonical spellings of every number, those of dates and words included."""
        found: set[str] = set()
        for match in NUMBER.finditer(self._plain):
            found.update(self._read(match))
        for match in DATE.finditer(self._plain):
            found.update(_years(match[1]), _years(match[3]))
        for match in PACKED.finditer(self._plain):
            found.update(canonical(int(part)) for part in match.groups())
        for match in _SHORT_YEAR.finditer(self._plain):
            found.update(_years(match[1]))
        for match in _RANGE.finditer(self._plain):
            found.add(match[1][:2] + match[3])
        found.update(word_numbers([word.lower() for word in self._raw]))
        found.update(canonical(value) for raw in self._raw if (value := roman(raw)))
        return frozenset(found)

    def _read(self, match: re.Match[str]) -> Iterable[str]:
        """The numbers that one run of digits may be."""
        text = re.sub(r"[,  ](?=\d{3}(?!\d))", "", match[0])
        values = {text.replace(",", "."), *re.findall(r"\d+", match[0])}
        spaced = self._plain[match.end() : match.end() + 1] == " "
        found = _RUN.match(self._plain, match.end() + spaced)
        word = found[0].lower() if found else ""
        money = self._plain[match.start() - 1 : match.start()] in (*"$€£¥₹",)
        letters = word in ("k", "m", "b", "mn", "bn")
        unlike = letters and (spaced or (word == "b" and not money))  # a long 5 m, a flat 3B
        times = None if unlike else MAGNITUDES.get(word)
        for value in values:
            try:
                number = Decimal(value)
            except InvalidOperation:
                continue
            if times:
                yield canonical(number * times)
            # 5m may be metres, 18k gold.
            if not times or (not money and (word == "m" or (word == "k" and number <= _CARATS))):
                yield canonical(number)
            if len(value) == 2 and word == "s":
                yield from _years(value)

    @cached_property
    def months(self) -> frozenset[int]:
        """1-12, from names and from every reading of dates in digits."""
        every = FOREIGN_MONTHS | MONTHS
        named = {every[word] for word in self.words if word in every}
        read = {
            int(part)
            for form in (DATE, SHORT_DATE)
            for match in form.finditer(self._plain)
            for part in match.groups()
        }
        packed = {int(match[2]) for match in PACKED.finditer(self._plain)}
        return frozenset(named | packed | {month for month in read if month <= 12})

    @cached_property
    def weekdays(self) -> frozenset[int]:
        """0-6, from Monday."""
        return frozenset(WEEKDAYS[word] for word in self.words if word in WEEKDAYS)

    @cached_property
    def units(self) -> frozenset[str]:
        """Canonical units, written out or as marks after a number."""
        words = {unit for word in self.words if (unit := unit_of(word))}
        marks = {
            MARKS.get(mark.lower(), "inch") if mark else (unit_of(sign) or sign)
            for mark, sign in _AFTER_NUMBER.findall(self._plain)
        }
        return frozenset(words | marks)

    @cached_property
    def _amounts(self) -> Amounts:
        return amounts(self._plain, self._read)

    @cached_property
    def _dates(self) -> Dates:
        return dates(self._plain)

    @cached_property
    def _spelt(self) -> frozenset[str]:
        """Numbers in words, which may belong to any unit or month."""
        return frozenset(word_numbers([word.lower() for word in self._raw]))

    def has_amount(self, number: str, unit: str) -> bool:
        """Whether a canonical number and a unit are stated, and not each with others."""
        if number not in self.numbers or unit not in self.units:
            return False
        there = self._amounts.by_unit.get(unit)
        return there is None or number in there or number in self._amounts.free | self._spelt

    def has_date(self, days: Sequence[int], month: int, year: int | None) -> bool:
        """Whether the parts of a date are stated, and not each with others."""
        years = [year] if year is not None else []
        if month not in self.months or not self.numbers.issuperset(map(canonical, [*days, *years])):
            return False
        known = self._dates
        loose = known.free.union(map(int, filter(str.isdecimal, self._spelt)))
        return all(
            part in held or part in loose
            for parts, held in ((days, known.days.get(month)), (years, known.years.get(month)))
            if held
            for part in parts
        )

    def has_word(self, word: str) -> bool:
        """Whether a word, in some usual form, is stated."""
        form = folded(word.replace(".", ""))
        if not form:
            return True
        return (
            form in self.words
            or stem(form) in self.words
            or (form.isalpha() and not self.words.isdisjoint((form.removesuffix("s"), f"{form}s")))
            or self._has_number_form(word)
            or PEOPLES.get(form) in self._peoples
            or root(form) in self._roots[0 if ADJECTIVE.search(form) else 1]
            or self._has_short(word, form)
            or self._within(form)
            or self._slip(form)
        )

    def has_phrase(self, words: Sequence[str]) -> bool:
        """Whether words that stand together are stated as one, or as their initials."""
        forms = [form for form in map(folded, words) if form]
        initials = "".join(form[0] for form in forms)
        long = "".join(form[0] for form in forms if form not in _SMALL)
        whole = "".join(word.lower().replace("'", "") for word in words)
        return (
            self._within("".join(forms))
            or self._within(whole)
            or not self._acronyms.isdisjoint((initials, long))
        )

    def _has_number_form(self, word: str) -> bool:
        lower = word.lower()
        value = NUMBER_WORDS.get(lower, ORDINAL_WORDS.get(lower, roman(word)))
        return value is not None and not {canonical(value)}.isdisjoint(self.numbers | self.words)

    def _has_short(self, word: str, form: str) -> bool:
        """Whether it is short for stated words, or stands for their initials."""
        fulls = [full for short, full in SHORT if short == form]
        if word.isupper() and form in PLACES:
            fulls.append(PLACES[form])
        if any(all(part in self.words for part in full.split("_")) for full in fulls):
            return True
        return len(form) > 2 and word.isupper() and self._spelt_out(form)

    def _spelt_out(self, form: str) -> bool:
        """Whether letters are the initials of words that stand together; of a few words only where
        these have capitals, as any three words have some."""
        for firsts, raws in self._initials:
            at = firsts.find(form)
            while at >= 0:
                there = raws[at : at + len(form)]
                capitals = "-" not in (there[0], there[-1]) and there == there.upper()
                if capitals or len(form) > _FEW:
                    return True
                at = firsts.find(form, at + 1)
        return False

    def _within(self, form: str) -> bool:
        """Whether letters stand together in the text: words without what is between them, or an
        end of a word that is none of common English, as of a handle."""
        if len(form) < 4:
            return False
        squeezed, _ = self._squeezed
        at = -1
        for _ in range(_TRIES):
            at = squeezed.find(form, at + 1)
            if at < 0:
                return False
            if self._stands(at, at + len(form)):
                return True
        return False

    def _stands(self, start: int, end: int) -> bool:
        _, starts = self._squeezed
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, end) - 1
        runs = self._runs[first : last + 1]
        head, tail = start - starts[first], starts[last] + len(runs[-1]) - end
        if not head and not tail:
            whole = 2 * len(runs) <= end - start and not GRAMMAR.issuperset(runs)
            return whole or len(runs) == 1
        cut = first if head else last
        return not (head and tail) and self._handles[cut] and not is_common(self._runs[cut])

    @property
    def _cut(self) -> bool:
        """Whether the text may have been cut off within its last word."""
        text = self._plain.rstrip()
        return len(text) >= _CUT and (text[-1].isalpha() or text.endswith(("..", "…")))

    def _slip(self, form: str) -> bool:
        """Whether a stated word differs by one letter within, or is cut off at the text's end."""
        last = self._runs[-1] if self._runs else ""
        if (
            4 <= len(last) < len(form)
            and form.startswith(last)
            and (self._cut or _DERIVED.fullmatch(form, len(last)))
        ):
            return True
        return (
            len(form) > 5
            and form.isalpha()
            and any(
                abs(len(word) - len(form)) < 2 and near(word, form)
                for word in self._by_initial.get(form[0], ())
            )
        )

    @cached_property
    def _by_initial(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for word in self.words:
            if word:
                found.setdefault(word[0], []).append(word)
        return found


_CARATS = 24
"""Of pure gold."""

_FEW = 3
"""Initials that any text has by chance."""

_CUT = 40
"""Characters of the shortest text that may have been cut off: Niger ends a shorter one whole."""

_DERIVED = re.compile(r"(?:i?a)?[nl]")
"""What makes an adjective of a word, as of Hawaii."""

_SMALL_ENDING = re.compile(r"(?:['’]s|s)$")  # noqa: RUF001
"""What initials in capitals may end with."""


def _joined(letters: Sequence[tuple[str, str]]) -> tuple[str, str]:
    one, other = zip(*letters, strict=True) if letters else ((), ())
    return "".join(one), "".join(other)


def _years(digits: str) -> tuple[str, ...]:
    """The years that digits of a date may be."""
    if len(digits) == 2:
        return (f"19{digits}", f"20{digits}", canonical(int(digits)))
    return (canonical(int(digits)),)
