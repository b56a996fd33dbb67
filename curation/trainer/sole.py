"""One training at a time in one folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation.core.errors import RunError

_LOCK = ".lock"


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Holds the folder; the lock goes with the process that holds it, however that ends.

    Raises RunError where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: a training is running there; wait for it, or name another --out"
            ) from error
        yield
