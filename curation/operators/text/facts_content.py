"""How much of what an original speaks of a new caption speaks of, names or not."""

import re

from curation.core.words import words_of
from curation.operators.text.facts_evidence import TAG
from curation.operators.text.facts_forms import folded, stem
from curation.operators.text.facts_lexicon import GRAMMAR
from curation.operators.text.facts_worth import MARKET

_ADDRESS = re.compile(r"://|www\.|\.(?:jpe?g|png|gif|webp|html?|com)\b", re.IGNORECASE)
"""What a word that is a file or an address holds."""
_WITHOUT = GRAMMAR | MARKET | frozenset(
    (
        "about", "after", "all", "also", "any", "been", "can", "has", "have", "had", "her", "him",
        "how", "into", "just", "more", "off", "one", "only", "other", "out", "over", "some", "than",
        "them", "there", "through", "under", "upon", "via", "which", "whose", "will", "your",
        "image", "images", "photo", "photos", "picture", "pictures", "vector", "stock", "free",
        "download", "thumbnail", "wholesale",
    )
)  # fmt: skip
"""Words that two captions of nothing in common may share."""
_BEGINNING = 5
"""Letters by which two forms of a word are told to be one: paint, painted, painter."""


def held(wanted: frozenset[str], text: str) -> float | None:
    """Share, 0-1, of `wanted` words of meaning that a text has in some form; null for none."""
    return len(wanted & meaning(text)) / len(wanted) if wanted else None


def meaning(text: str) -> frozenset[str]:
    """Words of meaning of a text: no address, file name, markup or number, and no word of grammar
    or of market places."""
    parts = TAG.sub(" ", text).lower().split()
    plain = " ".join(part for part in parts if not _ADDRESS.search(part)).replace("_", " ")
    forms = {stem(folded(word)) for word in words_of(plain) if not word.isdecimal()}
    return frozenset(
        form[:_BEGINNING]
        for form in forms
        if form not in _WITHOUT and (len(form) > 2 or not form.isascii())
    )
