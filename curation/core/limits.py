"""What one record may cost: time and memory, held to by every process that runs operators.

A worker calls `hold` once; the border to operators then runs each call `within` its time. Nothing
is limited in a process that did not call it, as in the user's own interpreter.
"""

import contextlib
import faulthandler
import multiprocessing.util
import os
import resource
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROWS = 64
"""Rows of a batch that have, together, the time of one more record."""

LEAST_MEMORY = 2 << 30
"""Bytes below which a worker cannot even load its libraries and a model."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a worker process."""

    deadline: float = 60.0
    """Seconds that one record may take; n rows together take at most (1 + n / 64) times that."""
    memory: int = 0
    """Bytes that a worker may allocate; 0: its share of nine tenths of the machine's memory."""

    def shared(self, processes: int) -> "Limits":
        """With the memory of one of so many workers of this machine."""
        if self.memory:
            return self
        share = int(psutil.virtual_memory().total * 0.9) // max(1, processes)
        return Limits(self.deadline, max(LEAST_MEMORY, share))


class DeadlineError(BaseException):
    """A batch took too long. No Exception: an operator that mends faults must not catch it."""


_held: list[Limits] = []


def hold(limits: Limits) -> None:
    """Bounds the memory of this process, which is a worker's, and of calls `within`."""
    _held[:] = [limits]
    if limits.memory:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bound = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        with contextlib.suppress(OSError, ValueError):  # a system that has no such limit
            resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


@contextlib.contextmanager
def within(rows: int, waits: float = 0.0) -> Iterator[None]:
    """Raises DeadlineError in a block that takes longer than `rows` records may.

    `waits` are seconds on top of that, which it may wait for what is not in its hands.

    Where the block does not come back to the interpreter, or runs in another thread than the main
    one, the process is ended after twice the time, and its engine finds out which row it was, as
    for any other crash.
    """
    if not _held or _held[0].deadline <= 0:
        yield
        return
    seconds = _held[0].deadline * (1 + rows / _ROWS) + waits
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(2 * seconds, exit=True, file=nowhere)
        try:
            with _raising(seconds):
                yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _raising(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    before = signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _late(*_: object) -> None:
    # A thread of the operator may hang for good: this process must not wait for it at its end.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=100)
    raise DeadlineError
