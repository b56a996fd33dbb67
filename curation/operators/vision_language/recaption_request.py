"""What `recaption` asks about one row: the rendered prompt, and the picture as it is sent."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from curation.io.image_decode import whole_image
from curation.io.image_header import PILLOW_FAULTS, ImageError, read_header
from recaption_prompts import Template, restored

_QUALITY = 90
"""Of the JPEG that is sent."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the model chooses its words."""

    model: str
    temperature: float
    seed: int
    max_tokens: int


def picture(data: bytes, max_pixels: int, max_side: int) -> bytes:
    """The first frame as a JPEG: upright, on white, its longer side at most `max_side` pixels.

    Always decoded and encoded anew: no byte of an untrusted file reaches a server. Raises
    ImageError for a file that cannot be decoded.
    """
    image = whole_image(data, read_header(data), max_pixels)
    try:
        if max(image.size) > max_side:
            image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        sink = io.BytesIO()
        plain = image.convert("RGB")
        plain.info.clear()  # Pillow would copy a comment
        plain.save(sink, "JPEG", quality=_QUALITY)
    except MemoryError as error:
        raise ImageError("out_of_memory") from error
    except PILLOW_FAULTS as error:
        raise ImageError("corrupt_image") from error
    return sink.getvalue()


def payload(
    template: Template,
    values: Mapping[str, str | None],
    max_chars: int,
    jpeg: bytes | None,
    sampling: Sampling,
) -> dict[str, Any]:
    """The request as it is sent, the answer's shape aside."""
    system, user = template.render(values, max_chars)
    parts: list[dict[str, Any]] = [{"type": "text", "text": user}]
    if jpeg is not None:
        address = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        parts.insert(0, {"type": "image_url", "image_url": {"url": address}})
    return {
        "model": sampling.model,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": parts if template.image else user},
        ],
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
    }


def request_name(body: bytes) -> bytes:
    """Requests of one name have one answer."""
    return hashlib.sha256(body).digest()


def tidy(text: str) -> str:
    """A caption as it is kept: one line, what was spelt out for the prompt written as it was."""
    return " ".join(restored(text).split())
