"""An original and a new caption side by side: what differs, and which facts each states.

Characters are counted here, where the operators count them, and not in the browser, which counts
those beyond the first 65,536 twice.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = 4_000
"""Characters of each caption that are compared."""
_WORDS = 700
"""Words of each that are aligned: more would take long, and nobody would read them."""
_SENTENCES = 60
"""Sentences of the new caption that are listed."""
_WORD = re.compile(r"\w+|[^\w\s]")

COLUMNS = frozenset(
    {
        "recaption",
        "facts",
        "facts_original",
        "recaption_sentences",
        "recaption_clip",
        "claims_checked",
    }
)
"""Columns of layers that are told here, and not among the measures."""

Run = dict[str, Any]
Choice = dict[str, Any]


def compared(
    original: str, measured: dict[str, Any], choice: Choice | None = None
) -> dict[str, Any] | None:
    """Both captions in runs, and what is said of each sentence; null where there is no new one.

    `measured` holds the COLUMNS that the corpus has, `choice` the sample's row of
    `schemas.choice.CHOICE`. A run has `text`, `both` (the other caption has these words, in this
    order) and `fact`: null, or `kind` and `supported` (new: the original states it; old: the new
    one kept it).
    """
    new = measured.get("recaption")
    if not isinstance(new, str) or not new:
        return None
    old_text, new_text = original[:SHOWN], new[:SHOWN]
    same_old, same_new = _aligned(old_text, new_text)
    facts = [
        (fact["start"], fact["end"], {"kind": fact["kind"], "supported": fact["supported"]})
        for fact in _list(measured, "facts")
    ]
    return {
        "old": _runs(old_text, same_old, _kept(old_text, _list(measured, "facts_original"))),
        "new": _runs(new_text, same_new, facts),
        "sentences": _sentences(new_text, measured, choice),
        "choice": _chosen(choice),
        "cut": len(new) - len(new_text),
    }


def _chosen(choice: Choice | None) -> Choice | None:
    """Which caption goes on, and why; null where no stage chose."""
    if choice is None or not choice["choice"]:
        return None
    names = ("choice", "reason", "value", "threshold", "detail")
    return {name: choice[name] for name in names} | {"repaired": (choice["repaired"] or "")[:SHOWN]}


def _sentences(text: str, measured: dict[str, Any], choice: Choice | None) -> list[dict[str, Any]]:
    """Sentences of the new caption in order, each with all that was said of it."""
    told: dict[tuple[int, int], dict[str, Any]] = {}

    def of(said: dict[str, Any]) -> dict[str, Any]:
        place = (said["start"], said["end"])
        blank: dict[str, Any] = {"flags": [], "yes": None, "no": None, "clip": None, "failed": None}
        return told.setdefault(place, {"text": text[place[0] : place[1]], **blank})

    for sentence in _list(measured, "recaption_sentences"):
        flags = [sentence["residue"], "repeats" if sentence["repeats"] else None]
        of(sentence)["flags"] = [flag for flag in flags if flag]
    for claim in _list(measured, "claims_checked"):
        of(claim).update(yes=claim["p_yes"], no=claim["p_no"])
    for scored in _list(measured, "recaption_clip"):
        of(scored)["clip"] = scored["score"]
    for failed in (choice or {}).get("failed") or []:
        of(failed)["failed"] = {name: failed[name] for name in ("reason", "value", "threshold")}
    return [told[place] for place in sorted(told) if told[place]["text"]][:_SENTENCES]


Span = tuple[int, int]
Fact = tuple[int, int, dict[str, Any]]


def _list(measured: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = measured.get(name)
    return found if isinstance(found, list) else []


def _kept(text: str, facts: list[dict[str, Any]]) -> list[Fact]:
    """Facts of the original, found by their words from left to right."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter that has no small form of its own length
        lower = text
    found: list[Fact] = []
    at = 0
    for fact in facts:
        words = str(fact["claim"])
        start = lower.find(words.lower(), at)
        if words and start >= 0:
            at = start + len(words)
            found.append((start, at, {"kind": fact["kind"], "supported": fact["kept"]}))
    return found


def _aligned(old: str, new: str) -> tuple[list[Span], list[Span]]:
    """Characters of each that stand in the other in the same order: a longest common sequence."""
    olds, news = (list(_WORD.finditer(text))[:_WORDS] for text in (old, new))
    pairs = _common([m[0].casefold() for m in olds], [m[0].casefold() for m in news])
    return [olds[n].span() for n, _ in pairs], [news[n].span() for _, n in pairs]


def _common(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    lengths = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        here, below, word = lengths[i], lengths[i + 1], old[i]
        for j in range(len(new) - 1, -1, -1):
            here[j] = below[j + 1] + 1 if word == new[j] else max(below[j], here[j + 1])
    pairs = []
    i = j = 0
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _runs(text: str, same: Iterable[Span], facts: Iterable[Fact]) -> list[Run]:
    """The text in the longest pieces of one kind; space between common words is common, too."""
    both = bytearray(len(text))
    before = -1
    for start, end in same:
        first = before if 0 <= before <= start and text[before:start].isspace() else start
        both[first:end] = b"\1" * (end - first)
        before = end
    which: list[int] = [-1] * len(text)
    told: list[dict[str, Any]] = []
    for start, end, said in facts:
        if 0 <= start < end <= len(text):
            which[start:end] = [len(told)] * (end - start)
            told.append(said)
    runs: list[Run] = []
    at = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or (both[end], which[end]) != (both[at], which[at]):
            fact = told[which[at]] if which[at] >= 0 else None
            runs.append({"text": text[at:end], "both": bool(both[at]), "fact": fact})
            at = end
    return runs
