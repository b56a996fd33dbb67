"""Whether the numbers of a config, which come from files of others, are numbers."""

from dataclasses import fields
from typing import Any


def check_numbers(part: Any, *, least: int) -> None:
    """Raises ValueError for an int below `least` or not below 2**31, a float not above 0."""
    for known in fields(part):
        value = getattr(part, known.name)
        if known.type is int and not (type(value) is int and least <= value < 1 << 31):
            raise ValueError(f"{known.name} is {value!r:.40}, no whole number of {least} or more")
        if known.type is float and not (
            isinstance(value, int | float) and 0 < value < float("inf")
        ):
            raise ValueError(f"{known.name} is {value!r:.40}, no number above 0")
