"""Words of a text in any script, and the form in which two texts are told to be the same."""

import html
import re
import unicodedata

_ALONE = "぀-ヿ㐀-䶿一-鿿豈-﫿가-힯"
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
MARKS = frozenset(
    c
    for c in map(chr, (*range(0x20000), *range(0xE0100, 0xE01F0)))  # planes that have marks
    if unicodedata.category(c)[0] == "M"
)
"""Characters that combine with a letter before them: accents, vowels of Hindi or Thai."""

_JOINING = "".join(
    c for c in sorted(MARKS) if not any(low <= ord(c) <= high for low, high in _UNSPACED)
)
# One CJK ideograph, kana, hangul syllable or run of consonants in Thai, Lao, Burmese or Khmer
# counts as a word of its own, since such text has no spaces; elsewhere a word is a run of letters
# and digits with their marks (Hindi's vowels are marks).
_LETTERS = rf"[^\W_{_ALONE}]"
_WORD = re.compile(rf"[{_ALONE}]|{_LETTERS}+(?:['’]{_LETTERS}+)*")  # noqa: RUF001
_MARKED_WORD = re.compile(
    rf"[{_ALONE}]|{_LETTERS}+(?:['’]{_LETTERS}+|[{_JOINING}\u200c\u200d]+{_LETTERS}*)*"  # noqa: RUF001
)


def words_of(text: str) -> list[str]:
    """The words of a lower-case text, in order."""
    return (_WORD if MARKS.isdisjoint(text) else _MARKED_WORD).findall(text)


_ENDLESS = re.compile(r"&#(?:\d{20,}|x[0-9a-f]{20,});?", re.IGNORECASE)
"""Character references of more digits than Python turns into a number."""

_SHORT = 512
"""Normalising is quadratic in a run of combining marks: nothing longer is normalised at once."""

_PIECE = re.compile(rf"\s+|\S{{1,{_SHORT}}}")


def normalise(text: str) -> str:
    """NFKC, case folded, entities resolved, white space as single spaces."""
    plain = html.unescape(_ENDLESS.sub("\ufffd", text))
    pieces = [plain] if len(plain) <= _SHORT else _PIECE.findall(plain)
    composed = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)
    return " ".join(composed.casefold().split())
