"""What is said of new captions as a whole: first figures, choices, findings; and all as JSON."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from curation.io.corpus import Corpus
from curation.operators.vision_language.chat_operator import EMBEDDED
from curation.report.recaption_counts import Counts, listed_kinds
from curation.report.recaption_tally import told as told_tally
from curation.report.recaption_wording import Outcome, meaning, outcome
from curation.report.wording import display_safe, number, percent
from schemas import NEW, ORIGINAL, REPAIRED


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the first row."""

    name: str
    value: str
    foot: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How often one caption was chosen for one reason."""

    fate: str
    what: str
    samples: int
    share: str


def headline(corpus: Corpus, counts: Counts) -> str:
    """How many new captions there are."""
    samples = "kept samples" if corpus.manifest.ledger is not None else "samples"
    return f"{counts.captioned:,} of {counts.samples:,} {samples} have a new caption"


def made_by(corpus: Corpus, counts: Counts) -> str:
    """Model and prompts, as far as they are recorded."""
    model = _model(corpus)
    prompts = ", ".join(sorted(filter(None, counts.prompts))[:4])
    by = "the small model that ships (embedded)" if _embedded(corpus) else f"model {model}"
    said = [f"by {by}" if model else "", f"asked with prompt {prompts}" if prompts else ""]
    return display_safe(", ".join(filter(None, said)), 300)


def _model(corpus: Corpus) -> str:
    """As the recipe names it; empty where it does not."""
    recipe = corpus.manifest.recipe.get("operators", {})
    return str(recipe.get("recaption", {}).get("model", ""))


def _embedded(corpus: Corpus) -> bool:
    return _model(corpus) == EMBEDDED


def notes(corpus: Corpus, counts: Counts) -> list[str]:
    """What to know before the figures are read."""
    notes = []
    if _embedded(corpus):
        notes.append(
            "That model knows the demo's drawn scenes and nothing else: it shows how captions are "
            "checked and chosen, not what a captioner of full size is worth. On photographs its "
            "captions are nonsense."
        )
    if counts.others:
        notes.append(
            f"{counts.others:,} more new captions belong to samples that were not kept; "
            "nothing here counts them."
        )
    if not counts.checked and counts.captioned:
        notes.append("Facts were not checked (curate measure caption_facts).")
    if counts.captioned and not counts.asked:
        notes.append(
            "No model was asked whether the captions are true of the pictures (claim_check): what "
            "they add to the originals is unproven."
        )
    if counts.captioned and not counts.choices:
        notes.append("Nothing was chosen yet: no caption has fallen back to its original.")
    return notes


def become(counts: Counts) -> Outcome:
    """What the export has made of what was chosen."""
    return outcome(counts.taking, counts.taken, sum(_chosen(counts)[kind] for kind in _FRESH))


_FRESH = (NEW, REPAIRED)


def _chosen(counts: Counts) -> Counter[str]:
    """Samples by choice."""
    chosen = Counter[str]()
    for (kind, _), samples in counts.choices.items():
        chosen[kind] += samples
    return chosen


def figures(counts: Counts) -> list[Figure]:
    """The first row: rates of facts, what became of the captions, how long they are."""
    found = _rates(counts) if counts.checked else []
    if counts.choices:
        found += _fates(counts, become(counts))
    before, after = (tally.quantile(0.5) or 0 for tally in counts.characters)
    if counts.characters[1].number:
        found.append(
            Figure(
                name="length",
                value=f"{number(before)} → {number(after)}",
                foot="characters, median of originals and new captions",
            )
        )
    return found


def _rates(counts: Counts) -> list[Figure]:
    total = counts.total()
    return [
        Figure(
            name="precision",
            value=percent(total.supported, total.claims),
            foot=f"{total.supported:,} of {total.claims:,} facts in new captions are stated by "
            f"the originals{_going(counts.going.supported, counts.going.claims)}",
        ),
        Figure(
            name="retention",
            value=percent(total.kept, total.facts),
            foot=f"{total.kept:,} of {total.facts:,} facts of the originals are kept"
            f"{_going(counts.going.kept, counts.going.facts)}",
        ),
    ]


def _fates(counts: Counts, become: Outcome) -> list[Figure]:
    chosen = _chosen(counts)
    gone = sum(counts.dropped.values())
    fates = [
        Figure(
            name="fallback",
            value=percent(counts.fell_back, counts.captioned),
            foot=f"the original was chosen over {counts.fell_back:,} new captions",
        ),
        Figure(
            name="repaired",
            value=percent(chosen[REPAIRED], counts.captioned),
            foot=f"{chosen[REPAIRED]:,} {become.many} without {gone:,} sentence{'s' * (gone != 1)}"
            if gone
            else "none was chosen in part",
        ),
        Figure(
            name="as written",
            value=percent(chosen[NEW], counts.captioned),
            foot=f"{chosen[NEW]:,} {become.many} as they are",
        ),
    ]
    if become.exported:
        share = percent(counts.taken, counts.captioned) if counts.taken else "none"
        fates.append(Figure(name="exported", value=share, foot=become.exported))
    return fates


def _going(part: int, whole: int) -> str:
    return f"; {percent(part, whole)} in those that were chosen" if whole else ""


def choices(counts: Counts) -> list[Choice]:
    """What was chosen by reason: new captions, then repaired ones, then originals."""
    order = {kind: nth for nth, kind in enumerate((NEW, REPAIRED, ORIGINAL))}
    words = {NEW: "new, as written", REPAIRED: "repaired", ORIGINAL: "original"}
    total = sum(counts.choices.values())
    listed = sorted(counts.choices.items(), key=lambda item: (order[item[0][0]], -item[1], item[0]))
    return [
        Choice(
            fate=kind,
            what=f"{words[kind]}: {meaning(reason)}" if reason else words[kind],
            samples=samples,
            share=percent(samples, total),
        )
        for (kind, reason), samples in listed
    ]


def findings(counts: Counts) -> list[tuple[str, int, int]]:
    """What was found, in how many of how many."""
    checked = counts.checked
    listed = [
        ("captions with every claim supported", counts.all_supported, counts.with_claims),
        ("captions that keep every fact", counts.all_kept, counts.with_facts),
        ("sentences that a model holds true of the picture", counts.yes, counts.asked),
        ("captions with talk, refusal or task in them", counts.talking, checked),
        ("captions that end within a sentence", counts.truncated, checked),
        ("captions in another language than the original", counts.other_language, checked),
    ]
    if counts.skipped:
        listed.append(("samples under the floor, not asked about", counts.skipped, counts.samples))
    return [(what, n, of) for what, n, of in listed if of]


def told(corpus: Corpus, counts: Counts) -> dict[str, Any]:
    """All figures as JSON types."""
    total = counts.total()
    return {
        "samples": counts.samples,
        "decided": corpus.manifest.ledger is not None,
        "captioned": counts.captioned,
        "captioned_not_kept": counts.others,
        "skipped": counts.skipped,
        "errors": dict(sorted(counts.failed.items())),
        "prompts": dict(sorted(counts.prompts.items())),
        "checked": counts.checked,
        "precision": _ratio(total.supported, total.claims),
        "retention": _ratio(total.kept, total.facts),
        "kinds": {kind: asdict(count) for kind, count in listed_kinds(counts.kinds)},
        "captions_with_claims": counts.with_claims,
        "captions_all_supported": counts.all_supported,
        "originals_with_facts": counts.with_facts,
        "originals_all_kept": counts.all_kept,
        "sentences": counts.sentences,
        "sentences_asked": counts.asked,
        "sentences_true": counts.yes,
        "captions_talking": counts.talking,
        "captions_truncated": counts.truncated,
        "captions_other_language": counts.other_language,
        "choices": {
            f"{kind}: {reason}" if reason else kind: samples
            for (kind, reason), samples in sorted(counts.choices.items())
        },
        "fallback": _ratio(counts.fell_back, counts.captioned) if counts.choices else None,
        "precision_going_on": _ratio(counts.going.supported, counts.going.claims),
        "retention_going_on": _ratio(counts.going.kept, counts.going.facts),
        "exported": _told_export(counts),
        "sentences_dropped": dict(sorted(counts.dropped.items())),
        "words_of_share": counts.share,
        "distributions": {
            distribution.name: {
                "before": told_tally(distribution.before),
                "after": told_tally(distribution.after),
            }
            for distribution in counts.distributions
        },
    }


def _told_export(counts: Counts) -> dict[str, Any] | None:
    """Null where no export is at hand; `exact` is false where a list stopped samples at export."""
    if counts.taking is None:
        return None
    exact = not counts.taking.stopped
    return {"share": counts.taking.share, "new_captions": counts.taken, "exact": exact}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
