"""What was decided about a new caption, in words; nothing here knows HTML."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from curation.core.errors import ERROR_CODES
from curation.report.recaption_draw import ANY, LOST, PLAIN, TALKING, UNSUPPORTED
from curation.report.recaption_taken import Taking
from curation.report.wording import apart, display_safe, number, percent
from schemas import NEW, ORIGINAL, REPAIRED

FATES: Final[dict[str, str]] = {
    ORIGINAL: "Falls back to the original",
    REPAIRED: "Repaired",
    NEW: "Chosen as written",
    TALKING: "Holds talk or a refusal",
    UNSUPPORTED: "Claims what the original does not say",
    LOST: "Loses facts of the original",
    PLAIN: "Nothing against it",
}
"""What a pair is shown as."""

REASONS: Final[dict[str, tuple[str, str]]] = {
    "no_new_caption": ("there is no new caption", ""),
    "error": ("the new caption could not be made", ""),
    "unchecked": ("could not be checked", ""),
    "too_long": ("too long", "{value} characters, at most {limit}"),
    "refusal": ("refuses the task", ""),
    "copied_prompt": ("copies the prompt", "share of its words {value}, at most {limit}"),
    "language": ("another language", "probability {value}, from {limit}"),
    "repetition": ("repeats itself", "share of word groups {value}, at most {limit}"),
    "short": ("too short", "{value} of the original's length, at least {limit}"),
    "long": ("too long beside the original", "{value} of its length, at most {limit}"),
    "content": ("speaks of something else", "{value} of the original's words, at least {limit}"),
    "precision": ("states too much that the original does not", "precision {value} < {limit}"),
    "retention": ("loses too many of the original's facts", "retention {value} < {limit}"),
    "talk": ("talk, no caption", ""),
    "task": ("tells of the task, or holds markup", ""),
    "repeats": ("says again what was said", ""),
    "truncated": ("ends within the sentence", ""),
    "unsupported": ("claims what the original does not state", ""),
    "contradicted": ("not true of the picture", "P(no) {value}, from {limit}"),
    "unverifiable": ("cannot be seen in the picture", "P(yes) {value} < {limit}"),
    "clip": ("does not agree with the picture", "cosine {value} < {limit}"),
    "repair_loses_content": (
        "what is left speaks of something else",
        "{value} of the original's words, at least {limit}",
    ),
    "repair_loses_facts": ("what is left loses too many facts", "retention {value} < {limit}"),
}
"""What a reason of `choose_caption` means, and how its numbers are told, where they say more."""

FLAGS: Final[dict[str, str]] = {
    "refusal": "refusal",
    "talk": "talk, not caption",
    "task": "tells of the task, or holds markup",
}
"""What a sentence that is no caption is called."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the captions that were chosen, as far as it is known."""

    new: str
    """Said of one new caption: `goes on`, `would go on`, `chosen`."""
    many: str
    """Said of several."""
    original: str
    """Said of an original that was chosen."""
    exported: str
    """What the export takes; empty where none is at hand."""


def outcome(taking: Taking | None, taken: int, chosen: int) -> Outcome:
    """In words: of `chosen` new captions an export that takes as `taking` says drew `taken`."""
    if taking is None:
        return Outcome(new="chosen", many="were chosen", original="chosen", exported="")
    if not taking.share:
        said = "judged only: the originals were exported"
        return Outcome(new="would go on", many="would go on", original="goes on", exported=said)
    most = "at most " if taking.stopped else ""
    said = f"{most}{taken:,} of the {chosen:,} chosen are exported in place of their originals"
    if taking.share < 1:
        said += f" (a share of {number(taking.share)}, drawn by hash)"
        return Outcome(new="would go on", many="would go on", original="goes on", exported=said)
    return Outcome(new="goes on", many="go on", original="goes on", exported=said)


def meaning(reason: str) -> str:
    """A reason in words; an unknown one by its name."""
    return REASONS[reason][0] if reason in REASONS else display_safe(reason, 60)


def why(row: Mapping[str, Any]) -> str:
    """Why a caption or a sentence failed, with what was measured and what it was held against."""
    said = meaning(row["reason"])
    value, threshold, detail = row["value"], row["threshold"], row.get("detail")
    if detail:
        said = f"{said} ({ERROR_CODES.get(detail) or display_safe(detail, 60)})"
    numbers = REASONS.get(row["reason"], ("", "{value} against {limit}"))[1]
    if value is None or threshold is None or not numbers:
        return said
    measured, limit = _apart(value, threshold)
    return f"{said}: {numbers.format(value=measured, limit=limit)}"


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Both as short as lets them be told apart."""
    if value == int(value) and limit == int(limit):
        return number(value), number(limit)
    if f"{value:.2f}" != f"{limit:.2f}":
        return f"{value:.2f}", number(limit)
    return apart(value, limit)


def drawn_text(shown: int, total: int, marked: int, reasons: int) -> str:
    """How `shown` of `total` pairs of one fate were drawn, of which `marked` were preferred."""
    if shown == total:
        return "All are shown."
    said = f"{shown:,} of {total:,} shown, drawn by a hash of their place"
    if reasons > 1:
        said += ", each reason as often as the others"
    if 0 < marked < shown - shown // ANY:
        said += f"; those that have a fact or a claim to mark ({marked:,}) come first"
    elif 0 < marked < total:
        said += (
            f"; {ANY - 1} of {ANY} are drawn from the {marked:,} that have a fact or a claim to "
            f"mark, though only {percent(marked, total)} have one"
        )
    return f"{said}."


def keys_text(become: Outcome, scores: Iterable[str]) -> str:
    """What the small print of a pair means, as far as there is any."""
    said = []
    if become.original == "goes on":
        goes = "goes on: is exported"
        would = "would go on: is taken where the export draws new captions"
        said.append(goes if become.new == "goes on" else f"{goes}; {would}")
    begins = {score.partition(" ")[0] for score in scores}
    if "P(yes)" in begins:
        said.append("P(yes), P(no): what a model gives for the sentence being true of the picture")
    if "CLIP" in begins:
        said.append("CLIP: cosine of sentence and picture, higher where they agree")
    return f"{'. '.join(part[0].upper() + part[1:] for part in said)}." if said else ""


def share_text(part: int, whole: int, what: str) -> str:
    """`2 of 3 facts kept`; empty where there are none."""
    return f"{part} of {whole} {what}" if whole else ""
