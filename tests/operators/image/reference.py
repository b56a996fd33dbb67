"""Perceptual hashes as imagededup computes them, from a full decode and in floating point.

imagededup 0.3 `PHash`: the image as RGB, `resize((32, 32), LANCZOS)`, `convert("L")`,
`dct(dct(a, axis=0), axis=1)[:8, :8] >= median of the 63 without DC`, first bit highest.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dct

Bits = npt.NDArray[np.bool_]


def _coefficients(luma_n32: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    levels = luma_n32.astype(np.float64)
    return dct(dct(levels, axis=1), axis=2)[:, :8, :8].reshape(len(levels), 64)


def dct_bits(luma_n32: npt.NDArray[np.uint8]) -> Bits:
    """(n, 64) bits of (n, 32, 32) luma."""
    flat = _coefficients(luma_n32)
    return flat >= np.median(flat[:, 1:], axis=1, keepdims=True)


def median_gap(luma_n32: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(n, 64) distance of each coefficient from the median."""
    flat = _coefficients(luma_n32)
    return np.abs(flat - np.median(flat[:, 1:], axis=1, keepdims=True))


def full_decode_bits(data: bytes) -> Bits:
    """(64,) bits of an image file."""
    with Image.open(io.BytesIO(data)) as image:
        colour = image if image.mode == "RGB" else image.convert("RGBA").convert("RGB")
        small = colour.resize((32, 32), Image.Resampling.LANCZOS).convert("L")
    return dct_bits(np.asarray(small)[None])[0]


def as_bits(hashes: npt.NDArray[np.int64]) -> Bits:
    """(n, 64) bits of signed 64-bit hashes, the highest first."""
    return np.unpackbits(hashes.astype(">i8").view(np.uint8).reshape(-1, 8), axis=1).astype(bool)
