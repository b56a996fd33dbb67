"""What new captions are like as a whole: rates, kinds of facts, lengths and densities."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import uniforms
from curation.core.words import words_of
from curation.operators.text.caption_facts import LOOK
from curation.operators.text.facts_lexicon import GRAMMAR
from curation.operators.text.facts_sentences import sentences
from curation.report.recaption_columns import Part
from curation.report.recaption_taken import Taking
from curation.report.recaption_tally import Distribution, Tally
from schemas import NEW, ORIGINAL, REPAIRED

WORDED = 20_000
"""Captions whose words and sentences are counted, drawn by hash where a corpus has more."""

KINDS = ("name", "date", "number", "unit", "quotation", "url")
"""Kinds of facts in the order in which they are listed."""


@dataclass
class KindCount:
    """Facts of one kind."""

    claims: int = 0
    """In new captions."""
    supported: int = 0
    facts: int = 0
    """In originals, those that matter."""
    kept: int = 0


@dataclass
class Counts:
    """Sums over the samples that are kept, or undecided; `add` takes a shard's at a time."""

    share: float
    """Of captions, drawn by hash, whose words are counted."""
    taking: Taking | None = None
    """Which new captions the export takes; null where none is at hand."""
    taken: int = 0
    """New captions, whole or repaired, that it draws; what it then stopped is among them."""
    samples: int = 0
    others: int = 0
    """Samples with a new caption that are not kept."""
    captioned: int = 0
    skipped: int = 0
    """Under the floor, not asked about."""
    failed: Counter[str] = field(default_factory=Counter)
    """Samples without a new caption by error code."""
    prompts: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    """New captions that were held to their originals."""
    kinds: dict[str, KindCount] = field(default_factory=dict)
    with_claims: int = 0
    all_supported: int = 0
    with_facts: int = 0
    all_kept: int = 0
    sentences: int = 0
    talking: int = 0
    """New captions with a sentence that is talk, a refusal or task."""
    truncated: int = 0
    other_language: int = 0
    asked: int = 0
    """Sentences that a model was asked about."""
    yes: int = 0
    """Of those, the ones that it held for more likely true than not."""
    choices: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Samples by choice (original, repaired, new) and reason; none where nothing was chosen."""
    fell_back: int = 0
    """Samples that have a new caption and keep the original."""
    going: KindCount = field(default_factory=KindCount)
    """Of the new captions that were chosen, as they are or repaired."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Sentences left out of repaired captions, by reason."""
    characters: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(), Tally()))
    words: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(), Tally()))
    content: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(20), Tally(20)))
    facts: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(100), Tally(100)))

    def add(self, part: Part) -> None:
        rows = part.rows
        self.samples += rows.num_rows
        self.others += part.others
        self._count_answers(rows)
        if part.has("choice"):
            self._count_choices(rows)
            if self.taking is not None:
                self.taken += self.taking.count(rows)
        new = part.captioned()
        if not new.rows.num_rows:
            return
        self.captioned += new.rows.num_rows
        for pair in new.rows["recaption_prompt"].value_counts().to_pylist():
            self.prompts[pair["values"] or ""] += pair["counts"]
        if new.has("facts"):
            self._count_facts(new.rows)
            if new.has("choice"):
                self._count_going(new.rows)
        if new.has("claims_checked"):
            said = _flat(new.rows["claims_checked"])
            yes = pc.greater(pc.struct_field(said, "p_yes"), pc.struct_field(said, "p_no"))
            self.asked += len(said) - yes.null_count
            self.yes += _true(yes)
        self._count_lengths(new)

    def _count_answers(self, rows: pa.Table) -> None:
        none = pc.invert(rows["recaption"].is_valid())
        self.skipped += _true(pc.and_(none, pc.fill_null(rows["recaption_skipped"], False)))
        for pair in rows["recaption_error"].filter(none).drop_null().value_counts().to_pylist():
            self.failed[pair["values"]] += pair["counts"]

    def _count_choices(self, rows: pa.Table) -> None:
        by = rows.select(["choice", "reason"]).group_by(["choice", "reason"])
        for row in by.aggregate([([], "count_all")]).to_pylist():
            if row["choice"]:
                self.choices[row["choice"], row["reason"] or ""] += row["count_all"]
        original = pc.equal(rows["choice"], ORIGINAL)
        self.fell_back += _true(pc.and_(original, rows["recaption"].is_valid()))
        failed = rows["failed"].filter(pc.equal(rows["choice"], REPAIRED))
        for pair in pc.struct_field(_flat(failed), "reason").value_counts().to_pylist():
            self.dropped[pair["values"]] += pair["counts"]

    def _count_going(self, rows: pa.Table) -> None:
        """Of the chosen new captions: of a repaired one what the sentences left hold."""
        whole = rows.filter(pc.equal(rows["choice"], NEW))
        claims, facts = _flat(whole["facts"]), _flat(whole["facts_original"])
        self.going.claims += len(claims)
        self.going.supported += _true(pc.struct_field(claims, "supported"))
        self.going.facts += len(facts)
        self.going.kept += _true(pc.struct_field(facts, "kept"))
        repaired = rows.select(["facts", "facts_original", "failed"])
        for row in repaired.filter(pc.equal(rows["choice"], REPAIRED)).to_pylist():
            gone = {part["sentence"] for part in row["failed"]}
            left = [claim["supported"] for claim in row["facts"] if claim["sentence"] not in gone]
            held = [not gone.issuperset(f["sentences"] or ()) for f in row["facts_original"]]
            self.going.claims += len(left)
            self.going.supported += sum(left)
            self.going.facts += len(held)
            self.going.kept += sum(held)

    def _count_facts(self, rows: pa.Table) -> None:
        self.checked += rows.num_rows - rows["facts"].null_count
        claims, facts = _flat(rows["facts"]), _flat(rows["facts_original"])
        for kind, held in _by_kind(claims, "supported").items():
            count = self.kinds.setdefault(kind, KindCount())
            count.claims += held[0]
            count.supported += held[1]
        for kind, held in _by_kind(facts, "kept").items():
            count = self.kinds.setdefault(kind, KindCount())
            count.facts += held[0]
            count.kept += held[1]
        for share, some, whole in (
            ("facts_precision", "with_claims", "all_supported"),
            ("facts_retention", "with_facts", "all_kept"),
        ):
            values = rows[share].drop_null()
            setattr(self, some, getattr(self, some) + len(values))
            setattr(self, whole, getattr(self, whole) + _true(pc.greater_equal(values, 1)))
        self.sentences += len(_flat(rows["recaption_sentences"]))
        self.talking += _true(pc.greater(rows["recaption_residue"], 0))
        self.truncated += _true(rows["recaption_truncated"])
        self.other_language += _true(rows["recaption_language_differs"])

    def _count_lengths(self, part: Part) -> None:
        """Characters of all, words and densities of those drawn: the same captions on both sides,
        those whose original has words too."""
        rows = part.rows.filter(pc.greater(pc.utf8_length(part.rows["text"]), 0))
        for nth, column in enumerate(("text", "recaption")):
            self.characters[nth].add(_floats(pc.utf8_length(rows[column])))
        drawn = uniforms(
            0, "recaption-report-words", rows["shard"].to_numpy(), rows["row"].to_numpy()
        )
        rows = rows.filter(pa.array(drawn < self.share))
        found = [_worded(rows[column]) for column in ("text", "recaption")]
        for nth, (words, content, parts) in enumerate(found):
            self.words[nth].add(words)
            self.content[nth].add(content / np.maximum(1, parts))
        if not part.has("facts"):
            return
        there = rows["facts"].is_valid()
        for nth, column in enumerate(("facts_original", "facts")):
            facts = _floats(pc.fill_null(pc.list_value_length(rows[column]), 0))
            density = facts / np.maximum(1, found[nth][2])
            self.facts[nth].add(density[np.asarray(there)])

    @property
    def distributions(self) -> list[Distribution]:
        """Those that were measured, in the order in which they are shown."""
        listed = [
            ("characters", "of a caption", self.characters),
            ("words", "of a caption", self.words),
            ("content words", "of a sentence: all but a, of, the and their like", self.content),
            ("facts", "of a sentence: names, dates, numbers and their like", self.facts),
        ]
        return [
            Distribution(name=name, meaning=meaning, before=before, after=after)
            for name, meaning, (before, after) in listed
            if after.number
        ]

    def total(self) -> KindCount:
        """All kinds together."""
        names = ("claims", "supported", "facts", "kept")
        return KindCount(*(sum(getattr(k, name) for k in self.kinds.values()) for name in names))


def listed_kinds(kinds: dict[str, KindCount]) -> list[tuple[str, KindCount]]:
    """Kinds that occur, in the order of KINDS."""
    known = [*KINDS, *sorted(set(kinds) - set(KINDS))]
    return [(kind, kinds[kind]) for kind in known if kind in kinds]


def _true(flags: Any) -> int:
    return pc.sum(flags).as_py() or 0


def _floats(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = values.cast(pa.float64()).to_numpy()
    return found


def _flat(lists: pa.ChunkedArray) -> pa.Array:
    """The items of all lists, one after another."""
    return pc.list_flatten(lists.combine_chunks())


def _by_kind(items: pa.Array, flag: str) -> dict[str, tuple[int, int]]:
    """Of each kind, items and those with the flag."""
    table = pa.table(
        {
            "kind": pc.struct_field(items, "kind"),
            "flag": pc.struct_field(items, flag).cast(pa.int64()),
        }
    )
    found = table.group_by("kind").aggregate([("flag", "count"), ("flag", "sum")])
    return {
        row["kind"]: (row["flag_count"], row["flag_sum"] or 0)
        for row in found.to_pylist()
        if row["kind"]
    }


Worded = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _worded(captions: pa.ChunkedArray) -> Worded:
    """Words, content words and sentences of each caption."""
    found = []
    for caption in captions.to_pylist():
        text = (caption or "")[:LOOK]
        words = words_of(text.lower())
        content = sum(word not in GRAMMAR for word in words)
        found.append((len(words), content, sum(1 for _ in sentences(text))))
    table = np.array(found, np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
