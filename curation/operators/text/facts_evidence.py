"""What a text states, asked for in any usual form: the original that a new caption is held to."""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property, partial

from curation.core.words import normalise
from curation.operators.text.facts_bonds import (
    DATE,
    MARKS,
    PACKED,
    PACKED_LAST,
    SHORT_DATE,
    Amounts,
    Dates,
    amounts,
    dates,
)
from curation.operators.text.facts_forms import (
    ADJECTIVE,
    FOREIGN_MONTHS,
    MONTHS,
    NUMBER_WORDS,
    ORDINAL_WORDS,
    PEOPLES,
    PLACES,
    SHORT,
    WEEKDAYS,
    WORD,
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
from curation.operators.text.facts_numbers import numbers, read
from curation.operators.text.facts_slips import near

TAG = re.compile(r"<[a-z/!][^<>]{0,500}>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[a-z]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.){2,}")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
_AFTER_NUMBER = re.compile(r"\d\s?(\"|”|''|'(?!s)|’(?!s)|%|°|in\b|k\b)|([$€£¥₹])", re.IGNORECASE)  # noqa: RUF001
_PER_CENT = re.compile(r"\bper cent\b", re.IGNORECASE)
_TRIES = 100
"""Places of a text where letters are looked for: enough for any that is no attack."""
_POUNDS = frozenset(("£", "lb"))
"""What a pound is."""
_UNITED = (("states", "usa"), ("kingdom", "uk"))
_SMALL = frozenset(
    ("of", "the", "and", "for", "a", "an", "in", "to", "de", "la", "du", "di", "at", "on")
)


class Evidence:
    """The words, numbers, dates and units that a text holds, with what they are short for."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = [TAG.sub(" ", text) for text in texts]
        self._lasts = list(filter(None, map(_last, known)))
        plain = _PER_CENT.sub("percent", "\n".join(known))
        if "&" in plain:
            plain = _ENTITY.sub(lambda found: normalise(found[0]) or " ", plain)
        self._plain = _INITIALS.sub(lambda found: found[0].replace(".", "") + " ", plain)
        text = self._plain.replace("_", " ").replace("%20", " ")
        found = [
            (match[0], folded(match[0]), is_handle(text, match)) for match in WORD.finditer(text)
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
            if short in found and (short != "us" or self._is_name(short)):
                found.update(full.split("_"))
        found.update(self._places())
        found.update(map(stem, tuple(found)))
        return frozenset(found)

    def _places(self) -> Iterable[str]:
        for before, raw in itertools.pairwise(("", *self._raw)):
            word = raw.lower()
            if word not in PLACES:
                continue
            loud = len(before) > 1 and before.isupper() and is_common(word)  # MADE IN CHINA
            if len(raw) > 2 or (raw.isupper() and before and not loud):
                yield from PLACES[word].split("_")

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
        known = (word for word in (*self.words, *united) if word in PEOPLES)
        return frozenset(PEOPLES[word] for word in known if self._is_name(word))

    @cached_property
    def _capitals(self) -> frozenset[str]:
        """Folded words that are written with a capital."""
        return frozenset(word for raw, word in self._pairs if raw[0].isupper())

    def _is_name(self, word: str) -> bool:
        """Whether a word that may be a common one is written as a name: China, Sat, but not us."""
        small = self._plain[1:].islower()
        return small or word in self._capitals or not is_common(word)

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
        return numbers(self._plain, self._raw)

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
        packed = {
            int(match[2]) for form in (PACKED, PACKED_LAST) for match in form.finditer(self._plain)
        }
        return frozenset(named | packed | {month for month in read if month <= 12})

    @cached_property
    def weekdays(self) -> frozenset[int]:
        """0-6, from Monday."""
        known = (word for word in self.words if word in WEEKDAYS)
        return frozenset(WEEKDAYS[word] for word in known if self._is_name(word))

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
        return amounts(self._plain, partial(read, self._plain))

    @cached_property
    def _dates(self) -> Dates:
        return dates(self._plain)

    @cached_property
    def _spelt(self) -> frozenset[str]:
        """Numbers in words, which may belong to any unit or month."""
        return frozenset(word_numbers([word.lower() for word in self._raw]))

    def has_amount(self, number: str, unit: str) -> bool:
        """Whether a canonical number and a unit are stated, and not each with others."""
        units = self.units.intersection(_POUNDS if unit in _POUNDS else (unit,))
        if number not in self.numbers:
            return False
        free = self._amounts.free | self._spelt
        return any(number in self._amounts.by_unit.get(u, ()) or number in free for u in units)

    def has_date(self, days: Sequence[int], month: int, year: int | None) -> bool:
        """Whether the parts of a date are stated, and not each with others."""
        years = [year] if year is not None else []
        if month not in self.months or not self.numbers.issuperset(map(canonical, [*days, *years])):
            return False
        known = self._dates
        loose = known.free.union(map(int, filter(str.isdecimal, self._spelt)))
        return all(
            part in held.get(month, ()) or part in loose
            for parts, held in ((days, known.days), (years, known.years))
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
        whole = "".join(word.lower().replace("'", "") for word in words)
        return self._within("".join(forms)) or self._within(whole) or self._as_initials(forms)

    def _as_initials(self, forms: Sequence[str]) -> bool:
        """Whether the text holds their initials, small words counted or not: LG is not LG G4."""
        if not "".join(forms).isalpha():
            return False
        long = [form for form in forms if form not in _SMALL]
        initials = {"".join(form[0] for form in part) for part in (forms, long)}
        return not self._acronyms.isdisjoint(initials.difference(forms))

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

    def _slip(self, form: str) -> bool:
        """Whether a stated word differs by one letter within, or is cut off at a text's end."""
        for last, cut in self._lasts:
            if (
                4 <= len(last) < len(form)
                and form.startswith(last)
                and (cut or _DERIVED.fullmatch(form, len(last)))
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


_FEW = 3
"""Initials that any text has by chance."""

_CUT = 40
"""Characters of the shortest text that may have been cut off: Niger ends a shorter one whole."""


def _last(text: str) -> tuple[str, bool] | None:
    """The last word of a text, and whether the text may have been cut off within it."""
    words = [
        word for match in WORD.finditer(text, max(0, len(text) - 200)) if (word := folded(match[0]))
    ]
    if not words:
        return None
    end = text.rstrip()
    dotted = end.endswith(("..", "…"))
    whole = len(end) < _CUT or is_common(words[-1])
    return words[-1], dotted or (end[-1].isalpha() and not whole)


_DERIVED = re.compile(r"(?:i?a)?[nl]")
"""What makes an adjective of a word, as of Hawaii."""

_SMALL_ENDING = re.compile(r"(?:['’]s|s)$")  # noqa: RUF001
"""What initials in capitals may end with."""


def _joined(letters: Sequence[tuple[str, str]]) -> tuple[str, str]:
    one, other = zip(*letters, strict=True) if letters else ((), ())
    return "".join(one), "".join(other)
