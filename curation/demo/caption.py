"""What people write beside a picture: true of the scene, seldom complete, in many styles."""

from curation.demo.canvas import Rng
from curation.demo.nouns import article, counted
from curation.demo.scene import Group, Scene
from curation.demo.things import THINGS

WHERE = {
    "plain": ("on {a0} background", "against a plain {0} background", "in front of {a0} wall"),
    "stripes": ("on a striped {0} and {1} background", "in front of {0} and {1} stripes"),
    "dots": ("on {a0} background with {1} dots", "on a dotted background"),
    "checks": ("on a checkered {0} and {1} background", "on a checkered pattern"),
    "bricks": ("in front of a brick wall", "against a brick wall", "by a red brick wall"),
    "underwater": ("under water", "at the bottom of the sea", "underwater among bubbles"),
    "space": ("in outer space", "among the stars", "floating in space"),
    "table": ("on a wooden table", "on the table", "on a table top"),
    "room": ("in a room with a wooden floor", "in an empty room", "indoors"),
    "meadow": ("in a meadow", "on the grass", "on a green meadow"),
    "forest": ("in the forest", "in front of fir trees", "in the woods"),
    "beach": ("on the beach", "at the seaside", "on a sandy beach"),
    "snow": ("in the snow", "in a snowy landscape", "on a winter day"),
    "desert": ("in the desert", "on desert sand", "among sand dunes"),
    "mountains": ("in front of mountains", "in the mountains", "with mountains behind"),
    "street": ("on a city street", "in front of city buildings", "in the city"),
    "water": ("on the water", "on a lake", "out at sea"),
    "night": ("at night", "under a starry sky", "on a dark night"),
}
"""Of each place: `{0}` and `{1}` are its colours, `{a0}` the first with its article."""

OPENINGS = (
    "Illustration of", "Drawing of", "Clip art of", "Picture of", "Image of", "Cartoon of",
    "Vector drawing of", "Illustration showing", "A drawing of", "Digital art of",
)  # fmt: skip

CLOSINGS = (
    "stock illustration", "clip art", "vector drawing", "free download", "cartoon illustration",
    "greeting card", "wall art print", "for children's books", "colourful sticker",
)  # fmt: skip

SHOPS = (
    "Kestrel Prints", "Papermoon", "Little Atlas", "The Sign Shop", "Inkwell & Co", "Nook Studio",
    "Harbour Cards", "Daily Doodle", "Linden Press", "Blue Door Gallery",
)  # fmt: skip


def caption(scene: Scene, rng: Rng) -> str:
    """A caption of at least three words; the same generator state gives the same one."""
    style = rng.uniform()
    if style < 0.14 and scene.board is None and all(g.count == 1 for g in scene.groups):
        text = _tags(scene, rng)
    else:
        text = _sentence(scene, rng)
        if rng.uniform() < 0.25:
            text = f"{rng.choice(OPENINGS)} {text}"
    end = rng.uniform()
    if end < 0.12:
        text = f"{text} | {rng.choice(SHOPS)}"
    elif end < 0.22:
        text = f"{text}, {rng.choice(CLOSINGS)}"
    elif end < 0.28:
        text = f"{text} - {rng.choice(CLOSINGS)} {rng.integers(10_000, 1_000_000)}"
    elif end < 0.5:
        text = f"{text}."
    if len(text.split()) < 3:
        text = f"{text}, {rng.choice(CLOSINGS)}"
    return text[0].upper() + text[1:] if rng.uniform() < 0.75 else text


def where(scene: Scene, rng: Rng) -> str:
    """Where the scene is: "on the beach"."""
    phrase = str(rng.choice(WHERE[scene.place]))
    first, second, *_ = (*scene.place_colours, "", "")
    return (
        phrase.replace("{0}", first).replace("{1}", second).replace("{a0}", article(first or "-"))
    )


def _named(group: Group, rng: Rng, *, bare: bool = False) -> str:
    """The group, mostly with its colour; without it where the thing has no other."""
    usual = THINGS[group.thing].colours
    telling = 0.15 if usual == (group.colour,) else 0.9
    told = group.size != "" or rng.uniform() < telling
    adjectives = f"{group.size} {group.colour if told else ''}".strip()
    return counted(group.thing, adjectives, group.count, bare=bare)


def _sentence(scene: Scene, rng: Rng) -> str:
    groups = scene.groups
    said = _related(scene, rng)
    if len(groups) > 1 and rng.uniform() < 0.12:
        said = _named(groups[int(rng.integers(0, len(groups)))], rng)
    if scene.board is not None:
        said = _board(scene, said, rng)
    telling = 0.92 if len(groups) == 1 else 0.72
    if scene.relation == "on":
        telling = 0.3  # "on a table on the beach" is seldom said
    if rng.uniform() < telling:
        said = f"{said} {where(scene, rng)}"
    return said


def _board(scene: Scene, said: str, rng: Rng) -> str:
    board = scene.board
    assert board is not None
    thing = article(f"{board.colour} {board.kind}") if rng.uniform() < 0.6 else f"a {board.kind}"
    verb = rng.choice(["that says", "with the words", "reading", "with the text"])
    told = f'{thing} {verb} "{board.words.replace(chr(10), " ")}"'
    choice = rng.uniform()
    if choice < 0.5:
        return f"{said} and {told}"
    return f"{told} and {said}" if choice < 0.75 else told


def _related(scene: Scene, rng: Rng) -> str:
    names = [_named(group, rng) for group in scene.groups]
    if len(names) == 1:
        return names[0]
    first, second = names[0], names[1]
    match scene.relation:
        case "left":
            forms = [f"{first} to the left of {second}", f"{second} to the right of {first}",
                     f"{first} left of {second}", f"{first} next to {second}"]  # fmt: skip
        case "above":
            forms = [f"{first} above {second}", f"{second} below {first}",
                     f"{second} under {first}"]  # fmt: skip
        case "on":
            forms = [f"{first} on {second}", f"{first} on top of {second}",
                     f"{second} with {first} on top"]  # fmt: skip
        case "between":
            forms = [f"{second} between {first} and {names[2]}"]
        case _:
            listed = f"{', '.join(names[:-1])} and {names[-1]}"
            forms = [listed, listed]
            if len(names) == 2:
                forms += [f"{first} next to {second}", f"{second} beside {first}"]
    return str(rng.choice(forms))


def _tags(scene: Scene, rng: Rng) -> str:
    """Key words, as alt texts have them: "red apple, blue cup, on a wooden table"."""
    named = [_named(group, rng, bare=True) for group in scene.groups]
    return ", ".join([*named, where(scene, rng)])
