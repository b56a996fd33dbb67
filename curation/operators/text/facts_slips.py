"""Slips of the pen that a new caption may put right."""

_VOWELS = frozenset("aeiouy")


def near(one: str, other: str) -> bool:
    """Whether one letter put in, left out, changed or swapped with the next makes them equal."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    rest, others = one[start:], other[start:]
    return (
        (rest[1:] == others[1:] and (len(one) > 8 or {*rest[:1], *others[:1]} <= _VOWELS))
        or rest[1:] == others
        or rest == others[1:]
        or (rest[:2] == others[1::-1] and rest[2:] == others[2:])
    )
