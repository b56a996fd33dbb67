"""Words of a text as a vocabulary counts them: what a matcher would find again.

Tokens are the matcher's, so that every entry made of them can match; points and what is no word
part phrases, and no pair of words reaches over a parting. Quotes and brackets around a word are
taken off: `"cat"` counts for `cat`, though MetaCLIP's spacing does not match it there.
"""

import re
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from curation.core.vocabulary import MAX_ENTRY
from curation.operators.text.matcher import UNSPACED, spacing

_EDGES = string.punctuation + "“”„‘’‚«»‹›…–—¿¡|•·®™©"  # noqa: RUF001 - as typeset text has them
_ENDS = frozenset(".?!")
_TOKEN = re.compile(r"[A-Za-z0-9]+|.", re.DOTALL)
_IDEOGRAPHS = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_INSIDE = frozenset(("of", "the", "de", "la", "van", "von"))
"""Small words inside names: Statue of Liberty, Vincent van Gogh."""
_NAME_WORDS = 6
"""Words of a name; longer runs are headlines."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in a row that nothing parts."""

    words: list[str]
    opens: bool
    """Whether it is the first of its sentence."""


def phrases(text: str, language: str) -> Iterator[Phrase]:
    """The phrases of a text, in order; of characters where the language has no spaces."""
    tokens = _TOKEN.findall(text) if language in UNSPACED else spacing(text).split()
    bare = "" if language in UNSPACED else _EDGES
    words: list[str] = []
    opens = True
    for token in tokens:
        word = token.strip(bare) if bare else token
        if is_word(word):
            words.append(word)
            continue
        if words:
            yield Phrase(words, opens)
            words, opens = [], False
        opens = opens or token in _ENDS
    if words:
        yield Phrase(words, opens)


def is_word(word: str) -> bool:
    """Whether a token can be a concept, or part of one."""
    if not 0 < len(word) <= MAX_ENTRY or not word.isprintable():
        return False
    return any(c.isalnum() for c in word) or unicodedata.category(word[0])[0] == "M"


def stands_alone(word: str, language: str) -> bool:
    """Whether a word is a concept by itself: a lone kana or Thai letter is none."""
    if language not in UNSPACED or len(word) > 1:
        return True
    return any(low <= ord(word) <= high for low, high in _IDEOGRAPHS)


def names(sentence: list[Phrase]) -> Iterator[str]:
    """Runs of capitalised words in a sentence, after a word in lower case.

    What a sentence starts with says nothing, nor does a caption that is capitalised throughout.
    """
    lower = False
    for phrase in sentence:
        run: list[str] = []
        for word in [*phrase.words, ""]:
            if word[:1].isupper() or (run and word in _INSIDE):
                run.append(word)
            else:
                while run and run[-1] in _INSIDE:
                    run.pop()
                if lower and 0 < len(run) <= _NAME_WORDS:
                    yield " ".join(run)
                run = []
            lower = lower or word[:1].islower()


def sentences(found: Iterator[Phrase]) -> Iterator[list[Phrase]]:
    """Phrases by the sentence that they belong to."""
    sentence: list[Phrase] = []
    for phrase in found:
        if phrase.opens and sentence:
            yield sentence
            sentence = []
        sentence.append(phrase)
    if sentence:
        yield sentence


def as_matched(entry: str, language: str) -> str:
    """An entry as the spaced text has it: `St. Ives` becomes `St .  Ives`, which matches it."""
    plain = " ".join(entry.split())
    return plain if language in UNSPACED else spacing(plain).strip()
