"""Randomness that anybody can repeat: every draw is a hash of (seed, purpose, ids).

The mixer is splitmix64 (Steele, Lea and Flood, 2014), chained over the ids; numpy's unsigned
arithmetic wraps, so the same numbers come out on every machine.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def _mix(words: Words) -> Words:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words(seed: int, purpose: str, *ids: npt.ArrayLike) -> Words:
    """A 64-bit hash for each position of the equally long integer arrays `ids`.

    `purpose` keeps draws for different decisions independent of each other.
    """
    start = hashlib.sha256(f"{seed}\x00{purpose}".encode()).digest()[:8]
    state = np.full(np.shape(ids[0]), int.from_bytes(start, "big"), dtype=np.uint64)
    for part in ids:
        state = _mix(state ^ np.asarray(part).astype(np.uint64))
    return state


def order_keys(seed: int, purpose: str, *ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Signed 64-bit keys that sort rows into a random order; Parquet and Spark hold no unsigned."""
    return words(seed, purpose, *ids).view(np.int64)


def uniforms(seed: int, purpose: str, *ids: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each position, from the upper 53 bits of its hash."""
    return (words(seed, purpose, *ids) >> np.uint64(11)) * np.float64(2.0**-53)
