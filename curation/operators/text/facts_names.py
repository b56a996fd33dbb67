"""The names of a caption: words with capitals that stand together, told from mere grammar."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from curation.operators.text.facts_evidence import Evidence
from curation.operators.text.facts_forms import NUMBER_WORDS, ORDINAL_WORDS, folded
from curation.operators.text.facts_lexicon import (
    GRAMMAR,
    KINDS,
    LETTERS,
    ROLES,
    SMALL,
    is_common,
)
from curation.operators.text.facts_sentences import sentences

_WORD = re.compile(r"(?:[^\W\d_]\.){2,}|[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
_JOIN = re.compile(
    r"(?:[ \-/.&+:]|\s)\s?(?:(?:of the|of|the|de|la|le|du|van|von|der|di|da|del)\s)?"
    r"|\.\s|\s?&\s?|['’]"  # noqa: RUF001
)
"""What may stand between two words of one name."""

_LEXICAL = re.compile(
    r"\b(?:(?:French|Dutch) (?:fries|doors?|windows?|toast|press|braids?|bulldogs?|manicures?)"
    r"|Ferris wheels?|Christmas trees?|Venetian blinds?|Persian cats?"
    r"|Roman (?:numerals?|blinds?|shades?)|Arabic numerals?|German shepherds?|Afghan hounds?"
    r"|Great Danes?|Adirondack chairs?|Chelsea boots?|Swiss cheese|Danish pastr(?:y|ies)"
    r"|Belgian waffles?|Polaroids?|Bluetooth|Wi-Fi|Internet|Velcro|X-rays?"
    r"|[A-Z]-(?:neck|shirts?|shaped|line))\b"
)
"""Phrases whose capital names nobody any more."""

_OPENING = frozenset('"“‘(')  # noqa: RUF001
_CONTRACTED = frozenset(("re", "ve", "ll", "d", "m", "t"))
"""What may follow an apostrophe in a word that is no name."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    sure: bool
    """Whether its capitals make it a name; a common word may merely begin the sentence."""


def names(text: str, blanked: str, evidence: Evidence) -> Iterator[tuple[int, int, bool]]:
    """Start, end and support of each name of `text`.

    `blanked` is `text` with \\x1f in the place of what other claims cover.
    """
    blanked = _LEXICAL.sub(lambda found: "\x1f" * len(found[0]), blanked)
    for start, end in sentences(text):
        for run in _runs(blanked, start, end):
            yield run[0].start, run[-1].end, _stated(run, evidence)


def _runs(text: str, start: int, end: int) -> Iterator[list[_Token]]:
    """Names of the sentence from `start` to `end`: words with capitals that stand together."""
    run: list[_Token] = []
    for token in _capitalised(text, start, end):
        if run and not _JOIN.fullmatch(text, run[-1].end, token.start):
            yield from _kept(run)
            run = []
        run.append(token)
    yield from _kept(run)


def _kept(run: list[_Token]) -> Iterator[list[_Token]]:
    """The run, if its capitals make it a name and it says more than a kind: the Captain, Page 2."""
    sure = {folded(token.text.replace(".", "")) for token in run if token.sure}
    bare = sure <= ROLES or (len(sure) == 1 and sure <= KINDS)
    if sure and not bare:
        yield run


def _capitalised(text: str, start: int, end: int) -> Iterator[_Token]:
    first = True
    title = _is_title(text[start:end])
    for match in _WORD.finditer(text, start, end):
        word = match[0]
        before = text[max(0, match.start() - 2) : match.start()]
        opening = title or first or before[-1:] in _OPENING or before in (": ", "- ")
        first = False
        sure = _is_name(word, opening)
        if sure or _is_name(word, False):
            yield _Token(word, match.start(), match.end(), sure)


def _is_name(word: str, opening: bool) -> bool:
    """Whether a word's capitals make it one of a name."""
    form = folded(word.replace(".", ""))
    if (
        not any(c.isupper() for c in word)
        or form in LETTERS
        or (len(form) > 2 and form.removesuffix("s") in LETTERS)
        or word.isdecimal()
    ):
        return False
    if len(form) < 2 and not word.endswith("."):
        return False
    stem, _, ending = word.lower().replace("’", "'").partition("'")  # noqa: RUF001
    if form in NUMBER_WORDS or form in ORDINAL_WORDS:
        return False
    if is_common(form) or (ending in _CONTRACTED and is_common(stem)):
        return not opening and form not in GRAMMAR
    return True


_LINKS = SMALL | frozenset(("with", "from", "over", "into", "x", "vs", "de", "la", "by", "per"))
"""Words that titles write small."""


def _is_title(sentence: str) -> bool:
    """Whether every word of meaning has a capital, so that capitals tell nothing."""
    words = _WORD.findall(sentence)
    return len(words) > 3 and not any(word.islower() and word not in _LINKS for word in words)


def _stated(run: list[_Token], evidence: Evidence) -> bool:
    """Whether each word of a name is stated; a class word beside a stated one need not be."""
    missing = [word.text for word in run if word.sure and not evidence.has_word(word.text)]
    if not missing or any(evidence.has_phrase(words) for words in ([w.text for w in run], missing)):
        return True
    present = sum(token.sure for token in run) > len(missing)
    return present and all(folded(word.replace(".", "")) in KINDS for word in missing)
