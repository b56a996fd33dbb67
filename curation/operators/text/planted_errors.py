"""Sentences with one error planted in them, as captioners make them.

Whoever is to judge sentences has to tell them from these (Yuksekgonul et al., "When and why
vision-language models behave like bags-of-words" (2023), plants relations, attributes and order).
"""

import re

_BOTH_WAYS = (
    ("left", "right"), ("above", "below"), ("over", "under"), ("in front of", "behind"),
    ("inside", "outside"), ("near", "far from"), ("black", "white"), ("red", "blue"),
    ("green", "purple"), ("brown", "pink"), ("yellow", "grey"), ("two", "five"),
    ("three", "seven"), ("four", "nine"), ("six", "ten"), ("large", "small"), ("big", "little"),
    ("tall", "short"), ("old", "new"), ("open", "closed"), ("wooden", "metal"),
    ("sitting", "running"), ("standing", "lying"), ("day", "night"), ("man", "woman"),
    ("men", "women"), ("boy", "girl"), ("boys", "girls"), ("dog", "cat"), ("dogs", "cats"),
    ("bird", "horse"), ("birds", "horses"), ("car", "bicycle"), ("cars", "bicycles"),
    ("house", "boat"), ("houses", "boats"), ("tree", "chair"), ("trees", "chairs"),
    ("table", "bed"), ("beach", "forest"), ("city", "desert"), ("mountain", "kitchen"),
    ("flower", "fish"), ("flowers", "fruits"),
)  # fmt: skip
_ONE_WAY = {"gray": "yellow", "orange": "blue", "gold": "black", "silver": "red"}

_OTHER = dict(_BOTH_WAYS) | {b: a for a, b in _BOTH_WAYS} | _ONE_WAY
_WORD = re.compile(
    rf"\b(?:{'|'.join(sorted(map(re.escape, _OTHER), key=len, reverse=True))})\b", re.IGNORECASE
)


def planted(sentence: str) -> str | None:
    """`sentence` with its first relation, colour, number, kind or thing that is known changed.

    Null where it holds none.
    """
    match = _WORD.search(sentence)
    if match is None:
        return None
    other = _OTHER[match[0].lower()]
    if match[0][0].isupper():
        other = other[0].upper() + other[1:]
    return sentence[: match.start()] + other + sentence[match.end() :]
