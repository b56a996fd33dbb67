"""What pixels say, from one reduced decode: flatness, sharpness, borders, perceptual hashes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from curation.core.operator import IMAGE, BatchFn, Operator, append
from curation.io.image_decode import reduced_luma
from curation.io.image_header import ImageError, read_header
from curation.operators.image.perceptual_hash import dhashes, phashes
from curation.operators.image.thumbnail import SIDE, thumbnail

_BORDER_TOLERANCE = 8
"""Grey levels a row or column may span and still count as border; JPEG noise stays under it."""


@dataclass(frozen=True, kw_only=True)
class ImagePixels(Operator):
    """Luma statistics and hashes of the first frame, decoded to a short side of 256 to 511 pixels.

    `luma_mean` and `luma_deviation` are in grey levels (0-255), `luma_entropy` in bits (0-8);
    `blur` is the variance of the 3x3 Laplacian (Pech-Pacheco et al. 2000), low for blurred images;
    `border_share` the share of the area in uniform rows and columns at the edges (0-1); `phash`
    is null where the hash is degenerate (solid colour): such images resemble nothing.
    """

    name = "image_pixels"
    libraries = ("pillow", "numpy")

    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([IMAGE])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema(
            [
                ("luma_mean", pa.float32()),
                ("luma_deviation", pa.float32()),
                ("luma_entropy", pa.float32()),
                ("blur", pa.float32()),
                ("border_share", pa.float32()),
                ("phash", pa.int64()),
                ("dhash", pa.int64()),
            ]
        )

    def open(self) -> BatchFn:
        if Image.MAX_IMAGE_PIXELS is None or self.max_pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = self.max_pixels
        return self._measure

    def _measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        size = batch.num_rows
        columns: dict[str, Any] = {name: [None] * size for name in [*self.provides.names, "error"]}
        small_n32 = np.zeros((size, SIDE, SIDE), np.uint8)
        small_n89 = np.zeros((size, 8, 9), np.uint8)
        valid = np.zeros(size, bool)
        for row, image in enumerate(batch["image"]):
            data = image.as_buffer()
            if data is None:
                continue
            encoded = data.to_pybytes()
            try:
                luma = reduced_luma(encoded, read_header(encoded), self.max_pixels)
            except ImageError as fault:
                columns["error"][row] = fault.code
                continue
            array = pixels(luma)
            small = thumbnail(array)
            for name, value in _statistics(luma, array).items():
                columns[name][row] = value
            small_n32[row] = small
            tiny = Image.fromarray(small).resize((9, 8), Image.Resampling.LANCZOS)
            small_n89[row] = np.asarray(tiny)
            valid[row] = True
        phash, degenerate = phashes(small_n32)
        columns["phash"] = pa.array(phash, mask=~valid | degenerate)
        columns["dhash"] = pa.array(dhashes(small_n89), mask=~valid)
        return append(batch, self.provides, columns)


def pixels(luma: Image.Image) -> npt.NDArray[np.uint8]:
    """(height, width) array of a mode "L" image, without a copy where Pillow can lend its own."""
    try:
        flat = pa.array(luma).to_numpy()
    except (ValueError, MemoryError):  # an image in several memory blocks
        flat = np.frombuffer(luma.tobytes(), np.uint8)
    array: npt.NDArray[np.uint8] = flat.reshape(luma.height, luma.width)
    return array


_LEVELS = np.arange(256, dtype=np.int64)


def _statistics(luma: Image.Image, array: npt.NDArray[np.uint8]) -> dict[str, float]:
    histogram = luma.histogram()
    counts = np.array(histogram, np.int64)
    size = array.size
    total = int((counts * _LEVELS).sum())
    square = int((counts * _LEVELS * _LEVELS).sum())
    entropy = math.log2(size) - math.fsum(n * math.log2(n) for n in histogram if n) / size
    return {
        "luma_mean": total / size,
        "luma_deviation": math.sqrt(max(0, square * size - total * total)) / size,
        "luma_entropy": max(0.0, entropy),
        "blur": laplacian_variance(array),
        "border_share": border_share(array),
    }


def laplacian_variance(luma_HW: npt.NDArray[np.uint8]) -> float:  # noqa: N803
    """Variance of the 4-neighbour Laplacian over the inner pixels; 0 for under 3 pixels a side."""
    if min(luma_HW.shape) < 3:
        return 0.0
    a = luma_HW.astype(np.int16)
    laplacian = 4 * a[1:-1, 1:-1]
    laplacian -= a[:-2, 1:-1]
    laplacian -= a[2:, 1:-1]
    laplacian -= a[1:-1, :-2]
    laplacian -= a[1:-1, 2:]
    count = laplacian.size
    total = int(laplacian.sum(dtype=np.int64))
    square = int(np.einsum("ij,ij->", laplacian, laplacian, dtype=np.int64))
    return (square * count - total * total) / (count * count)


def border_share(luma_HW: npt.NDArray[np.uint8]) -> float:  # noqa: N803
    """Share of the area outside the box that remains when uniform edge lines are cut away."""
    inner = 1.0
    for axis in (1, 0):
        spread = luma_HW.max(axis=axis) - luma_HW.min(axis=axis)
        busy = np.flatnonzero(spread > _BORDER_TOLERANCE)
        if not busy.size:
            return 1.0
        inner *= (int(busy[-1]) - int(busy[0]) + 1) / spread.size
    return 1.0 - inner
