"""The forms one fact is written in: words, numbers, dates, units, places, peoples."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

from curation.core.words import normalise

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
"""Letters and digits that stand together."""

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {word: value for value, word in enumerate(_ONES.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}
"""Values of the words below a hundred that are one word."""

_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12,
    "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50, "sixtieth": 60,
    "seventieth": 70, "eightieth": 80, "ninetieth": 90,
}  # fmt: skip
ORDINAL_WORDS = _ORDINALS | {
    f"{word}th": value for word, value in NUMBER_WORDS.items() if f"{word}th" not in _ORDINALS
}
MAGNITUDES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12, "k": 1000, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9,
}  # fmt: skip

MONTHS = {
    form: number
    for number, forms in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul",
            "august aug", "september sep sept", "october oct", "november nov", "december dec",
        ),
        start=1,
    )
    for form in forms.split()
}  # fmt: skip
FOREIGN_MONTHS = {
    form: number
    for number, forms in enumerate(
        (
            "janvier januar enero gennaio janeiro januari", "fevrier februar febrero febbraio",
            "mars marz marzo", "avril aprile abril", "mai mayo maggio maio",
            "juin juni junio giugno", "juillet juli julio luglio", "aout agosto augustus",
            "septembre septiembre settembre",
            "octobre oktober octubre ottobre outubro", "novembre noviembre", "decembre dezember",
        ),
        start=1,
    )
    for form in forms.split()
}  # fmt: skip
"""Names that a caption in English may render."""
WEEKDAYS = {
    form: number
    for number, forms in enumerate(
        ("monday mon", "tuesday tue tues", "wednesday wed", "thursday thu thur thurs",
         "friday fri", "saturday sat", "sunday sun")
    )
    for form in forms.split()
}  # fmt: skip

UNITS = {
    form: forms.split()[0]
    for forms in (
        "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre mtr",
        "km kilometer kilometre", "inch in inche", "foot ft feet", "yard yd yds",
        "mile mi", "mg milligram", "g gram gm gr", "kg kilo kilogram", "oz ounce",
        "lb lbs pound #", "ton tonne", "ml milliliter millilitre", "cl", "l liter litre ltr",
        "gal gallon", "pint pt", "quart qt", "w watt", "kw kilowatt", "v volt", "a amp ampere",
        "ma mah", "hp horsepower", "hz hertz", "khz", "mhz", "ghz", "kb", "mb megabyte",
        "gb gigabyte gig", "tb terabyte", "mp megapixel mpix", "px pixel", "dpi ppi",
        "mph", "kmh kph", "acre ac", "sqft sqm", "ct carat karat", "% percent pct", "° degree deg",
        "$ dollar usd buck", "€ euro eur", "£ gbp quid", "¥ yen jpy", "₹ rupee rs inr",
        "cent", "second sec", "minute min", "hour hr h", "day", "week wk", "month mo mth",
        "year yr y yo", "gsm", "psi", "cc", "mcg", "denier", "lumen lm", "btu",
        "kj calorie cal kcal",
    )
    for form in forms.split()
}  # fmt: skip
"""Canonical form of measures, money, percent and spans of time, as folded singular words."""

_PLACES = """
al=alabama ak=alaska az=arizona ar=arkansas ca=california co=colorado ct=connecticut de=delaware
fl=florida ga=georgia hi=hawaii id=idaho il=illinois in=indiana ia=iowa ks=kansas ky=kentucky
la=louisiana me=maine md=maryland ma=massachusetts mi=michigan mn=minnesota ms=mississippi
mo=missouri mt=montana ne=nebraska nv=nevada nh=new_hampshire nj=new_jersey nm=new_mexico
ny=new_york nc=north_carolina nd=north_dakota oh=ohio ok=oklahoma or=oregon pa=pennsylvania
ri=rhode_island sc=south_carolina sd=south_dakota tn=tennessee tx=texas ut=utah vt=vermont
va=virginia wa=washington wv=west_virginia wi=wisconsin wy=wyoming dc=district_of_columbia
calif=california mass=massachusetts fla=florida penn=pennsylvania
ab=alberta bc=british_columbia mb=manitoba nb=new_brunswick nl=newfoundland ns=nova_scotia
on=ontario qc=quebec sk=saskatchewan qld=queensland nsw=new_south_wales vic=victoria tas=tasmania
"""
PLACES = dict(pair.split("=") for pair in _PLACES.split())
"""Postal forms, which stand in capitals, and the names they are short for (_ for a space)."""

_SHORT = """
uk=united_kingdom us=united_states usa=united_states eu=european_union uae=united_arab_emirates
nyc=new_york_city la=los_angeles sf=san_francisco dc=washington nz=new_zealand
hk=hong_kong
st=saint st=street ste=sainte ave=avenue av=avenue rd=road blvd=boulevard ln=lane dr=drive dr=doctor
ct=court pl=place hwy=highway pkwy=parkway sq=square mt=mount mtn=mountain ft=fort
n=north s=south e=east w=west ne=northeast nw=northwest se=southeast sw=southwest
univ=university dept=department govt=government intl=international natl=national assoc=association
co=company corp=corporation inc=incorporated ltd=limited bros=brothers mfg=manufacturing
vol=volume no=number ed=edition pt=part ch=chapter ep=episode approx=approximately
prof=professor gen=general col=colonel capt=captain lt=lieutenant sgt=sergeant gov=governor
sen=senator rep=representative pres=president rev=reverend hon=honourable jr=junior sr=senior
vs=versus v=versus w=with bday=birthday pic=picture bw=black_and_white
b/w=black_and_white btw=between pkg=package qty=quantity asst=assistant mgr=manager dir=director
ok=okay patty=patrick
vette=corvette
chevy=chevrolet vw=volkswagen bmw=bayerische merc=mercedes philly=philadelphia vegas=las_vegas
fb=facebook ig=instagram ps=playstation xbox=xbox wwi=world_war_1 wwii=world_war_2 ww2=world_war_2
ww1=world_war_1 xl=extra_large xs=extra_small ss=spring_summer fw=fall_winter aw=autumn_winter
"""
SHORT = tuple((pair.split("=")[0], pair.split("=")[1]) for pair in _SHORT.split())
"""Usual abbreviations and what they stand for; one may stand for several."""

_PEOPLES = """
america american usa us
britain british uk england english briton anglais englisch ingles inglese
france french francia frankreich francais frances
germany german deutsch deutschland allemagne alemania
spain spanish spaniard espana espagne spanien
italy italian italia italie italien
netherlands dutch holland nederland niederlande
greece greek hellenic grece
switzerland swiss suisse schweiz svizzera
denmark danish dane danmark
sweden swedish swede
norway norwegian
finland finnish finn
poland polish polen pologne
belgium belgian belgique belgie belgien
austria austrian osterreich autriche
hungary hungarian ungarn
morocco moroccan maroc
mexico mexican mexique mexiko
portugal portuguese
turkey turkish turkiye turquie turkei
wales welsh
ireland irish
scotland scottish scots scotch
iceland icelandic
china chinese
japan japanese japon nippon
korea korean
thailand thai
philippines filipino philippine
vietnam vietnamese
india indian
iran iranian persia persian
iraq iraqi
israel israeli
nepal nepalese nepali
cyprus cypriot
peru peruvian
cuba cuban
czech czechia
russia russian russie russland
brazil brazilian brasil bresil
chile chilean chili
egypt egyptian egypte
argentina argentine argentinian
malta maltese
europe european europa
asia asian
africa african
buddha buddhist buddhism
christ christian christianity
islam islamic muslim
jew jewish judaism
naples neapolitan
venice venetian venezia venise
vienna viennese wien
paris parisian
christmas xmas noel navidad natale natal weihnacht weihnachten kerst kerstmis
easter paques pascua pasqua ostern pasen
london londres londra
rome roma roman
munich munchen
cologne koln
prague praha
warsaw warszawa
lisbon lisboa
moscow moskva
florence firenze florentine
"""
PEOPLES = {
    name: group for group, names in enumerate(_PEOPLES.split("\n")) for name in names.split()
}
"""Group of countries, peoples, faiths, cities and feasts whose names go together."""

_UNDECOMPOSED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})  # noqa: RUF001
"""Letters with a mark that Unicode does not take apart."""
_DERIVED = re.compile(r"(?:ian|ean|ese|ish|ist|ism|an|ic|ia|io|[aeioyn])$")
ADJECTIVE = re.compile(r"(?:an|ese|ish|ist|ism|ic)$")
"""Endings of adjectives made of names."""
_ROMAN = re.compile(r"(?=[IVX]{2,6}$|[VX]$)X{0,3}(?:IX|IV|V?I{0,3})$")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
LONGEST = 64
"""Characters of a word or number that are looked at; nothing a caption names is longer."""


@lru_cache(maxsize=65_536)
def folded(word: str) -> str:
    """A word without case, diacritics and possessive: what two spellings are compared by."""
    plain = unicodedata.normalize("NFD", normalise(word[:LONGEST]))
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn").replace("’", "'")  # noqa: RUF001
    plain = plain.translate(_UNDECOMPOSED)
    return plain.removesuffix("'s").replace("'", "")


def stem(word: str) -> str:
    """A folded word without its plural."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def root(word: str) -> str | None:
    """What a name shares with adjectives made of it (Mauritius, Mauritian); None if too short."""
    short = _DERIVED.sub("", word)
    if len(word) > 6:
        short = _DERIVED.sub("", short.removesuffix("us"))
    return short if len(short) >= 4 else None


def roman(word: str) -> int | None:
    """The value of a Roman numeral of two letters or more, or V or X."""
    if not _ROMAN.match(word):
        return None
    values = [_ROMAN_VALUES[letter] for letter in word]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def canonical(number: Decimal | int) -> str:
    """One spelling for equal numbers: 9,262.0 is 9262."""
    value = Decimal(number)
    return str(int(value)) if value == value.to_integral_value() else str(value.normalize())


@lru_cache(maxsize=8_192)
def unit_of(word: str) -> str | None:
    """The canonical unit that a folded word names."""
    return (
        UNITS.get(word)
        or UNITS.get(stem(word))
        or (UNITS.get(word[:-1]) if len(word) == 3 and word[-1] == "s" else None)
    )


def word_numbers(words: Sequence[str]) -> Iterable[str]:
    """Canonical numbers that lower-case words spell, each run of them as a whole."""
    total = current = 0
    inside = False
    for before, word in itertools.pairwise(("", *words, "")):
        value = NUMBER_WORDS.get(word, ORDINAL_WORDS.get(word))
        times = MAGNITUDES.get(word) if len(word) > 2 else None
        if value is not None:
            joined = current % 100 >= 20 and current % 10 == 0 and value < 10
            if inside and not joined and current % 100:
                yield canonical(total + current)
                total = current = 0
            current, inside = current + value, True
        elif times is not None and (inside or times <= 100 or before == "a"):
            current = max(current, 1) * times
            if times > 100:
                total, current = total + current, 0
            inside = True
        elif inside and word != "and":
            yield canonical(total + current)
            total, current, inside = 0, 0, False


def is_handle(text: str, match: re.Match[str]) -> bool:
    """Whether a word is of an address, a tag, a slug or a code: such are names written as one."""
    before, after = (
        text[max(0, match.start() - 2) : match.start()],
        text[match.end() : match.end() + 2],
    )
    signs = "#@/-" if match[0].islower() else "#@/"
    return (
        (before[-1:] or " ") in signs
        or (before[-1:] == "." and before[:1].isalnum())
        or ((after[:1] or " ") in f".{signs}" and after[1:].isalnum())
        or any(map(str.isdigit, match[0]))
    )
