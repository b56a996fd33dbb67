"""The exact thumbnail against Pillow's own LANCZOS resize."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.io.image_decode import reduced_luma
from curation.io.image_header import read_header
from curation.operators.image.pixels import pixels
from curation.operators.image.thumbnail import SIDE, _weights, thumbnail
from tests.operators.rows import real_images


def pillows(luma):
    return np.asarray(luma.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).astype(int)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 1 << 20), st.booleans())
def test_near_pillow_at_any_size(height, width, seed, noise):
    """Within two grey levels, where both passes round the other way: rare without noise."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width) if noise else (5, 4), dtype=np.uint8)
    image = Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR)
    difference = np.abs(thumbnail(np.asarray(image)) - pillows(image))
    assert difference.max() <= 2
    assert noise or (difference > 1).sum() <= 4  # of 1,024


@pytest.mark.parametrize("width", [20, 33, 40, 64, 250])
def test_reduces_first_the_side_that_pillow_reduces_first(width):
    rng = np.random.default_rng(width)
    for height in (31, 32, 33, 34, *range(max(1, 2 * width - 34), 2 * width - 28)):
        image = Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))
        assert np.abs(thumbnail(np.asarray(image)) - pillows(image)).max() <= 2, height


def test_within_one_level_of_pillow_on_real_images():
    for name, data in real_images().items():
        luma = reduced_luma(data, read_header(data), 10**9)
        assert np.abs(thumbnail(pixels(luma)) - pillows(luma)).max() <= 1, name


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 33), (32, 32), (300, 7), (511, 2000)])
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_grey_stays_the_same_grey(size, level):
    small = thumbnail(np.full(size, level, np.uint8))
    assert small.shape == (SIDE, SIDE)
    assert (small == level).all()


def test_an_image_of_that_size_is_itself():
    image = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    assert (thumbnail(image) == image).all()


def test_products_are_exact_whatever_the_order_of_summation():
    """Arrays in another memory order are summed in another order."""
    rng = np.random.default_rng(4)
    for size in ((256, 384), (400, 300), (257, 511)):
        image = rng.integers(0, 256, size, dtype=np.uint8)
        exact = _in_integers(image)
        assert (thumbnail(image) == exact).all()
        assert (thumbnail(np.asfortranarray(image)) == exact).all()


def _in_integers(luma):
    """The same two passes, width first, in 64-bit integers."""
    down, across = (_weights(n).astype(np.int64) for n in luma.shape)
    half = np.clip((luma.astype(np.int64) @ across.T + (1 << 14)) >> 15, 0, 255)
    return np.clip((down @ half + (1 << 14)) >> 15, 0, 255)
