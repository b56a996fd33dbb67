"""Reasons, rules and stages for readers who know no column by its name; nothing here knows HTML."""

from collections.abc import Mapping
from typing import Any, Final

from curation.report.wording import number, percent, rule_text


def noun(family: str, count: int) -> str:
    """What so many samples of a family are called."""
    one = "pair" if family == "image-text" else "sample"
    return one if count == 1 else f"{one}s"


def reason_title(reason: str) -> str:
    """A reason, or an error as `operator: code`, as a heading."""
    if reason in _TITLES:
        return _TITLES[reason]
    words = reason.rpartition(": ")[2].replace("_", " ").strip()
    return words[:1].upper() + words[1:]


_TITLES: Final[dict[str, str]] = {
    "min_side": "Too small",
    "aspect_ratio": "Too long and narrow",
    "solid_colour": "One flat colour",
    "flat_image": "Nothing to see",
    "blur": "Blurred",
    "mostly_border": "Mostly border",
    "no_caption": "No caption",
    "file_name": "A file name for a caption",
    "placeholder": "A placeholder for a caption",
    "short_caption": "Caption too short",
    "few_words": "Too few words",
    "long_caption": "Caption too long",
    "repetition": "Caption repeats itself",
    "symbols": "Mostly symbols",
    "digits": "Mostly digits",
    "url": "Mostly web addresses",
    "html_tag": "HTML tags in the caption",
    "html": "HTML remnants in the caption",
    "email": "E-mail address in the caption",
    "phone": "Telephone number in the caption",
    "card": "Card number in the caption",
    "language": "Not in a language asked for",
    "blocked": "On a blocklist, at ingest",
    "blocked_sha256": "On a blocklist: image bytes",
    "blocked_phash": "On a blocklist: look of the image",
    "blocked_url": "On a blocklist: address",
    "blocked_domain": "On a blocklist: domain",
    "blocked_uid": "On a blocklist: sample",
    "same_uid": "Exact duplicate",
    "same_image_caption": "Exact duplicate",
    "same_image": "The same image again",
    "near_image": "Near duplicate",
    "caption_on_many_images": "One caption on many images",
    "clip_score": "Caption does not fit the image",
    "not_in_top_fraction": "Others fit their image better",
    "no_clip_score": "Fit could not be scored",
    "semantic_twin": "Shows the same as another image",
    "benchmark_phash": "Looks like a benchmark image",
    "benchmark_ngram": "Quotes a benchmark text",
    "benchmark_clip": "Shows the same as a benchmark image",
    "balanced_out": "Thinned out: common concepts only",
    "unmatched": "Matches no concept",
    "over_allotment": "Over its group's allotment",
}


def rule_words(rule: Mapping[str, Any]) -> str:
    """What a rule takes away: `the shorter side is under 200 pixels`.

    A column that is not known here is told as the rule asks for it; a rule that is off says
    nothing.
    """
    column, kind, threshold = str(rule["column"]), rule["kind"], rule["threshold"]
    if kind not in ("at_least", "at_most"):
        if not threshold:
            return ""
        words = ", ".join(str(word) for word in threshold[:6])
        more = ", …" if len(threshold) > 6 else ""
        return f"{column} is {'not ' if kind == 'one_of' else ''}one of {words}{more}"
    limit = float(threshold)
    if kind == "at_least" and limit == 1 and column in _NONE:
        return _NONE[column]
    if kind == "at_most" and limit == 0 and column in _ANY:
        return _ANY[column]
    phrase = (_UNDER if kind == "at_least" else _OVER).get(column)
    if phrase is None:
        return f"asked for: {rule_text(rule)}"
    share = percent(round(limit * 1000), 1000).replace(".0%", "%")
    return phrase.format(number(limit), share=share)


_UNDER: Final[dict[str, str]] = {
    "min_side": "the shorter side is under {} pixels",
    "image_width": "the image is under {} pixels wide",
    "image_height": "the image is under {} pixels high",
    "area": "the image has under {} pixels",
    "image_bytes": "the file has under {} bytes",
    "luma_deviation": "brightness varies by less than {} grey levels",
    "luma_entropy": "brightness holds less than {} bits of variety",
    "blur": "sharpness is under {}",
    "caption_chars": "the caption has fewer than {} characters",
    "caption_words": "the caption has fewer than {} words",
    "language_score": "the language is less than {share} certain",
    "clip_score": "caption and image agree less than {}",
    "facts_precision": "under {share} of the new caption's facts are in the original",
    "facts_retention": "the new caption keeps under {share} of the original's facts",
}

_OVER: Final[dict[str, str]] = {
    "aspect_ratio": "one side is more than {} times the other",
    "area": "the image has over {} pixels",
    "image_bytes": "the file has over {} bytes",
    "frames": "the file has more than {} frames",
    "border_share": "more than {share} of the image is plain border",
    "caption_chars": "the caption has more than {} characters",
    "caption_words": "the caption has more than {} words",
    "caption_repetition": "more than {share} of its word pairs occurred before",
    "symbol_share": "more than {share} of the caption is symbols",
    "digit_share": "more than {share} of the caption is digits",
    "upper_share": "more than {share} of its letters are capitals",
    "url_share": "more than {share} of the caption is web addresses",
    "url_count": "the caption has more than {} web addresses",
    "html_count": "the caption has more than {} HTML tags or entities",
    "email_count": "the caption has more than {} e-mail addresses",
    "phone_count": "the caption has more than {} telephone numbers",
    "card_count": "the caption has more than {} card numbers",
}

_NONE: Final[dict[str, str]] = {
    "caption_chars": "there is no caption",
    "caption_words": "the caption has no word",
}

_ANY: Final[dict[str, str]] = {
    "file_name_like": "the caption is the name of a file",
    "placeholder": "the caption only stands in for one",
    "html_tags": "the caption has HTML tags in it",
    "html_count": "the caption has HTML tags or entities in it",
    "url_count": "the caption has a web address in it",
    "email_count": "the caption has an e-mail address in it",
    "phone_count": "the caption has a telephone number in it",
    "card_count": "the caption has a card number in it",
}


def stage_words(name: str, stage: Mapping[str, Any]) -> str:
    """What a stage of a recipe does, as a heading; empty where its kind is not known here."""
    kind = stage.get("kind", "")
    by = str(stage.get("by", ""))
    return _BY_NAME.get(name) or _STAGES.get(f"{kind} {by}") or _STAGES.get(str(kind), "")


_BY_NAME: Final[dict[str, str]] = {"ingest": "Reading the source", "measure": "Decoding the images"}
"""Lines of a funnel that are no stages."""

_STAGES: Final[dict[str, str]] = {
    "Select": "Rules for each sample alone",
    "Blocklist": "Blocklists",
    "ExactDedup image_caption": "Same image and caption",
    "ExactDedup image": "Same image",
    "ExactDedup": "Exact duplicates",
    "ClipSelect": "Does the caption fit?",
    "NearDedup": "Near duplicates",
    "SemanticDedup": "Same thing shown",
    "CaptionFrequency": "Captions used too often",
    "Decontaminate": "Benchmarks kept out",
    "Balance concepts": "Balance of concepts",
    "Balance cluster": "Balance of clusters",
    "Balance": "Balance",
    "ChooseCaption": "Which caption was chosen",
    "WaterFill": "A set number, evenly",
}
