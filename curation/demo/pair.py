"""Pair number n of the demo corpus: a pure function of the seed and n."""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from curation.core.draw import uniforms
from curation.demo.canvas import Rng, grained
from curation.demo.caption import caption
from curation.demo.compose import compose
from curation.demo.defects import Defect, caption_with, drawn, file_with, picture_with
from curation.demo.paint import paint
from curation.demo.scene import Scene

FOLDER_FILES = 1_000
"""Images in one folder."""

_SCENE, _CAPTION, _FILE, _DEFECT, _ORIGIN, _TWIN, _OTHER = range(7)
"""Purposes that draws are kept apart by."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_FORMAT_SHARES = (0.8, 0.08, 0.08, 0.04)
_ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}

_HOSTS = tuple(
    f"{first}{second}.example"
    for second in ("", "-prints", "-pics", "-shop", "-blog")
    for first in ("papermoon", "kestrel", "inkwell", "linden", "harbour", "atlas", "doodle", "nook")
)
_RANKS = 1 / np.arange(1, len(_HOSTS) + 1)
_HOST_SHARES = _RANKS / _RANKS.sum()
_LICENSES = ("CC BY 4.0", "CC BY-SA 4.0", "CC0 1.0", "all rights reserved", None)
_LICENSE_SHARES = (0.28, 0.12, 0.14, 0.16, 0.3)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A pair as the source has it, and the truth about it."""

    n: int
    row: dict[str, Any]
    """Its line of `pairs.jsonl`."""
    data: bytes | None
    """Its image file; null where that is missing."""
    truth: dict[str, Any]
    """Its row of the truth table."""


def _rng(seed: int, n: int, purpose: int) -> Rng:
    return np.random.default_rng([seed, n, purpose])


def _planned(seed: int, n: int) -> Defect | None:
    return drawn(float(uniforms(seed, "demo defect", [n])[0]))


def plan_of(seed: int, n: int) -> tuple[Defect | None, int]:
    """The defect of pair n, and the pair whose picture it shows: n, or of a twin an earlier one."""
    defect = _planned(seed, n)
    if defect is None or not defect.twin:
        return defect, n
    rng = _rng(seed, n, _ORIGIN)
    for _ in range(64):
        origin = int(rng.uniform() * n)
        if origin < n and _planned(seed, origin) is None:
            return defect, origin
    return None, n  # nothing clean came before: an original itself


def scene_of(seed: int, n: int) -> Scene:
    """The scene of an original."""
    return compose(_rng(seed, n, _SCENE))


def make_pair(seed: int, n: int) -> Pair:
    """Pair n of the corpus of that seed."""
    defect, origin = plan_of(seed, n)
    name = defect.name if defect is not None else ""
    scene = scene_of(seed, origin)
    captioned = n if _told_anew(seed, n, name) else origin
    true = caption(scene, _rng(seed, captioned, _CAPTION))
    rng = _rng(seed, n, _DEFECT)
    told, detail = caption_with(name, scene, true, rng)
    if name == "mismatched_caption":
        told = _other_caption(seed, n, scene)
    data, kind = _file(seed, origin, name if origin == n else "", scene)
    if origin != n and name.startswith("near_duplicate"):
        data, kind = _copy(seed, n, name, data)
    data, variant = file_with(name, data, rng)
    ending = "jpg" if name == "html_as_jpg" else _ENDINGS[kind]
    other = _rng(seed, n, _OTHER)
    path = f"images/{n // FOLDER_FILES:03d}/{n:06d}.{ending}"
    row = {
        "image": path,
        "caption": told,
        "url": _url(other, n, true, ending),
        "license": _LICENSES[other.choice(len(_LICENSES), p=_LICENSE_SHARES)],
    }
    truth = {
        "row": n,
        "image": path,
        "defect": name or None,
        "detail": detail or variant or None,
        "original": origin if origin != n else None,
        "true_caption": true,
        "things": [group.thing for group in scene.groups],
    }
    missing = name == "missing_file"
    return Pair(n=n, row=row, data=None if missing else data, truth=truth)


def _told_anew(seed: int, n: int, defect: str) -> bool:
    """Whether a twin has a caption of its own, as half of the near duplicates have."""
    if defect.startswith("near_duplicate"):
        return bool(uniforms(seed, "demo twin caption", [n])[0] < 0.5)
    return defect == "recaptioned_duplicate"


def _other_caption(seed: int, n: int, scene: Scene) -> str:
    """The caption of a scene that shares no thing with `scene`."""
    shown = {group.thing for group in scene.groups}
    rng = _rng(seed, n, _TWIN)
    while True:
        other = compose(rng)
        if shown.isdisjoint(group.thing for group in other.groups):
            return caption(other, rng)


def _file(seed: int, n: int, defect: str, scene: Scene) -> tuple[bytes, str]:
    """The encoded picture of an original, and its format."""
    rng = _rng(seed, n, _FILE)
    kind = str(rng.choice(_FORMATS, p=_FORMAT_SHARES))
    image = paint(scene)
    if kind in ("JPEG", "WEBP"):
        image = grained(image, rng.uniform(0, 5), rng)
    return _encoded(picture_with(defect, image, rng), kind, rng), kind


def _copy(seed: int, n: int, defect: str, data: bytes) -> tuple[bytes, str]:
    """A near duplicate of an encoded picture: changed, then encoded anew."""
    rng = _rng(seed, n, _TWIN)
    with Image.open(io.BytesIO(data)) as opened:
        image = picture_with(defect, opened.convert("RGB"), rng)
    kind = str(rng.choice(["JPEG", "PNG", "WEBP"], p=[0.8, 0.05, 0.15]))
    return _encoded(image, kind, rng), kind


def _encoded(image: Image.Image, kind: str, rng: Rng) -> bytes:
    sink = io.BytesIO()
    quality = int(rng.integers(50, 96))
    match kind:
        case "JPEG":
            image.save(sink, kind, quality=quality, progressive=bool(rng.uniform() < 0.2))
        case "WEBP":
            image.save(sink, kind, quality=quality, method=1)
        case "PNG":
            image.save(sink, kind, compress_level=3)
        case _:
            image.quantize(128, Image.Quantize.FASTOCTREE).save(sink, kind)
    return sink.getvalue()


def _url(rng: Rng, n: int, true: str, ending: str) -> str:
    host = _HOSTS[rng.choice(len(_HOSTS), p=_HOST_SHARES)]
    slug = re.sub(r"[^a-z0-9]+", "-", true.lower()).strip("-")[:50].strip("-")
    return f"https://{host}/img/{slug}-{n}.{ending}"
