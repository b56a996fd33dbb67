"""The colours that captions name, and the inks that drawings are painted with."""

import numpy as np

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "red": (208, 40, 42),
    "orange": (240, 132, 30),
    "yellow": (246, 208, 48),
    "green": (58, 150, 66),
    "blue": (44, 92, 200),
    "purple": (122, 62, 160),
    "pink": (242, 138, 178),
    "brown": (124, 80, 46),
    "black": (44, 44, 50),
    "white": (244, 244, 240),
    "gray": (140, 142, 146),
    "turquoise": (48, 184, 186),
}
"""Name to sRGB in the middle of what the name is used for; objects vary a little around it."""

INKS: dict[str, Rgb] = {
    "k": (32, 32, 38),
    "w": (250, 250, 248),
    "g": (120, 122, 128),
    "s": (192, 198, 206),
    "n": (126, 82, 48),
    "t": (232, 198, 156),
    "y": (250, 206, 58),
    "o": (240, 140, 44),
    "r": (206, 44, 46),
    "e": (70, 146, 62),
    "b": (58, 110, 196),
    "c": (176, 220, 240),
    "p": (246, 164, 186),
}
"""Fixed inks by letter. `m`, `d` and `l` come from the object's own colour."""

_JITTER = 14


def jittered(rng: np.random.Generator, colour: str) -> Rgb:
    """An sRGB value that still goes by the name `colour`."""
    noise = rng.integers(-_JITTER, _JITTER + 1, 3)
    return _clipped(np.array(COLOURS[colour]) + noise)


def inks(main: Rgb) -> dict[str, Rgb]:
    """Every letter's colour for an object whose own colour is `main`."""
    value = np.array(main, float)
    luma = float(value @ [0.299, 0.587, 0.114])
    dark = value * 0.66 if luma > 70 else value * 0.6 + 52
    light = value * 0.5 + 127 if luma < 225 else value * 0.84
    return {**INKS, "m": main, "d": _clipped(dark), "l": _clipped(light)}


def edge(ink: Rgb) -> Rgb:
    """The outline of an area of that colour: much darker, for near-black areas lighter."""
    value = np.array(ink, float)
    luma = float(value @ [0.299, 0.587, 0.114])
    return _clipped(value * 0.45 if luma > 60 else value + 40)


def luma(rgb: Rgb) -> float:
    """Brightness, 0-255 (ITU-R BT.601)."""
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def _clipped(value: object) -> Rgb:
    r, g, b = np.clip(np.rint(np.asarray(value, float)), 0, 255).astype(int).tolist()
    return r, g, b
