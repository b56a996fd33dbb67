"""An original and its new caption as they are shown side by side, facts and verdicts marked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation.io.corpus import Corpus
from curation.report.pictures import Picture, reader_of
from curation.report.recaption_draw import Draw, Fate
from curation.report.recaption_text import (
    LONGEST,
    Mark,
    Piece,
    Sentence,
    legible,
    located,
    pieces,
)
from curation.report.recaption_wording import FATES, FLAGS, share_text, why
from curation.report.tiles import LARGEST_PICTURE, Exported, TileMaker, behind_curtain
from curation.report.wording import number, shown_caption
from schemas import NEW, ORIGINAL, REPAIRED

UNPLACED = 8
"""Facts of an original that are listed because they cannot be pointed at in it."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One sample; all text is safe to display, not yet escaped."""

    uid: str
    size: str
    picture: Picture
    fate: str
    """Choice, or what was found: a name for styles."""
    title: str
    why: str
    original: list[Piece]
    original_more: int
    """Characters of the whole original where it is cut; else 0."""
    unplaced: list[Piece]
    """Facts that the original states in a form that is not found in it."""
    new: list[Sentence]
    new_more: int
    goes_on: str
    """`original` or `new`: which side was chosen; empty where nothing was."""
    figures: list[str]


@dataclass(frozen=True)
class Pairs:
    """Those that are shown, and how many bytes their pictures take."""

    shown: list[Pair]
    spent: int


def pairs_of(corpus: Corpus, export: Exported | None, draw: Draw, room: int) -> Pairs:
    """The drawn pairs that may be shown; their pictures take at most `room` bytes."""
    chosen = draw.chosen()
    places = [(row["shard"], row["row"]) for _, row in chosen]
    drawn, shown = behind_curtain(corpus, export, places)
    each = min(LARGEST_PICTURE, room // max(1, len(places)))
    maker = TileMaker(curtain=drawn, shown=shown, read=reader_of(corpus), room=each)
    found = []
    for (fate, row), place in zip(chosen, places, strict=True):
        if place in shown:
            tile = maker.tile(shown[place], None, "", twin=False)
            found.append(pair_of(fate, row, tile.picture, tile.size))
    return Pairs(found, sum(len(pair.picture.uri) for pair in found))


def pair_of(fate: Fate, row: Mapping[str, Any], picture: Picture, size: str) -> Pair:
    """How one sample is shown; `row` is one that was drawn, with the columns there are."""
    kind, reason = fate
    original, new = row["text"], row["recaption"]
    marks, unplaced = _facts_of(original, row)
    sentences = _sentences(new, row)
    return Pair(
        uid=row["uid"],
        size=size,
        picture=picture,
        fate=kind,
        title=FATES[kind],
        why=_because(kind, reason, row),
        original=pieces(legible(original[:LONGEST]), 0, len(original[:LONGEST]), marks),
        original_more=row["text_length"] if row["text_length"] > LONGEST else 0,
        unplaced=unplaced,
        new=sentences,
        new_more=row["recaption_length"] if row["recaption_length"] > LONGEST else 0,
        goes_on={ORIGINAL: "original", NEW: "new", REPAIRED: "new"}.get(kind, ""),
        figures=_figures(row),
    )


def _because(kind: str, reason: str, row: Mapping[str, Any]) -> str:
    """Of a repaired caption how much was dropped: each sentence says its own reason."""
    if kind == REPAIRED:
        whole = len(row.get("recaption_sentences") or row["failed"])
        return f"{len(row['failed'])} of {whole} sentences dropped"
    return why(row) if kind == ORIGINAL and reason else ""


def _facts_of(original: str, row: Mapping[str, Any]) -> tuple[list[Mark], list[Piece]]:
    """Facts of the original that can be pointed at, and those that cannot."""
    facts = row.get("facts_original") or []
    spans = located(original[: 2 * LONGEST], [fact["claim"] for fact in facts])
    marks: list[Mark] = []
    unplaced: list[Piece] = []
    for fact, span in zip(facts, spans, strict=True):
        kind = "held" if fact["kept"] else "lost"
        if span is not None:
            marks.append(Mark(start=span[0], end=span[1], kind=kind, what=fact["kind"]))
        elif len(unplaced) < UNPLACED:
            text = shown_caption(fact["claim"][:80], len(fact["claim"]), personal=False)
            unplaced.append(Piece(text=text, kind=kind, what=fact["kind"]))
    return marks, unplaced


def _sentences(new: str, row: Mapping[str, Any]) -> list[Sentence]:
    """Sentences of the new caption, as far as it is shown."""
    text = legible(new[:LONGEST])
    spans = row.get("recaption_sentences") or [{"start": 0, "end": len(new)}]
    marks = [
        Mark(
            start=claim["start"],
            end=claim["end"],
            kind="held" if claim["supported"] else "rejected",
            what=claim["kind"],
        )
        for claim in row.get("facts") or []
    ]
    failed = {part["start"]: part for part in row.get("failed") or []}
    asked = _by_start(row.get("claims_checked"))
    scores = _by_start(row.get("recaption_clip"))
    found = []
    for span in spans:
        start, end = span["start"], min(span["end"], len(text))
        if start >= end:
            continue
        fault = failed.get(start)
        found.append(
            Sentence(
                pieces=pieces(text, start, end, [m for m in marks if m.start >= start]),
                dropped=why(fault) if fault else "",
                flags=[] if fault else _flags(span),
                scores=[*_asked(asked.get(start)), *_scored(scores.get(start))],
            )
        )
    return found


def _by_start(items: Iterable[dict[str, Any]] | None) -> dict[int, dict[str, Any]]:
    return {item["start"]: item for item in items or []}


def _flags(span: Mapping[str, Any]) -> list[str]:
    residue = span.get("residue")
    flags = [FLAGS.get(residue, str(residue))] if residue else []
    return [*flags, "says again what was said"] if span.get("repeats") else flags


def _asked(said: Mapping[str, Any] | None) -> list[str]:
    if said is None or said["p_yes"] is None:
        return []
    return [f"P(yes) {said['p_yes']:.2f}, P(no) {said['p_no'] or 0.0:.2f}"]


def _scored(said: Mapping[str, Any] | None) -> list[str]:
    return [] if said is None or said["score"] is None else [f"CLIP {number(said['score'])}"]


def _figures(row: Mapping[str, Any]) -> list[str]:
    claims, facts = row.get("facts") or [], row.get("facts_original") or []
    said = [
        share_text(sum(fact["kept"] for fact in facts), len(facts), "facts kept"),
        share_text(sum(c["supported"] for c in claims), len(claims), "claims supported"),
        f"{row['text_length']:,} → {row['recaption_length']:,} characters",
    ]
    if row.get("recaption_language_differs"):
        said.append("another language")
    if row.get("recaption_truncated"):
        said.append("ends within a sentence")
    return [part for part in said if part]
