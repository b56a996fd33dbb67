"""What is wrong with some of the pairs: which defects, how often, and how each is made."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from curation.demo.canvas import Rng
from curation.demo.palette import COLOURS, jittered
from curation.demo.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A kind of fault, planted in a share of the pairs."""

    name: str
    rate: float
    """Share of all pairs, 0-1."""
    reasons: tuple[str, ...]
    """What a ledger would say of it: reasons and error codes."""
    needs: str = ""
    """Stage that catches it, where the recipe has none yet."""
    twin: bool = False
    """A copy of an earlier pair; one member of each such group should stay."""


_SAME_IMAGE = ("same_image_caption", "same_image")
_SHORT = ("no_caption", "short_caption", "few_words")

DEFECTS: dict[str, Defect] = {
    defect.name: defect
    for defect in (
        Defect(name="exact_duplicate", rate=0.02, reasons=_SAME_IMAGE, twin=True),
        Defect(name="recaptioned_duplicate", rate=0.01, reasons=_SAME_IMAGE, twin=True),
        Defect(name="near_duplicate_reencoded", rate=0.015, reasons=("near_image",), twin=True),
        Defect(name="near_duplicate_resized", rate=0.015, reasons=("near_image",), twin=True),
        Defect(name="near_duplicate_cropped", rate=0.01, reasons=("near_image",), twin=True),
        Defect(name="mismatched_caption", rate=0.03, reasons=("clip_score",), needs="clip_select"),
        Defect(name="solid_colour", rate=0.01, reasons=("solid_colour", "flat_image")),
        Defect(name="tiny", rate=0.015, reasons=("min_side",)),
        Defect(name="extreme_aspect", rate=0.01, reasons=("aspect_ratio",)),
        Defect(name="blurred", rate=0.01, reasons=("blur",)),
        Defect(name="truncated_file", rate=0.01, reasons=("truncated_image",)),
        Defect(
            name="corrupt_file",
            rate=0.01,
            reasons=("corrupt_image", "unsupported_format", "empty_file"),
        ),
        Defect(name="html_as_jpg", rate=0.005, reasons=("unsupported_format",)),
        Defect(name="missing_file", rate=0.005, reasons=("missing_file",)),
        Defect(
            name="spam_caption",
            rate=0.02,
            reasons=("repetition", "url", "email", "phone", "symbols", "digits"),
        ),
        Defect(name="placeholder_caption", rate=0.01, reasons=("placeholder", *_SHORT)),
        Defect(name="file_name_caption", rate=0.015, reasons=("file_name", *_SHORT)),
        Defect(name="short_caption", rate=0.015, reasons=_SHORT),
        Defect(name="html_remnants", rate=0.01, reasons=("html",)),
        Defect(name="boilerplate_caption", rate=0.02, reasons=("caption_on_many_images",)),
    )
}
"""Name to defect; the other pairs are clean."""

_NAMES = tuple(DEFECTS)
_EDGES = np.cumsum([defect.rate for defect in DEFECTS.values()])


def drawn(share: float) -> Defect | None:
    """The defect that a number in [0, 1) stands for; null for a clean pair."""
    at = int(np.searchsorted(_EDGES, share, side="right"))
    return DEFECTS[_NAMES[at]] if at < len(_NAMES) else None


Told = tuple[str, str]
"""A caption, and which variant of its defect it is."""


def _spam(scene: Scene, rng: Rng) -> Told:
    thing = scene.groups[0].thing
    price, site = rng.integers(5, 900), f"{rng.choice(_SHOP_WORDS)}-{thing}s.example"
    phone = f"({rng.integers(200, 990)}) 555-{rng.integers(100, 9999):04d}"
    match int(rng.integers(0, 5)):
        case 0:
            words = [f"{w} {thing}" for w in rng.permutation(_SHOP_WORDS)[: rng.integers(5, 10)]]
            return " ".join([*words, *words[: rng.integers(2, 8)]]), "keywords"
        case 1:
            return f"{thing} " * int(rng.integers(6, 20)) + "for sale", "one word"
        case 2:
            page = f"https://www.{site}/deals?item={thing}&id={rng.integers(1, 1 << 20)}"
            return f"Buy {thing} now ${price} {page}", "url"
        case 3:
            return f"Best {thing} in town only ${price}!!! Call {phone} today", "phone"
        case _:
            return f"Cheap {thing} ${price}, order now: sales@{site} *** FREE SHIPPING ***", "email"


_SHOP_WORDS = ("cheap", "buy", "best", "discount", "new", "original", "wholesale", "online",
               "luxury", "used")  # fmt: skip

_PLACEHOLDERS = (
    "image", "Image", "photo", "Picture", "untitled", "no caption", "Image not available",
    "No image available", "placeholder", "thumbnail", "click to enlarge", "default image",
    "image coming soon", "null", "undefined", "alt text", "logo", "icon", "Add a caption",
    "image 3 of 12", "Your alt text here", "...", "-", "[image]", "Featured Image",
)  # fmt: skip


def _placeholder(scene: Scene, rng: Rng) -> Told:
    return str(rng.choice(_PLACEHOLDERS)), ""


def _file_name(scene: Scene, rng: Rng) -> Told:
    thing, colour = scene.groups[0].thing, scene.groups[0].colour
    number, ending = rng.integers(1, 9999), rng.choice(["jpg", "JPG", "jpeg", "png", "webp"])
    name = rng.choice(
        [
            f"IMG_{number:04d}",
            f"DSC0{number:04d}",
            f"{colour}-{thing}-{scene.width}x{scene.height}",
            f"photo_2019-0{number % 9 + 1}-{number % 28 + 1:02d}",
            f"{thing}_{number}_final",
            f"Screenshot 2021-1{number % 3}-{number % 28 + 1:02d} at 10.{number % 60:02d}.11",
        ]
    )
    return f"{name}.{ending}", ""


def _short(scene: Scene, rng: Rng) -> Told:
    thing, colour = scene.groups[0].thing, scene.groups[0].colour
    return str(rng.choice([thing, colour, f"{colour} {thing}", f"a {thing}", "nice!", "1", ""])), ""


def _html(told: str, rng: Rng) -> Told:
    match int(rng.integers(0, 4)):
        case 0:
            return f'<p class="caption">{told}&nbsp;</p>', "paragraph"
        case 1:
            return f'<a href="/item/{rng.integers(1, 9999)}"><b>{told}</b></a><br/>', "link"
        case 2:
            return f"&lt;div&gt;{told}&lt;/div&gt; &amp; more", "entities"
        case _:
            return f'<img src="/i.jpg" alt="{told}"> {told}', "image tag"


_BOILERPLATE = (
    "Copyright 2021 all rights reserved, no use without written permission",
    "Free shipping on all orders over 50 dollars, shop our new arrivals today",
    "Subscribe to our newsletter and never miss a post again",
    "Photo courtesy of the owner, used with kind permission",
)


def caption_with(defect: str, scene: Scene, told: str, rng: Rng) -> Told:
    """The caption under a caption defect; `told` is the true one. Others leave it as it is."""
    makers: dict[str, Callable[[], Told]] = {
        "spam_caption": lambda: _spam(scene, rng),
        "placeholder_caption": lambda: _placeholder(scene, rng),
        "file_name_caption": lambda: _file_name(scene, rng),
        "short_caption": lambda: _short(scene, rng),
        "html_remnants": lambda: _html(told, rng),
        "boilerplate_caption": lambda: (str(rng.choice(_BOILERPLATE)), ""),
    }
    return makers[defect]() if defect in makers else (told, "")


def _solid(image: Image.Image, rng: Rng) -> Image.Image:
    return Image.new("RGB", image.size, jittered(rng, str(rng.choice(list(COLOURS)))))


def _tiny(image: Image.Image, rng: Rng) -> Image.Image:
    share = rng.uniform(16, 150) / min(image.size)
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


def _extreme(image: Image.Image, rng: Rng) -> Image.Image:
    """A strip from the middle, as banners are cut; half of them stand upright."""
    aspect, short = rng.uniform(3.3, 6), int(rng.integers(180, 280))
    long = round(short * aspect)
    if rng.uniform() < 0.5:
        scaled = image.resize((long, max(short, round(long * image.height / image.width))))
        top = (scaled.height - short) // 2
        return scaled.crop((0, top, long, top + short))
    scaled = image.resize((max(short, round(long * image.width / image.height)), long))
    left = (scaled.width - short) // 2
    return scaled.crop((left, 0, left + short, long))


def _blurred(image: Image.Image, rng: Rng) -> Image.Image:
    radius = min(image.size) * rng.uniform(0.025, 0.06)
    return image.filter(ImageFilter.GaussianBlur(radius))


def _resized(image: Image.Image, rng: Rng) -> Image.Image:
    share = rng.uniform(0.6, 0.95) if rng.uniform() < 0.7 else rng.uniform(1.1, 1.6)
    size = (round(image.width * share), round(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, rng: Rng) -> Image.Image:
    """Up to 3% off each edge."""
    left, top, right, bottom = rng.uniform(0, 0.03, 4).tolist()
    w, h = image.size
    return image.crop(
        (round(left * w), round(top * h), round(w - right * w), round(h - bottom * h))
    )


_PICTURES: dict[str, Callable[[Image.Image, Rng], Image.Image]] = {
    "solid_colour": _solid,
    "tiny": _tiny,
    "extreme_aspect": _extreme,
    "blurred": _blurred,
    "near_duplicate_resized": _resized,
    "near_duplicate_cropped": _cropped,
}


def picture_with(defect: str, image: Image.Image, rng: Rng) -> Image.Image:
    """The picture under a picture defect; others leave it as it is."""
    maker = _PICTURES.get(defect)
    return maker(image, rng) if maker is not None else image


def _truncated(data: bytes, rng: Rng) -> tuple[bytes, str]:
    return data[: int(len(data) * rng.uniform(0.15, 0.85))], ""


def _corrupt(data: bytes, rng: Rng) -> tuple[bytes, str]:
    match int(rng.integers(0, 3)):
        case 0:
            return rng.bytes(256) + data[256:], "header overwritten"
        case 1:
            return b"", "empty"
        case _:
            start = int(len(data) * rng.uniform(0.2, 0.6))
            size = len(data) // 5
            return data[:start] + bytes(size) + data[start + size :], "zeros inside"


def _html_page(data: bytes, rng: Rng) -> tuple[bytes, str]:
    code, text = ((404, "Not Found"), (403, "Forbidden"))[int(rng.integers(0, 2))]
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{code} {text}</title></head>\n<body><h1>{text}</h1>"
    )
    return f"{page}<p>Request {rng.integers(1 << 40)}</p></body></html>\n".encode(), str(code)


_FILES: dict[str, Callable[[bytes, Rng], tuple[bytes, str]]] = {
    "truncated_file": _truncated,
    "corrupt_file": _corrupt,
    "html_as_jpg": _html_page,
}


def file_with(defect: str, data: bytes, rng: Rng) -> tuple[bytes, str]:
    """The file under a defect of its bytes, and the variant; others leave it as it is."""
    maker = _FILES.get(defect)
    return maker(data, rng) if maker is not None else (data, "")
