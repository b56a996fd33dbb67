"""Lays points out so that neighbours stay neighbours, by UMAP, in a process of its own.

    python -m curation.report.viewer.neighbour_map < rows.npy > points.npy

UMAP compiles itself for seconds and then holds the interpreter: a server would stand still.
"""

import importlib.util
import io
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from curation.core.errors import RunError

_NEIGHBOURS = 15
"""Points that each is laid beside, UMAP's default: fewer tear clusters apart, more blur them."""
_SEED = 0


def is_there() -> bool:
    """Whether UMAP is installed (the extra `map`)."""
    return importlib.util.find_spec("umap") is not None


def neighbour_map(
    rows: npt.NDArray[np.float32], started: Callable[[subprocess.Popen[bytes]], None]
) -> npt.NDArray[np.float32]:
    """(points, 2) of (points, width); the same rows give the same points on one machine.

    `started` is given the process, so that another thread can end it. Raises RunError where UMAP
    fails.
    """
    given = io.BytesIO()
    np.save(given, rows, allow_pickle=False)
    command = [sys.executable, "-m", "curation.report.viewer.neighbour_map"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        started(process)
        laid, told = process.communicate(given.getvalue())
    if process.returncode:
        said = told.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise RunError(f"UMAP failed: {said[-1]}")
    points: npt.NDArray[np.float32] = np.load(io.BytesIO(laid), allow_pickle=False)
    return points


def _laid_out(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, which it can do without
        from umap import UMAP
    layout = UMAP(
        n_neighbors=min(_NEIGHBOURS, len(rows) - 1),
        init="pca",
        random_state=_SEED,
        n_jobs=1,  # more would make the points another each time
    )
    points: npt.NDArray[np.float32] = layout.fit_transform(rows).astype(np.float32)
    return points


if __name__ == "__main__":
    laid = io.BytesIO()  # a pipe cannot tell the place that NumPy asks for
    np.save(laid, _laid_out(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)))
    sys.stdout.buffer.write(laid.getvalue())
