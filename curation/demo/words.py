"""The words that stand on signs, banners and cards."""

import numpy as np

_ALONE = (
    "OPEN", "CLOSED", "SALE", "EXIT", "HELLO", "WELCOME", "STOP", "PULL", "PUSH", "THANK YOU",
    "SOLD OUT", "COMING SOON", "NO PARKING", "FOR RENT", "HAPPY BIRTHDAY", "GOOD MORNING",
    "GOOD LUCK", "BE KIND", "KEEP OUT", "DO NOT TOUCH", "WET PAINT", "MENU", "TICKETS", "INFO",
    "LIBRARY", "BAKERY", "MUSEUM", "SCHOOL", "HOTEL", "PHARMACY", "CINEMA", "GARAGE", "MARKET",
    "STATION", "GALLERY", "KITCHEN", "GARDEN", "BEACH", "AIRPORT", "TAXI STAND",
)  # fmt: skip
_FIRST = (
    "FRESH", "BIG", "NEW", "HAPPY", "OLD", "FREE", "BEST", "SMALL", "GOLDEN", "SUNNY", "LOCAL",
    "WILD", "QUIET", "LUCKY", "SECRET",
)  # fmt: skip
_SECOND = (
    "BREAD", "COFFEE", "MUSIC", "FLOWERS", "BOOKS", "DREAMS", "TOYS", "FRIENDS", "SUMMER", "HOME",
    "GAMES", "STORIES", "PIZZA", "RIVER", "WINTER",
)  # fmt: skip
_NUMBERED = ("ROOM", "GATE", "BUS", "EXIT", "TABLE", "PLATFORM", "LEVEL", "PAGE")


def draw_words(rng: np.random.Generator) -> str:
    """One or two short lines, parted by a line feed."""
    choice = rng.uniform()
    if choice < 0.4:
        words = str(rng.choice(_ALONE))
        return words.replace(" ", "\n", 1) if len(words) > 9 and rng.uniform() < 0.5 else words
    if choice < 0.75:
        return f"{rng.choice(_FIRST)}{rng.choice([' ', chr(10)])}{rng.choice(_SECOND)}"
    if choice < 0.9:
        return f"{rng.choice(_NUMBERED)} {rng.integers(1, 100)}"
    return f"{rng.integers(5, 80)}% OFF"
