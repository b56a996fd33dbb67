"""Runs one task in a process of its own, on whatever node of a cluster: what kills it costs a row.

Workers of a cluster call `outcome` where the embedded engine calls a task. The child process stays
for the next task, with the operators that it has opened; a crash, a row without end or one without
bounds in memory is dealt with as on one machine.
"""

import contextlib
import functools
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from curation.core.engine import Item, Result
from curation.core.errors import CurationError
from curation.core.limits import Limits
from curation.engines.local import LocalEngine


@functools.lru_cache(maxsize=1)
def _engine(limits: Limits) -> LocalEngine:
    return LocalEngine(workers=1, limits=limits.shared(os.cpu_count() or 1))


def stand_in(folder: str) -> None:
    """Makes relative paths of a recipe mean what they mean where the command was given.

    A machine without that folder has to be given paths from the root, or URLs. What a cluster has
    shipped beside its worker's own folder is still found.
    """
    sys.path[:] = [str(Path(entry).absolute()) if entry else entry for entry in sys.path]
    with contextlib.suppress(OSError):
        os.chdir(folder)


@dataclass(frozen=True)
class Isolated(Generic[Item, Result]):
    """A task, as it is sent to workers of a cluster."""

    task: Callable[[Item], Result]
    on_crash: Callable[[Item, Callable[..., bool]], Item] | None
    limits: Limits
    folder: str = field(default_factory=os.getcwd)
    """Where the command was given."""

    def __call__(self, item: Item) -> bytes:
        """The result or the user's error, pickled: a cluster would run a task that raises again."""
        stand_in(self.folder)
        try:
            (result,) = _engine(self.limits).map(self.task, [item], on_crash=self.on_crash)
        except CurationError as error:
            return pickle.dumps((None, error))
        return pickle.dumps((result, None))


def unwrapped(outcome: bytes) -> Any:
    """What `Isolated` gave, on the driver, which sent the code that made it. Raises its error."""
    result, error = pickle.loads(outcome)  # noqa: S301 - our own workers' answer
    if error is not None:
        raise error
    return result
