"""One measured figure, and how it is taken: repeated, best of several, with the machine's load."""

import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"


WITHOUT_CLIP = ("--set", "clip.floor=min_side>=1000000000")
"""Options of `curate run` under which no pair is scored: the model has a benchmark of its own."""


@dataclass(frozen=True)
class Figure:
    """What was measured, and what it should at least be."""

    what: str
    value: str
    goal: str
    good: bool

    def line(self) -> str:
        return f"| {self.what} | {self.value} | {self.goal} | {'yes' if self.good else 'NO'} |"


def best(function: Callable[[], object], repeats: int = 3) -> float:
    """Shortest wall-clock seconds of several runs, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def machine() -> str:
    """Processor, cores and load, for the record."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    load = os.getloadavg()[0]
    memory = psutil.virtual_memory().total / 1e9
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, load {load:.1f} at the start"


class PeakMemory:
    """Largest sum of resident (proportional) memory of this process and its children, in bytes."""

    def __init__(self, process: psutil.Process | None = None) -> None:
        self._process = process or psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.bytes = max(self.bytes, self._now())

    def _now(self) -> int:
        total = 0
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for process in family:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
                continue
        return total
