"""Randomness that anybody can repeat: every draw is a hash of (seed, purpose, ids).

The mixer is splitmix64 (Steele, Lea and Flood, 2014), chained over the ids; numpy's unsigned
arithmetic wraps, so the same numbers come out on every machine.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

UID_CHARACTERS = 32


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


def uid_words(uids: pa.ChunkedArray | pa.StringArray) -> tuple[Words, Words]:
    """The first and second 64 bits of uids (32 lower-case hex characters each, none null)."""
    if isinstance(uids, pa.ChunkedArray):
        uids = uids.combine_chunks()
    _, offsets, text = uids.buffers()
    if not len(uids) or text is None:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    ends = np.frombuffer(offsets, np.int32)[uids.offset : uids.offset + len(uids) + 1]
    if uids.null_count or (np.diff(ends) != UID_CHARACTERS).any():
        raise ValueError(f"a uid has {UID_CHARACTERS} characters")
    digits = np.frombuffer(text, np.uint8)[ends[0] : ends[-1]]
    nibbles = (digits & 15) + (digits >> 6) * 9  # 0-9 are 0x30 on, a-f 0x61 on
    halves = ((nibbles[0::2] << 4) | nibbles[1::2]).view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def order_keys(seed: int, purpose: str, *ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Signed 64-bit keys that sort rows into a random order; Parquet and Spark hold no unsigned."""
    return words(seed, purpose, *ids).view(np.int64)


def uniforms(seed: int, purpose: str, *ids: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each position, from the upper 53 bits of its hash."""
    return (words(seed, purpose, *ids) >> np.uint64(11)) * np.float64(2.0**-53)
