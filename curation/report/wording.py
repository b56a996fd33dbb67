"""Numbers, rules and strangers' text as a reader sees them; nothing here knows HTML."""

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

CAPTION = 200
"""Characters of a caption that are shown."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
EMAIL = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
_STACK = re.compile(f"({_MARK}{{2}}){_MARK}+")
"""Marks stacked higher than any language does, that would cover the lines around them."""
_NO_EMAIL = "•••@•••"
_DIGIT = re.compile(r"\d")
LONG_NUMBER = re.compile(r"\d(?:[ ()+./-]{0,3}\d){8,}")
"""Nine digits and more: telephone and card numbers; a date has eight."""

PERSONAL = ("email_count", "phone_count", "card_count")
"""Measures of personal data: no digit or address of a caption dropped by them is shown."""

GLOSSARY: Final[dict[str, str]] = {
    "min_side": "shorter side, pixels",
    "aspect_ratio": "longer side over shorter",
    "area": "pixels",
    "image_width": "pixels",
    "image_height": "pixels",
    "width": "pixels, as ingested",
    "height": "pixels, as ingested",
    "image_bytes": "bytes as stored",
    "frames": "frames of the file",
    "orientation": "EXIF orientation, 1 to 8",
    "format": "image format",
    "mode": "pixel mode",
    "luma_mean": "mean brightness, 0 to 255",
    "luma_deviation": "contrast: deviation of brightness, grey levels",
    "luma_entropy": "variety of brightness, bits, 0 to 8",
    "blur": "sharpness: variance of the Laplacian, low when blurred",
    "border_share": "share of the area that is uniform border",
    "caption_chars": "characters of the caption",
    "caption_words": "words of the caption",
    "language": "detected language of the caption",
    "language_score": "probability of the detected language",
    "caption_repetition": "share of word pairs that occurred before",
    "digit_share": "share of characters that are digits",
    "symbol_share": "share of characters that are symbols",
    "upper_share": "share of letters that are capitals",
    "url_count": "web addresses in the caption",
    "url_share": "share of characters that are web addresses",
    "html_count": "HTML tags and entities in the caption",
    "html_tags": "HTML tags in the caption, line breaks apart",
    "email_count": "e-mail addresses in the caption",
    "phone_count": "telephone numbers in the caption",
    "card_count": "payment card numbers in the caption",
    "file_name_like": "1 where the caption is a file name",
    "placeholder": "1 where the caption only stands in for one",
    "clip_score": "how well caption and image agree: cosine of their CLIP embeddings, -1 to 1",
    "clip_skipped": "1 where CLIP was not asked, as the sample lies below its floor",
    "concept_language": "language whose vocabulary the caption was held against",
    "cluster": "number of the visual cluster",
    "cluster_distance": "how far from the middle of its visual cluster: 1 - cosine, 0 when there",
    "recaption": "new caption",
    "recaption_prompt": "prompt that the new caption was asked for with",
    "recaption_finish": "why the model ended its answer",
    "recaption_tokens_in": "tokens of the question, pictures included",
    "recaption_tokens_out": "tokens of the answer",
    "recaption_attempts": "times that the servers were asked",
    "recaption_skipped": "1 where no caption was asked for, as the sample lies below the floor",
    "facts_precision": "share of the new caption's facts that the original states",
    "facts_retention": "share of the original's facts that the new caption holds",
    "recaption_residue": "sentences of the new caption that talk of the task or refuse it",
    "recaption_repetition": "share of the new caption's word groups that occurred before",
    "recaption_truncated": "1 where the new caption ends within a sentence",
    "original_language_score": "probability of the original caption's language",
    "recaption_language": "detected language of the new caption",
    "recaption_language_score": "probability of the new caption's language",
    "recaption_language_differs": "1 where the two captions have different languages",
    "recaption_language_told": "1 where the new caption is long enough to tell its language",
    "recaption_length_ratio": "characters of the new caption over those of the original",
    "recaption_content": "share of the original's words of meaning that the new caption has",
    "recaption_prompt_share": "share of the new caption's words copied from the prompt",
}
"""What a measure means, in a few words; a measure that is not here is shown by its name alone."""


def display_safe(text: str, limit: int = CAPTION) -> str:
    """One line of at most `limit` characters without control and direction characters.

    What is cut away is told by its length. The result is still text: HTML in it is not escaped.
    """
    return _cut(_clean(text[: 4 * limit]), limit, len(text), whole=len(text) <= 4 * limit)


def shown_caption(text: str, length: int, *, personal: bool) -> str:
    """A caption as the gallery shows it: safe to display, personal data made unreadable.

    `text` is the start of a caption of `length` characters; `personal` says that it was dropped
    for personal data, so that none of its digits are shown. Others lose what looks like an e-mail
    address, a telephone or a card number: they may have been dropped for another reason first.
    """
    look = text[: 4 * CAPTION]
    line = _clean(look)
    line = masked(line) if personal else LONG_NUMBER.sub(_dotted, EMAIL.sub(_NO_EMAIL, line))
    return _cut(line, CAPTION, length, whole=length <= len(look))


def _clean(text: str) -> str:
    kept = [
        " " if c.isspace() else c
        for c in text
        if c.isspace()
        or (unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn") and c not in _BIDI)
    ]
    return " ".join(_STACK.sub(r"\1", "".join(kept)).split())


def _cut(line: str, limit: int, length: int, *, whole: bool) -> str:
    if len(line) <= limit and whole:
        return line
    return f"{line[:limit].rstrip()}… ({length:,} characters)"


def masked(text: str) -> str:
    """Digits and addresses made unreadable, for captions dropped for the personal data in them."""
    return _DIGIT.sub("•", EMAIL.sub(_NO_EMAIL, text))


def _dotted(found: re.Match[str]) -> str:
    return _DIGIT.sub("•", found[0])


def number(value: float) -> str:
    """Thousands separated; at most four significant digits below a thousand and from 1e15 on."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e15:
        return f"{value:.4g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def compact(value: float) -> str:
    """For axis ticks: 1,500 is 1.5k."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.3g}{letter}"
    return number(value)


def byte_size(size: int) -> str:
    """Decimal units, as disks and object stores bill."""
    for unit, letter in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return (
                f"{size / unit:.3g} {letter}"
                if size < 999.5 * unit
                else f"{size / unit:,.0f} {letter}"
            )
    return f"{size:,} bytes"


def figures(value: float) -> str:
    """Two figures of an estimate, and all before the point where there are more."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def percent(part: int, whole: int) -> str:
    """A share that never rounds something to nothing, nor almost all to all."""
    if whole == 0:
        return "–"  # noqa: RUF001
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    if 99.9 < share < 100:
        return ">99.9%"
    return f"{share:.0f}%" if share in (0, 100) else f"{share:.1f}%"


def apart(value: float, limit: float) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to tell them apart."""
    if number(value) != number(limit) or value == limit:
        return number(value), number(limit)
    digits = 5
    while f"{value:.{digits}g}" == f"{limit:.{digits}g}":
        digits += 1
    return f"{value:.{digits}g}", number(limit)


_SIGN = {"at_least": "≥", "at_most": "≤"}


def rule_text(rule: Mapping[str, Any]) -> str:
    """What a rule of the recipe asks for: `min_side ≥ 200`."""
    column, kind, threshold = rule["column"], rule["kind"], rule["threshold"]
    if kind in _SIGN:
        return f"{column} {_SIGN[kind]} {number(float(threshold))}"
    if not threshold:
        return f"{column}: off"
    words = ", ".join(str(word) for word in threshold[:12])
    more = f" and {len(threshold) - 12} more" if len(threshold) > 12 else ""
    return f"{column} {'in' if kind == 'one_of' else 'not in'} {words}{more}"


def settings_text(stage: Mapping[str, Any]) -> str:
    """A stage's own parameters: `distance 3, keep_best area`."""
    parts = []
    for name, value in stage.items():
        if name in ("kind", "name", "rules", "off") or value is None:
            continue
        if isinstance(value, list):
            said = ", ".join(str(v.get("name", v) if isinstance(v, dict) else v) for v in value[:8])
            parts.append(f"{name} {said or 'none'}")
        elif isinstance(value, float | int) and not isinstance(value, bool):
            parts.append(f"{name} {number(float(value))}")
        else:
            parts.append(f"{name} {value}")
    return "; ".join(parts)


def verdict_text(
    row: Mapping[str, Any],
    rule: Mapping[str, Any] | None,
    kind: str,
    entries: Mapping[str, str] | None = None,
) -> str:
    """Why one sample was dropped: what was measured against what it was held to.

    `row` is its ledger row, `rule` the rule of that reason where its stage is a Select, `kind`
    the kind of its stage, `entries` the names of vocabulary entries by `language:id`.
    """
    value, threshold, detail = row["value"], row["threshold"], row["detail"]
    if rule is not None:
        if value is not None and threshold is not None:
            said, limit = apart(value, threshold)
            return f"{rule['column']} {said} {'<' if rule['kind'] == 'at_least' else '>'} {limit}"
        return f"{rule['column']}: {display_safe(detail or 'not measured', 60)}"
    if value is not None and kind == "ExactDedup":
        return f"1 of {number(value)} alike"
    if value is not None and threshold is not None:
        what = display_safe((entries or {}).get(detail, detail or ""), 60)
        return _held_against(kind, row["reason"], *apart(value, threshold), what)
    return _WITHOUT_VALUE.get(row["reason"], "") or display_safe(detail or row["reason"] or "", 60)


_WITHOUT_VALUE = {
    "no_clip_score": "no CLIP score: the pair could not be scored",
    "unmatched": "matches nothing that is balanced",
}


def _held_against(kind: str, reason: str | None, said: str, limit: str, what: str) -> str:
    """`said` is what was measured, `limit` what it was held to, `what` the entry or benchmark."""
    if reason == "benchmark_ngram":
        return f"{what}: {said} word sequence{'' if said == '1' else 's'} in common"
    if reason == "benchmark_phash":
        return f"{what}: {said} of 64 bits differ (limit {limit})"
    if reason == "benchmark_clip":
        return f"{what}: cosine {said} ≥ {limit}"
    told = {
        "NearDedup": f"{said} of 64 bits differ (limit {limit})",
        "CaptionFrequency": f"caption on {said} images > {limit}",
        "ClipSelect": f"CLIP score {said} < {limit}",
        "SemanticDedup": f"cosine {said} > {limit}",
        "Balance": f"{what}: drew {limit} ≥ {said}",
        "WaterFill": f"place {said} > {limit} allotted to {what}",
    }
    return told.get(kind, f"{said} against {limit}")
