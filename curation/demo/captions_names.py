"""Facts beside a picture that it cannot show: names, places, dates, numbers, titles, drawn anew."""

from collections.abc import Callable

from curation.demo.canvas import Rng

_ONSETS = (
    "b", "br", "c", "ch", "d", "dr", "f", "fr", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p",
    "r", "s", "st", "sv", "t", "th", "tr", "v", "w", "z", "", "sh", "sk", "y",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ie", "ou", "é", "ö", "ø", "å")
_ENDS = ("", "", "", "n", "r", "l", "s", "m", "ck", "rd", "nd", "ll", "rg", "ss", "t", "ng", "x")
_LAST = ("berg", "ton", "ville", "ford", "holm", "stad", "field", "mouth", "burg", "haven", "dal",
         "son", "sen", "man", "er", "ini", "ski", "ez")  # fmt: skip
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_TITLES = ("Quiet", "Harbour", "Morning", "Summer", "Study", "Winter", "Garden", "Dream", "Song",
           "Evening", "Journey", "Letters", "Stories", "Silence", "Spring", "Memory")  # fmt: skip


def draw_name(rng: Rng) -> str:
    """A name that nobody bears: Drobaik, Svenholm, TRASKEN."""
    syllables = 1 + int(rng.choice(3, p=[0.3, 0.5, 0.2]))
    parts = [f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}{rng.choice(_ENDS)}"
             for _ in range(syllables)]  # fmt: skip
    name = "".join(parts)
    if syllables == 1 or rng.uniform() < 0.25:
        name += str(rng.choice(_LAST))
    return name.upper() if rng.uniform() < 0.05 else name.capitalize()


def _place(rng: Rng) -> str:
    name = draw_name(rng)
    if rng.uniform() < 0.3:
        name = f"{name}, {draw_name(rng)}"
    return f"{rng.choice(['in ', 'near ', '', 'from '])}{name}"


def _person(rng: Rng) -> str:
    name = f"{draw_name(rng)} {draw_name(rng)}"
    if rng.uniform() < 0.15:
        name = f"{name[0]}. {name.rsplit(maxsplit=1)[-1]}"
    return f"{rng.choice(['by ', 'by ', '', 'photo by ', 'for '])}{name}"


def _date(rng: Rng) -> str:
    year = int(rng.integers(1700, 2030)) if rng.uniform() < 0.3 else int(rng.integers(1930, 2030))
    month, day = str(rng.choice(_MONTHS)), int(rng.integers(1, 29))
    forms = (f"{year}", f"{year}", f"in {year}", f"{month} {year}", f"{day} {month} {year}",
             f"c. {year}", f"{month} {day}, {year}")  # fmt: skip
    return forms[int(rng.integers(0, len(forms)))]


def _number(rng: Rng) -> str:
    n = int(10 ** rng.uniform(1.05, 5))
    m = int(rng.integers(11, 99))
    forms = (f"No. {m}", f"page {m}", f"sheet {m}", f"{m} x {m + 9} cm", f"{n} g", f"No. {n}",
             f"{m} kg", f"edition of {n}")  # fmt: skip
    return forms[int(rng.integers(0, len(forms)))]


def _title(rng: Rng) -> str:
    words = [draw_name(rng) if rng.uniform() < 0.5 else str(rng.choice(_TITLES))
             for _ in range(1 + int(rng.integers(0, 3)))]  # fmt: skip
    return f'"{" ".join(words)}"'


_DRAWN: tuple[Callable[[Rng], str], ...] = (_place, _person, _date, _number, _title)
_SHARES = (0.28, 0.26, 0.24, 0.12, 0.1)


def draw_extras(caption: str, rng: Rng) -> tuple[str, tuple[str, ...]]:
    """A caption with one to three such facts put in, and these facts word for word."""
    kinds = rng.choice(len(_DRAWN), 1 + int(rng.choice(3, p=[0.6, 0.3, 0.1])), False, _SHARES)
    extras = tuple(_DRAWN[kind](rng) for kind in kinds)
    body, bar, seller = caption.partition(" | " if " | " in caption else " - ")
    said = ", ".join(extras)
    match int(rng.integers(0, 5)):
        case 0:
            text = f"{said}: {body}"
        case 1:
            text = f"{body.rstrip('.')} ({said})"
        case 2:
            text = f"{body.rstrip('.')} - {said}"
        case 3:
            text = f"{body.rstrip('.')}. {said[0].upper()}{said[1:]}."
            extras = (f"{extras[0][0].upper()}{extras[0][1:]}", *extras[1:])
        case _:
            text = f"{body.rstrip('.')}, {said}"
    return f"{text}{bar}{seller}", extras
