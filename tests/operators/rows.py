"""Rows that operators measure: encoded images, captions, and the real ones where they are."""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image

from curation.core.operator import IMAGE

REAL = Path(__file__).parents[3] / "shared" / "realdata"


def images(*encoded: bytes | None) -> pa.Table:
    return pa.table({"image": pa.array(encoded, IMAGE.type)}, schema=pa.schema([IMAGE]))


def captions(*texts: str | None) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.string())})


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file of that format."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def grey(luma_HW: npt.NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:  # noqa: N803
    """A grey image file of those levels; lossless as PNG."""
    return encoded(Image.fromarray(luma_HW.astype(np.uint8)), kind, **options)


@cache
def real_images(folder: str = "pairs/images") -> dict[str, bytes]:
    """Real image files by name; skips the test where the real data is absent."""
    if not (REAL / folder).is_dir():
        pytest.skip(f"real data is absent: {REAL / folder}")
    kinds = {".jpg", ".jpeg", ".png", ".gif", ".webp"}
    files = sorted(p for p in (REAL / folder).rglob("*") if p.suffix.lower() in kinds)
    return {path.name: path.read_bytes() for path in files}


@cache
def real_captions() -> tuple[str, ...]:
    """10,000 real alt texts of the web; skips the test where they are absent."""
    path = REAL / "captions" / "capsfusion_10k.json"
    if not path.is_file():
        pytest.skip(f"real data is absent: {path}")
    return tuple(row["laion_2b"] for row in json.loads(path.read_text(encoding="utf-8")))
