"""`image_pixels` against the same measures computed on a full RGB decode, one core each."""

import io
import math

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from benchmarks.figure import REALDATA, Figure, best
from curation.operators.image.perceptual_hash import dhashes, phashes
from curation.operators.image.pixels import ImagePixels, border_share, laplacian_variance


def full_decode(data: bytes) -> dict[str, float]:
    """Every measure of `image_pixels`, from all pixels."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = ImageOps.exif_transpose(image).convert("RGB")
    luma = rgb.convert("L")
    histogram = luma.histogram()
    count = sum(histogram)
    mean = sum(level * n for level, n in enumerate(histogram)) / count
    square = sum(level * level * n for level, n in enumerate(histogram)) / count
    array = np.asarray(luma)
    small = rgb.resize((32, 32), Image.Resampling.LANCZOS).convert("L")
    tiny = rgb.resize((9, 8), Image.Resampling.LANCZOS).convert("L")
    hashes, _ = phashes(np.asarray(small)[None])
    return {
        "mean": mean,
        "deviation": math.sqrt(max(0.0, square - mean * mean)),
        "entropy": -sum(n / count * math.log2(n / count) for n in histogram if n),
        "blur": laplacian_variance(array),
        "border": border_share(array),
        "phash": int(hashes[0]),
        "dhash": int(dhashes(np.asarray(tiny)[None])[0]),
    }


def figures() -> list[Figure]:
    """Images a second on the real photographs."""
    files = sorted((REALDATA / "pairs" / "images").glob("*.jpg"))
    data = [file.read_bytes() for file in files]
    batch = pa.RecordBatch.from_arrays([pa.array(data, pa.large_binary())], ["image"])
    opened = ImagePixels().open()
    rate = len(data) / best(lambda: opened(batch))
    peer = len(data) / best(lambda: [full_decode(item) for item in data])
    return [
        Figure(
            "image_pixels against a full RGB decode",
            f"{rate / peer:.2f}x ({rate:,.0f} against {peer:,.0f} images/s)",
            "2.5x",
            rate >= 2.5 * peer,
        )
    ]
