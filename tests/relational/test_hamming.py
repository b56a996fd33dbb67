"""Block-permutation tables: no pair within the distance escapes them."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.relational.hamming import (
    MANY_HASHES,
    MAX_DISTANCE,
    block_masks,
    near_matches,
    near_pairs,
)
from tests.relational.sessions import OPENED, SESSIONS

HASHES = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture(params=OPENED)
def session(request):
    rows = pa.table({"shard": pa.array([], pa.int32())})
    with SESSIONS[request.param](rows) as session:
        yield session


def flipped(value, bits):
    unsigned = value & (2**64 - 1)
    for bit in bits:
        unsigned ^= 1 << bit
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


def apart(a, b):
    return ((a ^ b) & (2**64 - 1)).bit_count()


@pytest.mark.parametrize("hashes", [1, MANY_HASHES + 1])
@pytest.mark.parametrize("distance", range(MAX_DISTANCE + 1))
@given(HASHES, st.sets(st.integers(0, 63), max_size=MAX_DISTANCE))
def test_two_hashes_within_the_distance_agree_under_a_mask(distance, hashes, value, bits):
    other = flipped(value, sorted(bits)[:distance])
    assert any(value & mask == other & mask for mask in block_masks(distance, hashes))


@pytest.mark.parametrize(
    ("distance", "hashes", "tables"),
    [
        (0, 10, 1),
        (1, 10, 3),
        (3, 10, 10),
        (3, MANY_HASHES, 10),
        (3, MANY_HASHES + 1, 20),
        (5, 10, 21),
        (12, 10, 91),
        (12, MANY_HASHES + 1, 455),
    ],
)
def test_number_of_tables(distance, hashes, tables):
    masks = block_masks(distance, hashes)
    assert len(masks) == len(set(masks)) == tables
    assert all(-(1 << 63) <= mask < 1 << 63 for mask in masks)


@pytest.mark.parametrize("distance", [1, 3, 7, 12])
def test_blocks_are_of_even_length_and_each_bit_is_in_one(distance):
    masks = [mask & (2**64 - 1) for mask in block_masks(distance, 1)]
    blocks = distance + 2
    shared = {a & b for a, b in itertools.combinations(masks, 2)} - {0}
    single = {m for m in shared if not any(m != n and m & n == n for n in shared)}
    assert len(single) == blocks
    assert sum(single) == 2**64 - 1
    assert {m.bit_count() for m in single} <= {64 // blocks, 64 // blocks + 1}


@pytest.mark.parametrize("distance", [-1, 13])
def test_a_distance_out_of_range_is_refused(distance):
    with pytest.raises(ValueError, match="distance must be 0 to 12"):
        block_masks(distance, 1)


def neighbourhoods(seed, count, planted):
    """`count` random hashes, and `planted` neighbours of some at 0 to 6 bits."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << 63), (1 << 63) - 1, count).tolist()
    near = [
        flipped(
            values[rng.integers(count)], rng.choice(64, rng.integers(7), replace=False).tolist()
        )
        for _ in range(planted)
    ]
    return sorted({*values, *near})


@pytest.mark.parametrize("distance", [0, 1, 3, 5])
def test_near_pairs_are_all_pairs_within_the_distance_once(session, distance):
    hashes = neighbourhoods(distance, 700, 300)
    session.load("h", pa.table({"phash": pa.array(hashes, pa.int64())}))
    near_pairs(session, "p", "h", distance)
    found = [
        tuple(row.values())
        for batch in session.stream("SELECT a, b, distance FROM p ORDER BY a, b")
        for row in batch.to_pylist()
    ]
    expected = [
        (a, b, apart(a, b)) for a, b in itertools.combinations(hashes, 2) if apart(a, b) <= distance
    ]
    assert found == expected
    assert (distance == 0) == (expected == [])


def test_near_matches_allow_each_wanted_hash_its_own_distance(session):
    hashes = neighbourhoods(9, 400, 400)
    rng = np.random.default_rng(9)
    wanted = {value: int(rng.integers(6)) for value in hashes[::5]}
    session.load("h", pa.table({"phash": pa.array(hashes, pa.int64())}))
    session.load(
        "w",
        pa.table({"phash": pa.array(list(wanted), pa.int64()),
                  "distance": pa.array(list(wanted.values()), pa.int32())}),
    )  # fmt: skip
    near_matches(session, "n", "h", "w", max(wanted.values()))
    found = {
        tuple(row.values())
        for batch in session.stream("SELECT phash, wanted, distance FROM n")
        for row in batch.to_pylist()
    }
    assert session.scalar("SELECT count(*) FROM n") == len(found)
    assert found == {
        (value, want, apart(value, want))
        for want, allowed in wanted.items()
        for value in hashes
        if apart(value, want) <= allowed
    }
