"""Stored embeddings: what can be compared, and products that are never rounded."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.core.embedding import MAX_NORM, squared_norms, unit, vectors


def column(rows, kind=None):
    packed = [None if row is None else np.asarray(row, "<f2").tobytes() for row in rows]
    return pa.array(packed, kind or pa.binary())


def exact(a, b):
    """The dot product of two rows of halves in Python's integers, in units of 2**-48."""
    scaled = ([int(float(x) * 2**24) for x in row] for row in (a, b))
    return sum(x * y for x, y in zip(*scaled, strict=True))


def planted(seed, count, width):
    """Rows of length 1 up to nearly MAX_NORM, with zeros and the smallest numbers among them."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, width)) * 10.0 ** rng.integers(-6, 1, (count, width))
    lengths = rng.choice([1.0, 1.0, MAX_NORM - 0.01], count)[:, None]
    rows *= lengths / np.linalg.norm(rows, axis=1, keepdims=True)
    rows[rng.random((count, width)) < 0.1] = 2.0**-24
    return rows.astype(np.float16)


@pytest.mark.parametrize("width", [1, 7, 512, 1024])
def test_a_float64_product_is_that_of_integers(width):
    rows = planted(width, 24, width)
    product = rows.astype(np.float64) @ rows.astype(np.float64).T
    expected = [[exact(a, b) for b in rows] for a in rows]
    assert [[int(x * 2.0**48) for x in row] for row in product] == expected
    assert [int(x * 2.0**48) for x in squared_norms(rows)] == [exact(a, a) for a in rows]


def test_no_part_of_a_product_depends_on_the_rest():
    rows = planted(3, 400, 512).astype(np.float64)
    whole = rows @ rows.T
    turned = rows[:, ::-1] @ rows[:, ::-1].T
    assert (whole == turned).all()
    for size in (1, 3, 64, 333):
        parts = [rows[at : at + size] @ rows.T for at in range(0, len(rows), size)]
        assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("kind", [pa.binary(), pa.binary(6)])
def test_what_cannot_be_compared_is_zero_and_told(kind):
    rows = [[0.6, 0, 0.8], None, [np.nan, 0, 1], [0, np.inf, 0], [0, 0, 0], [4, 0, 0], [0, -1, 0]]
    halves, usable = vectors(column(rows, kind))
    assert usable.tolist() == [True, False, False, False, False, False, True]
    expected = np.zeros((7, 3), np.float16)
    expected[[0, 6]] = rows[0], rows[6]
    assert (halves == expected).all()
    assert halves.dtype == np.float16


def test_a_negative_zero_is_a_zero():
    halves, _ = vectors(column([[-0.0, 1], [0, 1]]))
    assert halves[0].tobytes() == halves[1].tobytes()


@pytest.mark.parametrize("kind", [pa.binary(), pa.binary(4)])
@pytest.mark.parametrize("rows", [[], [None, None]])
def test_columns_without_an_embedding(rows, kind):
    halves, usable = vectors(column(rows, kind))
    assert halves.shape == (len(rows), 2 if kind == pa.binary(4) else 0)
    assert not usable.any()


def test_columns_in_pieces_and_slices_are_read_alike():
    rows = planted(5, 20, 8)
    whole = column(rows)
    pieces = pa.chunked_array([column([[0] * 8]), whole.slice(1, 7), whole.slice(8)]).slice(1)
    assert (vectors(pieces)[0] == rows[1:]).all()
    assert (vectors(column(rows, pa.binary(16)).slice(3, 9))[0] == rows[3:12]).all()


def test_widths_that_differ_are_refused():
    with pytest.raises(ValueError, match="different widths"):
        vectors(column([[1, 0], [1, 0, 0, 0], [1, 0, 0]]))


@given(st.lists(st.floats(-2, 2, width=16), min_size=3, max_size=3).filter(any))
def test_unit_rows_have_length_1(row):
    assert np.linalg.norm(unit(np.array([row], np.float16))) == pytest.approx(1, abs=1e-12)
