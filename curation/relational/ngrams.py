"""N-grams of words that texts share, by 128-bit hashes: no two of them meet by chance.

A text of fewer than n words has one gram, itself, so that it is found only where it stands alone.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.core.draw import words as mixed
from curation.core.words import normalise, words_of

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]


def compared_words(text: str) -> list[str]:
    """Words that are compared: without case, width, entities and punctuation."""
    return words_of(normalise(text).replace("’", "'"))  # noqa: RUF001


class Grams(NamedTuple):
    """Grams of many texts, in no stated order."""

    text: Numbers
    """Position of the text that a gram is from."""
    first: Hashes
    second: Hashes
    """The two halves of the gram's hash."""


def grams(texts: Sequence[list[str]], n: int, shortest: int) -> Grams:
    """Every n-gram of texts given as words, and whole texts of `shortest` to n - 1 words."""
    lengths = np.array([len(words) for words in texts], np.int64)
    starts = np.cumsum(lengths) - lengths
    words = _word_hashes(texts)
    owner = np.repeat(np.arange(len(texts)), lengths)
    places = np.flatnonzero(np.arange(len(owner)) + n <= (starts + lengths)[owner])
    found = [Grams(owner[places], *_chained(words, places, n))]
    for length in range(shortest, n):
        alone = np.flatnonzero(lengths == length)
        if alone.size:
            found.append(Grams(alone, *_chained(words, starts[alone], length)))
    return Grams(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _word_hashes(texts: Sequence[list[str]]) -> tuple[Hashes, Hashes]:
    """Both halves of the hash of every word of every text, in order."""
    numbers: dict[str, int] = {}
    ids = [numbers.setdefault(word, len(numbers)) for words in texts for word in words]
    digests = b"".join(
        hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for word in numbers
    )
    halves = np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2)
    taken = halves[np.array(ids, np.int64)]
    return taken[:, 0], taken[:, 1]


def _chained(words: tuple[Hashes, Hashes], places: Numbers, length: int) -> tuple[Hashes, Hashes]:
    """Hashes of the `length` words from each place on."""
    first, second = (
        mixed(length, f"{half} half of a gram", *(hashes[places + at] for at in range(length)))
        for half, hashes in zip(("first", "second"), words, strict=True)
    )
    return first, second


class Match(NamedTuple):
    """What a text shares with one benchmark."""

    text: int
    """Position of the text."""
    benchmark: int
    item: int
    """The item with most of the shared grams; of equals the first."""
    shared: int
    """Grams of the text that the benchmark has."""


@dataclass(frozen=True)
class GramIndex:
    """Grams of benchmarks, sorted by hash; one that several items have belongs to the first."""

    n: int
    shortest: int
    first: Hashes
    second: Hashes
    benchmark: Numbers
    item: Numbers

    @classmethod
    def of(cls, entries: Iterable[tuple[int, int, str]], n: int, shortest: int) -> "GramIndex":
        """Of (benchmark, item, text). Each line of a text counts as a text of its own, too."""
        owners: list[tuple[int, int]] = []
        texts: list[list[str]] = []
        for benchmark, item, text in entries:
            lines = text.splitlines()
            for part in [text, *(lines if len(lines) > 1 else [])]:
                owners.append((benchmark, item))
                texts.append(compared_words(part))
        found = grams(texts, n, shortest)
        owner = np.array(owners, np.int64).reshape(-1, 2)[found.text]
        order = np.lexsort((owner[:, 1], owner[:, 0], found.second, found.first))
        benchmark, item = owner[order].T
        first, second = found.first[order], found.second[order]
        new = np.ones(len(order), bool)
        new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        new[1:] |= benchmark[1:] != benchmark[:-1]
        return cls(n, shortest, first[new], second[new], benchmark[new], item[new])

    def matches(self, texts: Sequence[str]) -> list[Match]:
        """What each text shares with each benchmark, by text and benchmark."""
        found = grams([compared_words(text) for text in texts], self.n, self.shortest)
        low = np.searchsorted(self.first, found.first, "left")
        counts = np.searchsorted(self.first, found.first, "right") - low
        gram = np.repeat(np.arange(len(counts)), counts)
        entry = low[gram] + np.arange(len(gram)) - (np.cumsum(counts) - counts)[gram]
        same = self.second[entry] == found.second[gram]
        gram, entry = gram[same], entry[same]
        pairs = np.column_stack([found.text[gram], self.benchmark[entry], self.item[entry]])
        rows, shared = np.unique(pairs, axis=0, return_counts=True)
        return _best(rows.tolist(), shared.tolist())


def _best(rows: list[list[int]], shared: list[int]) -> list[Match]:
    """The best item of each (text, benchmark) of sorted (text, benchmark, item)."""
    totals: dict[tuple[int, int], int] = {}
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for (text, benchmark, item), count in zip(rows, shared, strict=True):
        key = (text, benchmark)
        totals[key] = totals.get(key, 0) + count
        if count > best.get(key, (0, 0))[0]:
            best[key] = (count, item)
    return [Match(*key, best[key][1], total) for key, total in totals.items()]
