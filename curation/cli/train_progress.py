"""How a training shows itself: one live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from curation.core.progress import Progress

if TYPE_CHECKING:
    from curation.trainer.metrics import StepRecord, Watcher

_EVERY = 5.0
"""Seconds between plain lines."""


def told(record: "StepRecord") -> str:
    """A step in a few words."""
    parts = [
        f"loss {record.loss:.3f}",
        f"grad {record.gradient_norm:.2f}",
        f"lr {record.learning_rate:.2g}",
        f"{record.tokens_per_second:,.0f} tok/s",
        f"{record.supervised_per_second:,.0f} learnt/s",
    ]
    if record.mfu is not None:
        parts.append(f"MFU {record.mfu:.1%}")
    if record.data_wait > 0.05 * record.seconds:
        parts.append(f"waits {record.data_wait / record.seconds:.0%} for data")
    if record.quarantined:
        parts.append(f"{record.quarantined} unreadable")
    if record.skipped:
        parts.append("skipped")
    return ", ".join(parts)


class PlainWatcher:
    """A line every few seconds, and for the last step, on standard error."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._last = -_EVERY
        self._begun: tuple[float, int] | None = None

    def step(self, record: "StepRecord") -> None:
        now = time.monotonic()
        self._begun = self._begun or (now - record.seconds, record.step - 1)
        if now - self._last < _EVERY and record.step < self._steps:
            return
        self._last = now
        start, first = self._begun
        left = (self._steps - record.step) * (now - start) / (record.step - first)
        end = f", {left:,.0f} s left" if record.step < self._steps else ""
        self.say(f"step {record.step:,} of {self._steps:,}: {told(record)}{end}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class TerminalWatcher:
    """One live line with bar and time left."""

    def __init__(self, steps: int, bars: Bars, console: Console) -> None:
        self._bars, self._console = bars, console
        self._task = bars.add_task("train", total=steps, told="")

    def step(self, record: "StepRecord") -> None:
        self._bars.update(self._task, completed=record.step, told=told(record))

    def say(self, line: str) -> None:
        self._console.print(Text(line))


@contextmanager
def make_watcher(steps: int, progress: Progress) -> Iterator["Watcher"]:
    """A live line where somebody watches, lines elsewhere; starts at the first step."""
    if not sys.stderr.isatty():
        yield PlainWatcher(steps)
        return
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(finished_text="[green]done"),
        TextColumn("train"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=console)
    watcher = _Late(steps, bars, console, progress)
    try:
        yield watcher
    finally:
        bars.stop()


class _Late:
    """Begins its live line with the first step: planning has lines of its own before."""

    def __init__(self, steps: int, bars: Bars, console: Console, progress: Progress) -> None:
        self._steps, self._bars, self._console = steps, bars, console
        self._progress = progress
        self._watcher: TerminalWatcher | None = None

    def step(self, record: "StepRecord") -> None:
        if self._watcher is None:
            self._watcher = TerminalWatcher(self._steps, self._bars, self._console)
            self._bars.start()
        self._watcher.step(record)

    def say(self, line: str) -> None:
        (self._watcher or self._progress).say(line)
