"""Stored embeddings: little-endian fp16 of unit vectors, and products of them that are exact.

A finite fp16 number is a whole multiple of 2**-24, so a product of two is one of 2**-48, and so is
every partial sum of a dot product. Partial sums of vectors with norms below MAX_NORM stay below
2**4 (Cauchy and Schwarz) and fit the 53 bits of a float64: nothing is ever rounded, and a float64
matrix product has the same bits for every batch size, order of summation, library and processor.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Halves = npt.NDArray[np.float16]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MAX_NORM = 4.0
"""Length of a vector from which products need not be exact; a stored embedding has about 1."""


def vectors(column: pa.Array | pa.ChunkedArray) -> tuple[Halves, Mask]:
    """(rows, width) of a column of fp16 bytes, and which rows can be compared.

    Null, not finite, all zero and longer than MAX_NORM cannot; their rows are zero. Raises
    ValueError if the rows do not all have one width.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    given = np.asarray(column.is_valid())
    halves = np.frombuffer(b"".join(column.drop_null().to_pylist()), "<f2")
    count = int(given.sum())
    width = len(halves) // count if count else 0
    if pa.types.is_fixed_size_binary(column.type):
        width = column.type.byte_width // 2
    elif set(pc.binary_length(column.drop_null()).to_pylist()) - {2 * width}:
        raise ValueError("embeddings of different widths in one column")
    rows: Halves = np.zeros((len(column), width), np.float16)
    rows[given] = halves.reshape(count, width) + np.float16(0)  # -0 becomes 0
    usable = given & _comparable(rows)
    rows[~usable] = 0
    return rows, usable


def _comparable(rows: Halves) -> Mask:
    finite: Mask = np.asarray(np.isfinite(rows).all(axis=1))
    squares = squared_norms(np.where(finite[:, None], rows, np.float16(0)))
    return finite & (squares > 0) & (squares < MAX_NORM**2)


def squared_norms(rows: Halves) -> Doubles:
    """Of each row; exact below MAX_NORM."""
    wide = rows.astype(np.float64)
    squares: Doubles = np.einsum("nd,nd->n", wide, wide)
    return squares


def unit(rows: Halves) -> Doubles:
    """Comparable rows with a length of 1."""
    return rows.astype(np.float64) / np.sqrt(squared_norms(rows))[:, None]
