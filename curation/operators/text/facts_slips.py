"""Slips of the pen that a new caption may put right."""

_VOWELS = frozenset("aeiouy")
_LONG = 6
"""Letters that words share which a last one may not tell apart."""


def near(one: str, other: str) -> bool:
    """Whether one letter put in, left out, changed or swapped with the next makes them equal.

    A last letter more is one of longer words, or where it is doubled, and an a or o is none:
    Martina is not Martin, nor Louise Louis, nor Bryant Bryan.
    """
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    rest, others = one[start:], other[start:]
    if len(rest) + len(others) == 1:
        last = rest or others
        return last == one[start - 1 : start] or (last not in "ao" and start >= _LONG)
    if len(rest) == len(others) == 1:
        return False
    return (
        (rest[1:] == others[1:] and (len(one) > 8 or {*rest[:1], *others[:1]} <= _VOWELS))
        or rest[1:] == others
        or rest == others[1:]
        or (rest[:2] == others[1::-1] and rest[2:] == others[2:])
    )
