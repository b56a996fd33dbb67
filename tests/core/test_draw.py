"""Draws: repeatable anywhere, uniform, independent between purposes and seeds."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.draw import order_keys, uid_words, uniforms, words

IDS = np.arange(50_000)
PINNED = [12985181340226541930, 7270303714660092865, 15583362631454241264]
"""Words of ids 0, 1, 2 for seed 0 and purpose `pin`: a change renames every sampled corpus."""


def splitmix(state: int) -> int:
    """The mixer in Python's own integers."""
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_the_mixer_is_splitmix64_as_published():
    """First output of the reference implementation for seed 0 (Vigna, splitmix64.c)."""
    assert splitmix(0) == 0xE220A8397B1DCDAF


@given(
    st.integers(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6),
)
def test_words_are_the_mixer_chained_over_the_ids(seed, purpose, ids):
    text = f"{seed}\x00{purpose}".encode()
    start = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    rows = np.arange(len(ids))
    expected = [splitmix(splitmix(start ^ i % 2**64) ^ row) for row, i in enumerate(ids)]
    assert words(seed, purpose, np.array(ids, np.int64), rows).tolist() == expected


def test_draws_are_pinned():
    assert words(0, "pin", [0, 1, 2]).tolist() == PINNED
    assert order_keys(0, "pin", [0, 1, 2]).tolist() == [
        word - 2**64 if word >= 2**63 else word for word in PINNED
    ]
    assert uniforms(0, "pin", [0, 1, 2]).tolist() == [(word >> 11) / 2**53 for word in PINNED]


def test_uniforms_fill_the_unit_interval_evenly():
    drawn = uniforms(7, "even", IDS)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, 50, (0, 1))[0]
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 49 + 5 * np.sqrt(2 * 49)


@pytest.mark.parametrize(
    "other",
    [
        uniforms(7, "another", IDS),
        uniforms(8, "even", IDS),
        uniforms(7, "even", IDS + 1),
        uniforms(7, "even", IDS, np.zeros_like(IDS)),
    ],
    ids=["purpose", "seed", "neighbour", "more ids"],
)
def test_draws_of_another_purpose_seed_or_id_are_independent(other):
    assert abs(np.corrcoef(uniforms(7, "even", IDS), other)[0, 1]) < 5 / np.sqrt(len(IDS))


def test_a_draw_depends_on_its_own_ids_alone():
    whole = uniforms(3, "split", IDS, IDS[::-1])
    parts = [
        uniforms(3, "split", IDS[n : n + 777], IDS[::-1][n : n + 777])
        for n in range(0, 50_000, 777)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_order_keys_shuffle_without_ties():
    keys = order_keys(1, "order", IDS)
    assert keys.dtype == np.int64
    assert len(set(keys.tolist())) == len(IDS)
    places = np.argsort(keys)
    assert abs(np.corrcoef(places, IDS)[0, 1]) < 5 / np.sqrt(len(IDS))


@given(st.lists(st.integers(0, 2**128 - 1), max_size=20), st.integers(0, 5), st.booleans())
def test_a_uid_is_two_words(numbers, start, chunked):
    uids = pa.array([f"{n:032x}" for n in numbers], pa.string())[start:]
    first, second = uid_words(pa.chunked_array([uids[:2], uids[2:]]) if chunked else uids)
    assert first.dtype == second.dtype == np.uint64
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    assert [(a << 64) | b for a, b in pairs] == numbers[start:]


@pytest.mark.parametrize("uids", [["00"], ["0" * 32, None], ["0" * 31, "0" * 33]])
def test_what_is_no_uid_is_refused(uids):
    with pytest.raises(ValueError, match="a uid has 32 characters"):
        uid_words(pa.array(uids, pa.string()))
