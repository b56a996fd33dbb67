"""pHash and dHash as imagededup computes them, in exact integer arithmetic.

pHash (Zauner 2010; imagededup `PHash`): LANCZOS to 32x32, luma, 2-D DCT-II, the 8x8 lowest
frequencies, one bit each for "at least the median of the 63 without DC". The DCT's cosines are
rounded to 14 bits; every product and sum is then an integer below 2**53, so that float64 matrix
products are exact and give the same bits on every processor.
"""

import numpy as np
import numpy.typing as npt

from curation.operators.image.thumbnail import SIDE

_LOW = 8
_SCALE = 1 << 14
_COSINES = np.rint(
    _SCALE * np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(SIDE) + 1) / (2 * SIDE))
)
_ONE_LEVEL = 256.0 * _SCALE * _SCALE
"""Size of a coefficient whose cosine wave has an amplitude of one grey level."""

DEGENERATE_LEVELS = 0.05
"""Median amplitude, in grey levels, under which a hash says nothing.

Solid colour, gradients, exact mirror images: half of their coefficients or more are nought, and
the bits there are those of the noise."""

_WEIGHTS = np.uint64(1) << np.arange(63, -1, -1, dtype=np.uint64)


def _pack(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(n, 64) booleans to signed 64-bit integers, the first bit highest."""
    packed: npt.NDArray[np.int64] = (bits * _WEIGHTS).sum(axis=1, dtype=np.uint64).view(np.int64)
    return packed


def phashes(
    luma_n32: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Hashes of (n, 32, 32) luma, and which of them are degenerate."""
    coefficients = _COSINES @ luma_n32.astype(np.float64) @ _COSINES.T
    flat = coefficients.reshape(len(luma_n32), _LOW * _LOW)
    median = np.sort(flat[:, 1:], axis=1)[:, 31:32]
    amplitude = np.sort(np.abs(flat[:, 1:]), axis=1)[:, 31]
    return _pack(flat >= median), amplitude < DEGENERATE_LEVELS * _ONE_LEVEL


def dhashes(luma_n89: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Hashes of (n, 8, 9) luma: one bit for each pixel that is darker than its right neighbour."""
    return _pack((luma_n89[:, :, 1:] > luma_n89[:, :, :-1]).reshape(len(luma_n89), 64))
