"""Lists of words: what tells a name from the grammar that capitals also serve."""

from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

COMMON = Path(__file__).parent / "vocabulary" / "common_words.txt"
"""Lower-case words of SCOWL's size 35, a published list; its copyright is in the file."""

_MODERN = """
app blog blogger clipart cosplay ebook emoji fanart gif hashtag hoodie infographic internet
leggings meme onesie online photoshoot playlist podcast romper selfie smartphone smartwatch
tutorial vape vlog webpage website wifi sitcom hijab
"""
"""Words younger than the list."""

_SMALL = """
a an the of and or in on at to for with by from is are was were be as it its this that
"""
SMALL = frozenset(_SMALL.split())
"""Words that a quotation may gain or lose."""

_PRONOUNS = """
these those he she they his her their we you your my our not no so but if when while who what
"""
GRAMMAR = SMALL | frozenset(_PRONOUNS.split())
"""Words that name nothing, in whatever case."""

_LETTERS = """
2d 3d dr i tv dvd cd led lcd dj pc usb gps id ok pdf mp3 diy faq qr hd t v u x am pm mr mrs ms miss
im ive ill dont vs etc rv suv atv utv atm cctv wifi rgb ac dc uv hdmi vhs jpg png svg gif eps psd
ceo vip tbd asap bbq bw pvc pu abs mdf cnc ui api vr ai xs xl xxl ev hvac ups ssd hdd ram cpu gpu
lte nfc spf hdr uhd oled hepa dslr rsvp aka sd tf msrp vol
manga anime kpop
"""
LETTERS = frozenset(_LETTERS.split())
"""What is written in capitals and names nobody; courtesy titles too."""

_ROLES = """
sentence chapter episode figure issue lot no part section season series step vol volume version
grade unit inc ltd llc co corp plc gmbh jr sr st mt sir lord lady king queen prince princess
president minister prime chief senator governor mayor captain general colonel professor doctor saint
father mother pope judge coach actor actress singer author director manager officer
"""
ROLES = frozenset(_ROLES.split())
"""Words that point (Chapter 2), titles and forms of companies: they name nothing by themselves."""

_KINDS = """
road avenue lane drive park ocean bay island mount valley village county state region country
republic university college academy resort restaurant cafe store mall theater theatre stadium arena
center centre cathedral palace hospital company corporation group team club band orchestra league
championship festival award magazine novel comic movie film show album game app website brand model
collection set kit style day war
"""
KINDS = ROLES | frozenset(_KINDS.split())
"""Words that say what kind of thing a name is of: one alone, or beside a stated name, adds none."""

_ENDINGS = (
    ("s", ("",)), ("es", ("",)), ("ies", ("y",)), ("ed", ("", "e")), ("ied", ("y",)),
    ("ing", ("", "e")), ("ly", ("", "e")), ("ily", ("y",)), ("er", ("", "e")), ("ers", ("", "e")),
    ("est", ("", "e")), ("ness", ("",)), ("less", ("",)), ("ful", ("",)), ("able", ("", "e")),
    ("ier", ("y",)), ("iest", ("y",)),
)  # fmt: skip
_SPELLINGS = (("our", "or"), ("ise", "ize"), ("isi", "izi"), ("isa", "iza"), ("tre", "ter"))
_DOUBLING = frozenset(("ed", "ing", "er", "est", "ers"))


@cache
def _words() -> frozenset[str]:
    lines = COMMON.read_text(encoding="ascii").split("\n")
    return frozenset(line for line in lines if line and line[0] != "#").union(_MODERN.split())


@lru_cache(maxsize=65_536)
def is_common(word: str) -> bool:
    """Whether a lower-case word, or what it is an inflection of, is on the list."""
    once = (word, *_bases(word))
    return any(base in _words() for base in once) or any(
        again in _words() for base in once[1:] for again in _bases(base)
    )


def _bases(word: str) -> Iterator[str]:
    """What `word` may be an inflection or the British spelling of."""
    for british, american in _SPELLINGS:
        if british in word:
            yield word.replace(british, american)
    for ending, replacements in _ENDINGS:
        root = word.removesuffix(ending)
        if root == word or len(root) < 3:
            continue
        yield from (root + replacement for replacement in replacements)
        if ending in _DOUBLING and len(root) > 3 and root[-1] == root[-2]:
            yield root[:-1]
