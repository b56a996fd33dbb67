"""What a piece of code holds at most, measured in a process of its own.

Not by tracemalloc: its stop races with threads of native libraries, and can kill the whole suite.
"""

import multiprocessing
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Steps = Callable[..., Generator[None, None, None]]
"""Makes ready, yields once, then does what is measured."""


def grown(steps: Steps, *arguments: Any) -> int:
    """Bytes by which a fresh process grows at most after the `yield`; raises what `steps` does."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_measure, args=(there, steps, arguments))
    process.start()
    there.close()
    try:
        found = here.recv()
    finally:
        process.join()
    if isinstance(found, BaseException):
        raise found
    return int(found)


def peak() -> int:
    """Bytes that this process has held at one time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Lets the peak begin anew, at what this process holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def _measure(said: Connection, steps: Steps, arguments: tuple[Any, ...]) -> None:
    try:
        running = steps(*arguments)
        next(running)
        forget_peak()
        before = peak()
        for _ in running:
            raise AssertionError("yields once")
        said.send(peak() - before)
    except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
        said.send(error)
