"""A 32x32 LANCZOS thumbnail of a luma image by exact integer matrix products.

The filter is Pillow's (a = 3, support scaled by the reduction, centres at half pixels, weights
normalised), its weights rounded to 15 bits. Every product and sum is then an integer below 2**24,
so that float32 products, the fastest that a processor has, are exact: the same bytes come out
whatever the order of summation. Within a grey level of Pillow's own resize on photographs, within
two on noise.
"""

import functools

import numpy as np
import numpy.typing as npt

SIDE = 32
_BITS = 15
_ROUND = np.float32(1 << (_BITS - 1))
_SCALE = np.float32(1.0 / (1 << _BITS))


@functools.lru_cache(maxsize=512)
def _weights(size: int) -> npt.NDArray[np.float32]:
    """(SIDE, size) integer weights of each input pixel in each output pixel."""
    scale = size / SIDE
    stretch = max(scale, 1.0)
    centres = (np.arange(SIDE) + 0.5) * scale
    x = (np.arange(size) + 0.5 - centres[:, None]) / stretch
    kernel = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    kernel /= kernel.sum(axis=1, keepdims=True)
    # Rounding the running sum, not each weight, keeps a grey the same grey.
    running = np.rint(np.cumsum(kernel, axis=1) * (1 << _BITS))
    weights: npt.NDArray[np.float32] = np.diff(running, axis=1, prepend=0.0).astype(np.float32)
    return weights


def thumbnail(luma_HW: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:  # noqa: N803
    """(32, 32) luma, rounded to whole grey levels after each of the two passes."""
    height, width = luma_HW.shape
    luma = luma_HW.astype(np.float32)
    if height - SIDE > max(0, 2 * (width - SIDE)):  # where Pillow 13 reduces the height first
        down = _levels(_weights(height) @ luma)
        return _levels(down @ _weights(width).T).astype(np.uint8)
    across = _levels(luma @ _weights(width).T)
    return _levels(_weights(height) @ across).astype(np.uint8)


def _levels(sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    levels: npt.NDArray[np.float32] = np.clip(np.floor((sums + _ROUND) * _SCALE), 0, 255)
    return levels
