"""The facts of an original that a new caption should keep."""

import re
from collections.abc import Iterator

from curation.core.words import normalise
from curation.operators.text.facts_claims import Claim, claims
from curation.operators.text.facts_evidence import TAG, Evidence
from curation.operators.text.facts_forms import folded
from curation.operators.text.facts_lexicon import is_common

_ENTITY = re.compile(r"&(?:[a-z]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_FILE = re.compile(r"\b[\w-]{1,120}\.(?:jpe?g|png|gif|webp|svg|bmp|tiff?|pdf|html?)\b", re.I)
_WORD = re.compile(r"[^\W_]+")
_CODE = re.compile(r"(?=\w*\d)[^\W_]{7,}")
"""Numbers and codes of a shop or a picture agency: seven characters or more with a digit."""

MARKET = frozenset(
    (
        "alamy", "aliexpress", "amazon", "depositphotos", "dreamstime", "ebay", "etsy", "flickr",
        "fotolia", "getty", "istock", "mls", "pinterest", "royalty", "shutterstock", "tumblr",
        "vectorstock", "youtube", "zazzle",
    )
)  # fmt: skip
"""Where a picture was offered, not what it shows; a name of such words alone need not be kept."""


def worth(original: str, said: Evidence) -> Iterator[tuple[str, str, bool]]:
    """Words and kind of each fact of an original that matters, and whether `said` holds it.

    Addresses, file names, markup, codes of shops and names of market places do not matter. Where
    an original gives most words a capital, or none, only words that are none of common English
    make a name.
    """
    plain = TAG.sub(" ", _ENTITY.sub(lambda found: normalise(found[0]) or " ", original))
    plain = _FILE.sub(" ", plain).replace("_", " ")
    titled = _is_titled(plain)
    if plain.islower():
        plain = _WORD.sub(_raised, plain)
        titled = True
    for claim in claims(plain, said):
        words = plain[claim.start : claim.end]
        parts = _WORD.findall(words)
        if claim.kind == "url" or _is_noise(claim, parts):
            continue
        rare = [part for part in parts if _is_rare(part)]
        if claim.kind != "name":
            yield words, claim.kind, claim.supported
        elif rare or not titled:
            held = claim.supported or (titled and all(map(said.has_word, rare)))
            yield words, claim.kind, held


def _is_titled(text: str) -> bool:
    """Whether more than half of the longer words have a capital, as in titles."""
    longer = [word for word in _WORD.findall(text) if len(word) > 3]
    return bool(2 * sum(word[0].isupper() for word in longer) > len(longer))


def _raised(word: re.Match[str]) -> str:
    """A word with a capital, unless it is a common one or that would make it longer."""
    raised = word[0][0].upper() + word[0][1:]
    return word[0] if is_common(folded(word[0])) or len(raised) != len(word[0]) else raised


def _is_rare(word: str) -> bool:
    form = folded(word)
    return len(form) > 2 and not (is_common(form) or form in MARKET or _CODE.fullmatch(form))


def _is_noise(claim: Claim, words: list[str]) -> bool:
    parts = list(map(folded, words))
    return all(part in MARKET for part in parts) or (
        claim.kind in ("name", "number") and all(_CODE.fullmatch(part) for part in parts)
    )
