"""English for numbers of things: a red apple, three pairs of scissors, two geese."""

_PARTS = {
    "scissors": "pair", "pliers": "pair", "headphones": "pair", "trousers": "pair",
    "glasses": "pair", "maracas": "pair", "grapes": "bunch", "fries": "box", "pancakes": "plate",
    "popcorn": "box", "sushi": "piece", "cheese": "piece", "soap": "bar",
}  # fmt: skip
"""Names that take no article, and what they are counted in."""

_PLURALS = {
    "mouse": "mice", "sheep": "sheep", "deer": "deer", "fish": "fish", "dice": "dice",
    "octopus": "octopuses", "cactus": "cacti", "knife": "knives", "leaf": "leaves",
    "loaf": "loaves", "wolf": "wolves", "scarf": "scarves", "bookshelf": "bookshelves",
    "tomato": "tomatoes", "potato": "potatoes", "volcano": "volcanoes", "domino": "dominoes",
}  # fmt: skip

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def article(phrase: str) -> str:
    """`phrase` with "a" or "an" before it."""
    vowel = phrase[0] in "aeio" or phrase.startswith(("umb", "hourglass"))
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(noun: str) -> str:
    """The plural of a countable name."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def counted(noun: str, adjectives: str, count: int, *, bare: bool = False) -> str:
    """`count` things with adjectives before the noun; `bare` leaves out the article of one."""
    described = f"{adjectives} {noun}".strip()
    part = _PARTS.get(noun)
    if part is not None:
        if count == 1:
            return described if bare else f"a {part} of {described}"
        return f"{_NUMBERS[count]} {plural(part)} of {described}"
    if count == 1:
        return described if bare else article(described)
    return f"{_NUMBERS[count]} {adjectives} {plural(noun)}".replace("  ", " ")


def names_in(text: str, noun: str) -> bool:
    """Whether a caption names the thing, in the singular or plural."""
    words = {word.strip('.,;:|"()').lower() for word in text.split()}
    return noun in words or (noun not in _PARTS and plural(noun) in words)
