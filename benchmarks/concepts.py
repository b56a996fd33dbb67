"""`concepts` with 500,000 entries against ahocorasick_rs, on the real captions, one core each.

Both are given the captions as they come and do the spacing themselves. The vocabularies hold runs
of one to four tokens of the captions, drawn by hash until a caption holds as many as wanted, and
combinations of the captions' words, most of which no caption holds.
"""

import json
from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
from ahocorasick_rs import BytesAhoCorasick, Implementation

from benchmarks.figure import REALDATA, Figure, best
from curation.core.draw import order_keys
from curation.operators.text.matcher import EntryMatcher, spacing

ENTRIES = 500_000
REPEATS = 10
NAIVE = 40
"""Captions that the naive loop looks at: half a million substring searches for each."""


def _captions() -> list[str]:
    path = REALDATA / "captions" / "capsfusion_10k.json"
    return [row["laion_2b"] for row in json.loads(path.read_text(encoding="utf-8"))]


def _runs(text: str) -> set[str]:
    """Runs of one to four tokens that single spaces part."""
    tokens = spacing(text)[1:-1].split(" ")
    runs = (tokens[n : n + size] for size, n in product(range(1, 5), range(len(tokens))))
    return {" ".join(run) for run in runs if all(run)}


def vocabulary(captions: list[str], matches: float) -> list[str]:
    """`ENTRIES` distinct entries, of which a caption holds `matches` in the mean."""
    held = Counter(run for text in captions for run in _runs(text))
    runs = sorted(held)
    keys = order_keys(0, "benchmark-vocabulary", np.arange(len(runs)))
    entries: dict[str, None] = {}
    wanted = matches * len(captions)
    for n in np.argsort(keys, kind="stable").tolist():
        if wanted > 0:
            entries[runs[n]] = None
            wanted -= held[runs[n]]
    words = [run for run in runs if " " not in run]
    rng = np.random.default_rng(0)
    while len(entries) < ENTRIES:
        size = int(rng.integers(1, 4))
        drawn = [words[n] for n in rng.integers(0, len(words), max(2, size))]
        entry = " ".join(drawn) if size > 1 else "".join(drawn)
        if entry not in held:
            entries[entry] = None
    return list(entries)


def _figure(kind: str, captions: list[str], matches: float) -> Figure:
    entries = vocabulary(captions, matches)
    patterns = [f" {entry} ".encode() for entry in entries]
    peer = BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA)
    matcher = EntryMatcher(entries)

    def search(text: str) -> list[tuple[int, int, int]]:
        return peer.find_matches_as_indexes(spacing(text).encode(), overlapping=True)

    ours = matcher.match(pa.array(captions, pa.string()))
    assert ours.to_pylist() == [sorted({n for n, _, _ in search(text)}) for text in captions]
    for text, found in zip(captions[:NAIVE], ours.to_pylist(), strict=False):
        spaced = spacing(text)
        assert found == [n for n, entry in enumerate(entries) if f" {entry} " in spaced]
    many = pa.array(captions * REPEATS, pa.string())
    rate = len(many) / best(lambda: matcher.match(many))
    other = len(captions) / best(lambda: [search(text) for text in captions])
    mean = len(ours.values) / len(ours)
    return Figure(
        f"`concepts`, {len(entries):,} entries, {kind} ({mean:.1f} matches a text), against "
        "ahocorasick_rs, one core, spacing included",
        f"{rate / other:.1f}x ({rate:,.0f} against {other:,.0f} texts/s)",
        "2x",
        rate >= 2 * other,
    )


def figures() -> list[Figure]:
    """Texts a second with a sparse vocabulary (as MetaCLIP reports) and a dense one.

    Matches are compared before they are timed: with the peer's on every caption, with the naive
    loop's on the first few.
    """
    captions = _captions()
    return [_figure("sparse", captions, 3.5), _figure("dense", captions, 15)]
