"""What a JVM says on the terminal of its own settings while Spark starts, kept off it."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_IDLE = (
    "WARNING: Using incubator modules",
    "Using Spark's default log4j",
    "Setting default log level",
    "Setting Spark log level",
    "To adjust logging level",
    "WARN Utils: Your hostname",
    "WARN Utils: Set SPARK_LOCAL_IP",
    "WARN NativeCodeLoader: Unable to load native-hadoop",
)
"""Beginnings of lines, the time aside, that say nothing of a run."""


@contextlib.contextmanager
def without_preamble() -> Iterator[None]:
    """A child that is started within has its lines read and passed on, but for the idle ones."""
    sys.stderr.flush()
    terminal, (reading, writing) = os.dup(2), os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    reader = threading.Thread(target=_pass_on, args=(reading, terminal), daemon=True)
    reader.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)


def _pass_on(reading: int, terminal: int) -> None:
    """Until the last process that writes there has ended."""
    with os.fdopen(reading, "rb") as lines, os.fdopen(terminal, "wb", buffering=0) as out:
        for line in lines:
            if not any(word in line for word in _BYTES):
                out.write(line)


_BYTES = tuple(word.encode() for word in _IDLE)
