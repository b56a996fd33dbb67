"""Which entries occur in a text: MetaCLIP's substring matching, exact, compiled.

Languages with spaces follow `spacing` and `substr_matching` of MetaCLIP (metaclip/
substr_matching.py, Xu et al. 2023, arXiv 2309.16671): an entry matches where `f" {entry} "` is a
substring of the spaced text. What follows from that rule, and is kept:
- Case counts, and no character but `, . ; : ? ! `` ` is split off a word: `(cat)`, `"cat"`, `cat's`
  and `cats` do not hold `cat`; `cat-flap` is one word.
- An entry with one of those characters inside (`St. Ives`, `3.5`) matches nothing unless it is
  itself written as the spaced text has it (`St .  Ives`, two spaces; `3 . 5`).
- Two spaces are not one: `red  car`, and `red, car` even for the entry `red , car`, hold nothing.
  Tabs and line ends are spaces; a no-break space and an ideographic comma are parts of words.
- Nothing is normalised: `é` of one code point is not `é` of two.

Languages without spaces have no such rule in MetaCLIP 1. There an entry matches wherever its
characters occur, except in the middle of a run of ASCII letters and digits: `DNA` is in `DNA检测`,
not in `mRNADNA`. (MetaCLIP 2 asks for spaces around entries that start or end in kana, which its
`is_cjk_or_similar` leaves out; Japanese would hardly match.)
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.operators.text._ngrams import Matcher

UNSPACED = frozenset(("bo", "dz", "ja", "km", "lo", "my", "ryu", "th", "wuu", "yue", "zh"))
"""Languages written without spaces: MetaCLIP 2's list, with Wu and Cantonese as lid.176 says."""

_POINTS = (",", ".", ";", ":", "?", "!", "`")


def spacing(text: str) -> str:
    """MetaCLIP's spaced text, in which an entry of a language with spaces is looked for."""
    spaced = f" {text} "
    for point in _POINTS:
        spaced = spaced.replace(point, f" {point} ")
    for blank in "\t\n\r":
        spaced = spaced.replace(blank, " ")
    return spaced


class EntryMatcher:
    """Entries of one language, ready to be looked for; about 300 bytes of memory an entry."""

    def __init__(self, entries: list[str], *, spaced: bool = True) -> None:
        _, offsets, data = _buffers(pa.array(entries, pa.string()))
        self._matcher = Matcher(offsets, data, spaced)

    def match(self, texts: pa.StringArray) -> pa.ListArray:
        """Ascending positions of the entries that occur in each text; null for a null text."""
        start, offsets, data = _buffers(texts)
        made, ids = self._matcher.match(offsets, data, start, len(texts))
        values = pa.Array.from_buffers(pa.int32(), len(ids) // 4, [None, pa.py_buffer(ids)])
        ends = pa.Array.from_buffers(pa.int32(), len(texts) + 1, [None, pa.py_buffer(made)])
        mask = pc.is_null(texts) if texts.null_count else None
        return pa.ListArray.from_arrays(ends, values, mask=mask)


def _buffers(array: pa.StringArray) -> tuple[int, pa.Buffer, pa.Buffer]:
    """Position of the first string in the offsets, the offsets, and the bytes."""
    _, offsets, data = array.buffers()
    if offsets is None or offsets.size == 0:
        offsets = pa.py_buffer(np.zeros(1, np.int32))
    return array.offset, offsets, data if data is not None else pa.py_buffer(b"")
