"""Which caption of a sample goes on: the new one, what is left of it, or the original.

The thresholds are our own. A sentence that fails a check is dropped, so that one slip does not
cost a caption; what makes the whole untrustworthy costs it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from curation.core.step import ChoiceStep
from curation.core.words import words_of
from schemas import CHOICE, NEW, ORIGINAL, REPAIRED

MIN_AUC = 0.8
"""How well CLIP must tell planted errors of a corpus before it may drop a sentence."""

SPAN = (("start", pa.int32()), ("end", pa.int32()))
_KEPT = pa.struct([("kept", pa.bool_()), ("sentences", pa.list_(pa.int32()))])
_SENTENCE = pa.struct(
    [
        *SPAN,
        ("unsupported", pa.int32()),
        ("residue", pa.string()),
        ("repeats", pa.bool_()),
        ("content", pa.float32()),
    ]
)
_CLAIM = pa.struct([*SPAN, ("p_yes", pa.float32()), ("p_no", pa.float32())])
_SCORED = pa.struct([*SPAN, ("score", pa.float32())])

CHECKS: dict[str, dict[str, pa.DataType]] = {
    "caption_facts": {
        "facts_original": pa.list_(_KEPT),
        "facts_precision": pa.float32(),
        "facts_retention": pa.float32(),
        "recaption_sentences": pa.list_(_SENTENCE),
        "recaption_repetition": pa.float32(),
        "recaption_truncated": pa.bool_(),
        "recaption_language": pa.string(),
        "recaption_language_score": pa.float32(),
        "recaption_language_told": pa.bool_(),
        "recaption_language_differs": pa.bool_(),
        "original_language_score": pa.float32(),
        "recaption_length_ratio": pa.float32(),
        "recaption_content": pa.float32(),
        "recaption_prompt_share": pa.float32(),
    },
    "claim_check": {"claims_checked": pa.list_(_CLAIM)},
    "caption_clip": {"recaption_clip": pa.list_(_SCORED)},
}
"""Operators that check captions, and what is read of each."""

_NEEDED = {"caption_facts": "recaption_sentences", "claim_check": "claims_checked"}
"""Without which a caption is unchecked."""

_SURE = 0.8
"""Score of a language that is known, where no other is set."""

REFERRING = re.compile(
    r"[\"“'(]?(?:he|she|it|they|his|hers?|its|their|theirs|these|those|such|also|additionally|"
    r"moreover|furthermore|however|meanwhile|similarly|likewise|instead|in addition|"
    r"th(?:is|at)(?! (?:image|photo|picture|illustration|drawing|painting|poster|graphic)))\b",
    re.IGNORECASE,
)
"""Begins of sentences that refer to one before."""

LOOK = 10_000
"""Characters that the checks look at: no longer caption goes on."""


class Fault(NamedTuple):
    """A check that failed."""

    reason: str
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChooseCaption(ChoiceStep):
    """Holds each new caption to its checks, and drops no sample.

    Checks of the caption come first, then each sentence is held to the others in the order of the
    fields. A caption of which sentences fail is `repaired`: those are left out, if what is left
    keeps enough of the original's facts. Limits are inclusive: what equals one passes, but for
    `contradicted` and `language`, where it fails. Null switches a check off. Measures are float32
    and compared as stored. A caption of a single sentence without a full stop is whole: alt texts
    are written so.
    """

    version = 3
    excuses = ("recaption", *CHECKS)

    languages: tuple[str, ...] | None = ("en",)
    """`unchecked`: languages (ISO 639-1) whose facts are checked; a caption that is in another one,
    by a score of at least `language` (0.8 where that is null), is none that was. `caption_facts`
    knows English."""
    max_chars: float | None = 4000
    """`too_long`: characters, as of the recipe's captions; never more than 10,000."""
    refusals: float | None = 0
    """`refusal`: sentences such as "I'm sorry, I cannot"; the model did not do its task."""
    copied: float | None = 0.2
    """`copied_prompt`: share of words that stand in runs copied from the prompt, 0-1."""
    language: float | None = 0.8
    """`language`: score, 0-1, that both detected languages need where they are not the same."""
    repetition: float | None = 0.5
    """`repetition`: share of word n-grams that occurred before, 0-1."""
    min_length: float | None = 0.1
    """`short`: characters of the new over those of the original caption."""
    max_length: float | None = 50
    """`long`: the same; an original of two words may become four sentences."""
    precision: float | None = 0.5
    """`precision`: share of its claims that the original supports, 0-1; it costs the caption where
    half of the sentences, or more, have a claim that is not."""
    retention: float | None = 0.5
    """`retention`: share of the original's facts that it keeps, 0-1; of a repaired caption
    `repair_loses_facts`."""
    content: float | None = 0.1
    """`content`: share of the original's words of meaning that it has, 0-1: below it speaks of
    something else (97 of 100 captions of other pictures, 1 of 200 of CapsFusion's own); of a
    repaired caption `repair_loses_content`."""
    residue: float | None = 0
    """`talk`, `task`: whether a sentence may speak to the reader or of the task (0: no)."""
    repeats: float | None = 0
    """`repeats`: whether a sentence may repeat an earlier one (0: no)."""
    truncated: float | None = 0
    """`truncated`: whether the last of several sentences may lack its end (0: no)."""
    refers: float | None = 0
    """`refers`: whether what is left may begin with a word that refers to what was dropped: "He",
    "These", "Additionally" (0: no)."""
    repaired_words: float | None = 4
    """`repair_short`: words of a repaired caption."""
    unsupported: float | None = 0
    """`unsupported`: claims of a sentence that the original does not support."""
    contradicted: float | None = 0.5
    """`contradicted`: P(no) of a sentence, 0-1."""
    unverifiable: float | None = 0.3
    """`unverifiable`: P(yes) of a sentence, 0-1; also where a sentence was not asked about."""
    seen: float | None = None
    """P(yes) of a sentence, 0-1, from which on its claims need no support by a text: the numbers
    that are printed in a chart stand in no caption. Null: the text alone decides."""
    clip: float | None = None
    """`clip`: cosine of a sentence, -1 to 1; no number fits two models. It counts only where
    `clip_auc` is at least 0.8."""
    checks: tuple[str, ...] = ("caption_facts",)
    """Operators that have measured; found when the corpus is decided."""
    clip_auc: float | None = None
    """How often a sentence of the corpus scores above one with a planted error; found."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {value}")
        for name in _AMOUNTS:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        for code in self.languages or ():
            if not (2 <= len(code) <= 3 and code.isascii() and code.islower()):
                raise ValueError(f"languages must be codes as en and zh, got {code!r}")
        if self.clip is not None and not -1 <= self.clip <= 1:
            raise ValueError(f"clip must be -1 to 1, got {self.clip}")

    @property
    def requires(self) -> pa.Schema:
        columns = [("recaption", pa.string()), ("recaption_skipped", pa.bool_())]
        for name in self.checks:
            columns += CHECKS[name].items()
        return pa.schema(columns)

    @property
    def clip_counts(self) -> bool:
        """Whether CLIP may drop a sentence of this corpus."""
        return self.clip is not None and self.clip_auc is not None and self.clip_auc >= MIN_AUC

    def choose(self, rows: pa.Table) -> pa.Table:
        columns: dict[str, list[Any]] = {name: [] for name in CHOICE.names}
        for batch in rows.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                chosen = {name: row[name] for name in ("shard", "row", "uid")} | self._one(row)
                for name, column in columns.items():
                    column.append(chosen.get(name))
        return pa.table([pa.array(columns[f.name], f.type) for f in CHOICE], schema=CHOICE)

    def _one(self, row: dict[str, Any]) -> dict[str, Any]:
        caption = row["recaption"]
        if not caption or not any(map(str.isalnum, caption)):
            return _original(_without_caption(row))
        parts = row.get("recaption_sentences") or []
        fault = next(self._of_caption(row, parts), None)
        failed: list[tuple[int, dict[str, Any], Fault]] = []
        for number, part in enumerate(parts):
            alone = len(failed) == number > 0  # all before it are dropped
            its = next(self._of_sentence(row, parts, number, alone), None)
            if its is not None:
                failed.append((number, part, its))
        told = {
            "sentences": len(parts),
            "failed": [_told(*entry) for entry in failed],
            "verdicts": self._verdicts(row, parts),
        }
        if fault is not None:
            return _original(fault) | told
        if not failed:
            return {"choice": NEW} | told
        first = failed[0][2]
        out = {number for number, _, _ in failed}
        if len(out) == len(parts):
            return _original(first) | told
        left = [part for number, part in enumerate(parts) if number not in out]
        text = " ".join(caption[part["start"] : part["end"]] for part in left)
        lost = next(self._losses(row, out, left, text), None)
        if lost is not None:
            return _original(lost) | told
        return {"choice": REPAIRED, "repaired": text, **first._asdict()} | told

    def _of_caption(self, row: dict[str, Any], parts: list[dict[str, Any]]) -> Iterator[Fault]:
        """Checks that the caption as a whole fails, in order."""
        for name, column in _NEEDED.items():
            if name in self.checks and row[column] is None:
                code = row.get(f"{name}_error") or "nothing to look at"
                yield Fault("unchecked", detail=f"{name}: {code}")
        refusals = sum(part["residue"] == "refusal" for part in parts)
        most = LOOK if self.max_chars is None else min(LOOK, self.max_chars)
        yield from _above("too_long", len(row["recaption"]), most)
        yield from _above("refusal", refusals, self.refusals)
        yield from _above("copied_prompt", row["recaption_prompt_share"], self.copied)
        yield from self._of_language(row)
        yield from self._of_unknown_language(row)
        yield from _above("repetition", row["recaption_repetition"], self.repetition)
        yield from _below("short", row["recaption_length_ratio"], self.min_length)
        yield from _above("long", row["recaption_length_ratio"], self.max_length)
        if not self._few_wrong(row, parts):
            yield from _below("precision", self._precision(row, parts), self.precision)
        yield from _below("retention", row["facts_retention"], self.retention)
        yield from _below("content", row["recaption_content"], self.content)

    def _few_wrong(self, row: dict[str, Any], parts: list[dict[str, Any]]) -> bool:
        """Whether less than half of the sentences have an unsupported claim, and all these will be
        dropped for it."""
        wrong = [p["unsupported"] for p in parts if p["unsupported"] and not self._seen(row, p)]
        most = self.unsupported
        return 2 * len(wrong) < len(parts) and most is not None and all(n > most for n in wrong)

    def _precision(self, row: dict[str, Any], parts: list[dict[str, Any]]) -> float | None:
        """Share of claims that the original supports, those of sentences that are seen beside."""
        share: float | None = row["facts_precision"]
        left = sum(part["unsupported"] for part in parts if not self._seen(row, part))
        told = sum(part["unsupported"] for part in parts)
        if share is None or left == told:
            return share
        return float(1 - (1 - share) * left / told)

    def _seen(self, row: dict[str, Any], part: dict[str, Any]) -> bool:
        """Whether the checker that looks at the picture is sure enough of a sentence."""
        if self.seen is None or row.get("claims_checked") is None:
            return False
        claim = _at(row["claims_checked"], (part["start"], part["end"]))
        return claim is not None and claim["p_yes"] >= self.seen

    def _of_unknown_language(self, row: dict[str, Any]) -> Iterator[Fault]:
        if self.languages is None or not row["recaption_language_told"]:
            return
        code, score = row["recaption_language"], row["recaption_language_score"]
        if code not in self.languages and score >= (
            _SURE if self.language is None else self.language
        ):
            yield Fault("unchecked", detail=f"language: {code}")

    def _of_language(self, row: dict[str, Any]) -> Iterator[Fault]:
        if self.language is None or not row["recaption_language_differs"]:
            return
        score = min(row["recaption_language_score"], row["original_language_score"])
        if score >= self.language:
            yield Fault("language", score, self.language, row["recaption_language"])

    def _of_sentence(
        self, row: dict[str, Any], parts: list[dict[str, Any]], number: int, alone: bool
    ) -> Iterator[Fault]:
        """Checks that one sentence fails, in order; `alone`: it would be the first that is left."""
        part = parts[number]
        span = (part["start"], part["end"])
        cut = row["recaption_truncated"] and number == len(parts) - 1 > 0
        if part["residue"] is not None:
            yield from _above(part["residue"], 1, self.residue)
        yield from _above("repeats", int(part["repeats"]), self.repeats)
        yield from _above("truncated", int(cut), self.truncated)
        if not self._seen(row, part):
            yield from _above("unsupported", part["unsupported"], self.unsupported)
        if row.get("claims_checked") is not None:
            yield from self._of_claim(_at(row["claims_checked"], span))
        if self.clip_counts and row.get("recaption_clip") is not None:
            scored = _at(row["recaption_clip"], span) or {"score": None}
            yield from _below("clip", scored["score"], self.clip)
        if alone:
            refers = REFERRING.match(row["recaption"], *span)
            yield from _above("refers", int(refers is not None), self.refers)

    def _verdicts(
        self, row: dict[str, Any], parts: list[dict[str, Any]]
    ) -> list[str | None] | None:
        """What the checker that looks at the picture says of each sentence."""
        looked = row.get("claims_checked")
        if looked is None or (self.contradicted is None and self.unverifiable is None):
            return None
        claims = (_at(looked, (part["start"], part["end"])) for part in parts)
        return [self._verdict(claim) if claim else None for claim in claims]

    def _verdict(self, claim: dict[str, Any]) -> str:
        fault = next(self._of_claim(claim), None)
        return "supported" if fault is None else fault.reason

    def _of_claim(self, claim: dict[str, Any] | None) -> Iterator[Fault]:
        if claim is None:
            if self.unverifiable is not None:
                yield Fault("unverifiable", None, self.unverifiable)
            return
        if self.contradicted is not None and claim["p_no"] >= self.contradicted:
            yield Fault("contradicted", claim["p_no"], self.contradicted)
        yield from _below("unverifiable", claim["p_yes"], self.unverifiable)

    def _losses(
        self, row: dict[str, Any], out: set[int], left: list[dict[str, Any]], text: str
    ) -> Iterator[Fault]:
        """What `text`, a caption without the sentences `out`, keeps too little of."""
        facts = row["facts_original"] or []
        held = sum(bool(set(fact["sentences"] or ()) - out) for fact in facts if fact["kept"])
        share = held / len(facts) if facts else None
        yield from _below("repair_loses_facts", share, self.retention)
        # What two sentences share is counted twice: never less than what is left.
        shares = [part["content"] for part in left if part["content"] is not None]
        yield from _below("repair_loses_content", sum(shares) if shares else None, self.content)
        yield from _below("repair_short", len(words_of(text)), self.repaired_words)


_SHARES = (
    "copied", "language", "repetition", "content", "precision", "retention", "contradicted",
    "unverifiable", "seen",
)  # fmt: skip
_AMOUNTS = (
    "max_chars", "refusals", "min_length", "max_length", "residue", "repeats", "truncated",
    "refers", "repaired_words", "unsupported",
)  # fmt: skip


def _without_caption(row: dict[str, Any]) -> Fault:
    code = row.get("recaption_error")
    return Fault("error", detail=code) if code else Fault("no_new_caption")


def _original(fault: Fault) -> dict[str, Any]:
    return {"choice": ORIGINAL, **fault._asdict()}


def _told(number: int, part: dict[str, Any], fault: Fault) -> dict[str, Any]:
    return {
        "sentence": number,
        "start": part["start"],
        "end": part["end"],
        "reason": fault.reason,
        "value": fault.value,
        "threshold": fault.threshold,
    }


def _at(entries: list[dict[str, Any]], span: tuple[int, int]) -> dict[str, Any] | None:
    """The entry of a sentence, by its characters."""
    return next((entry for entry in entries if (entry["start"], entry["end"]) == span), None)


def _above(reason: str, value: float | None, limit: float | None) -> Iterator[Fault]:
    if value is not None and limit is not None and value > limit:
        yield Fault(reason, float(value), float(limit))


def _below(reason: str, value: float | None, limit: float | None) -> Iterator[Fault]:
    if value is not None and limit is not None and value < limit:
        yield Fault(reason, float(value), float(limit))
