"""pHash and dHash: against imagededup's method in floating point, and in exact integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curation.operators.image.perceptual_hash import dhashes, phashes
from tests.operators.image.reference import as_bits, dct_bits, median_gap

RNG = np.random.default_rng(20)
NOISE = RNG.integers(0, 256, (4000, 32, 32), dtype=np.uint8)
SMOOTH = np.clip(
    128 + np.cumsum(np.cumsum(RNG.normal(0, 1, (4000, 32, 32)), axis=1), axis=2), 0, 255
).astype(np.uint8)


@pytest.mark.parametrize("thumbnails", [NOISE, SMOOTH], ids=["noise", "smooth"])
def test_bits_are_those_of_scipys_dct(thumbnails):
    """Cosines of 14 bits can move a coefficient by half a unit of scipy's scale at the median."""
    ours = as_bits(phashes(thumbnails)[0])
    theirs = dct_bits(thumbnails)
    differ = ours != theirs
    assert (median_gap(thumbnails)[differ] < 0.5).all()
    assert differ.any(axis=1).mean() < 0.002


def test_bits_are_exactly_those_of_integer_arithmetic():
    side, low = range(32), range(8)
    cosine = [[round(16384 * np.cos(np.pi * (2 * x + 1) * u / 64)) for x in side] for u in low]
    for thumbnail in (*NOISE[:5], *SMOOTH[:5]):
        levels = thumbnail.tolist()
        across = [
            [sum(cosine[u][x] * levels[y][x] for x in side) for u in low] for y in side
        ]  # fmt: skip
        flat = [sum(cosine[v][y] * across[y][u] for y in side) for v in low for u in low]
        median = sorted(flat[1:])[31]
        expected = int("".join("1" if value >= median else "0" for value in flat), 2)
        (found,) = phashes(thumbnail[None])[0].view(np.uint64).tolist()
        assert found == expected


def test_the_first_bit_is_the_mean_and_stands_highest():
    bright = np.full((1, 32, 32), 200, np.uint8)
    bright[0, ::3, ::5] = 90
    assert phashes(bright)[0][0] < 0  # the mean is above any median: bit 63, the sign, is set


@given(arrays(np.uint8, (3, 32, 32)))
def test_a_hash_does_not_depend_on_its_neighbours(thumbnails):
    together, degenerate = phashes(thumbnails)
    for row in range(3):
        alone, fault = phashes(thumbnails[row : row + 1])
        assert (alone[0], fault[0]) == (together[row], degenerate[row])


@given(st.integers(0, 255))
def test_one_colour_is_degenerate(level):
    assert phashes(np.full((1, 32, 32), level, np.uint8))[1].tolist() == [True]


@pytest.mark.parametrize(
    ("thumbnail", "degenerate"),
    [
        (np.add.outer(np.arange(32), np.zeros(32)) * 8, True),
        (np.add.outer(np.zeros(32), np.arange(32)) * 8, True),
        (np.add.outer(np.arange(32), np.arange(32)) * 4, True),
        (np.indices((32, 32)).sum(axis=0) // 4 % 2 * 255, True),
        (np.outer(np.hanning(32), np.hanning(32)) * 255, True),
        (np.outer(np.hanning(50)[:32], np.hanning(40)[:32]) * 255, False),
        (NOISE[0], False),
        (SMOOTH[0], False),
        (np.where(np.hypot(*(np.indices((32, 32)) - 12)) < 8, 30, 220), False),
    ],
    ids=[
        "down",
        "across",
        "diagonal",
        "stripes",
        "mirror image",
        "bump",
        "noise",
        "smooth",
        "disc",
    ],
)
def test_gradients_and_mirror_images_are_degenerate_and_pictures_are_not(thumbnail, degenerate):
    assert phashes(thumbnail.astype(np.uint8)[None])[1].tolist() == [degenerate]


def test_no_thumbnails_have_no_hashes():
    assert [part.tolist() for part in phashes(np.zeros((0, 32, 32), np.uint8))] == [[], []]
    assert dhashes(np.zeros((0, 8, 9), np.uint8)).tolist() == []


@given(arrays(np.uint8, (2, 8, 9)))
def test_dhash_says_where_the_right_neighbour_is_brighter(luma):
    expected = [
        int("".join(str(int(row[x + 1] > row[x])) for row in image for x in range(8)), 2)
        for image in luma.tolist()
    ]
    assert dhashes(luma).view(np.uint64).tolist() == expected
