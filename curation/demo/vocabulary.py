"""A small byte-pair vocabulary in the format of open_clip's own tokenizer (Sennrich et al. 2016).

open_clip's vocabulary has 49,408 entries, whose embeddings alone would outweigh the demo's model.
"""

import gzip
import io
import itertools
from collections import Counter
from collections.abc import Iterable

BYTES = 514
"""Entries before any merge: 256 bytes, inside a word and at its end, and two marks."""

Merge = tuple[str, str]


def learn_merges(captions: Iterable[str], words: int, least: int = 2) -> list[Merge]:
    """Merges, first learnt first, for a vocabulary of at most `words` entries in all.

    Pairs seen under `least` times are left apart. Of equally frequent pairs the one that sorts
    first is merged, so the same captions give the same merges.
    """
    from open_clip.tokenizer import SimpleTokenizer

    whole = SimpleTokenizer()
    counts: Counter[str] = Counter()
    for text in captions:
        counts.update(whole.pat.findall(whole.clean_fn(text)))
    split: list[tuple[list[str], int]] = []
    for word, count in sorted(counts.items()):
        letters = [whole.byte_encoder[byte] for byte in word.encode()]
        split.append(([*letters[:-1], f"{letters[-1]}</w>"], count))
    merges: list[Merge] = []
    while len(merges) < words - BYTES:
        pairs: Counter[Merge] = Counter()
        for parts, count in split:
            for pair in itertools.pairwise(parts):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < least:
            break
        merges.append(best)
        for parts, _ in split:
            _merge(parts, best)
    return merges


def _merge(parts: list[str], pair: Merge) -> None:
    at = 0
    while at < len(parts) - 1:
        if (parts[at], parts[at + 1]) == pair:
            parts[at : at + 2] = ["".join(pair)]
        at += 1


def encoded(merges: list[Merge]) -> bytes:
    """The file that open_clip's SimpleTokenizer reads: a line that it passes over, then merges."""
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    sink = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=sink, mtime=0) as file:
        file.write("\n".join(lines).encode())
    return sink.getvalue()
