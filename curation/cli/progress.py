"""Progress on a terminal (rich bars) or as plain lines elsewhere, and in the run's log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from curation.cli.run_log import RunLog

_EVERY = 5.0
"""Seconds between plain lines."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text(f"{speed:,.0f} {unit}/s" if speed else "")


class _Counter:
    """Counts one piece of work and shows it through `show(done)` now and then."""

    def __init__(self, log: RunLog, label: str, total: int | None) -> None:
        self.log, self.label, self.total = log, label, total
        self.done = 0

    def advance(self, units: int) -> None:
        self.done += units
        self.log.beat(self.label, self.done, self.total)


class TerminalProgress:
    """Bars with rate and time left, on standard error."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._console = Console(stderr=True)

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator["_Bar"]:
        columns = (
            SpinnerColumn(finished_text="[green]done"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with self._log.stage(label), Bars(*columns, console=self._console) as bars:
            bar = _Bar(self._log, label, total, bars, unit)
            yield bar
            if total is None:
                bars.update(bar.task, total=bar.done)

    def say(self, line: str) -> None:
        self._log.note(line)
        self._console.print(Text(line))


class _Bar(_Counter):
    def __init__(self, log: RunLog, label: str, total: int | None, bars: Bars, unit: str) -> None:
        super().__init__(log, label, total)
        self._bars = bars
        self.task = bars.add_task(label, total=total, unit=unit)

    def advance(self, units: int) -> None:
        super().advance(units)
        self._bars.advance(self.task, units)


class PlainProgress:
    """One line a stage, and one every few seconds while it lasts, on standard error."""

    def __init__(self, log: RunLog) -> None:
        self._log = log

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator["_Lines"]:
        with self._log.stage(label):
            lines = _Lines(self._log, label, total, unit)
            yield lines
            lines.finish()

    def say(self, line: str) -> None:
        self._log.note(line)
        print(line, file=sys.stderr, flush=True)


class _Lines(_Counter):
    def __init__(self, log: RunLog, label: str, total: int | None, unit: str) -> None:
        super().__init__(log, label, total)
        self._unit = unit
        self._start = self._last = time.monotonic()

    def advance(self, units: int) -> None:
        super().advance(units)
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self._show(now, finished=False)

    def finish(self) -> None:
        self._show(time.monotonic(), finished=True)

    def _show(self, now: float, *, finished: bool) -> None:
        seconds = max(now - self._start, 1e-6)
        rate = self.done / seconds
        of = f" of {self.total:,}" if self.total is not None and not finished else ""
        line = f"{self.label}: {self.done:,}{of} {self._unit}, {rate:,.0f}/s"
        if finished:
            line += f", {seconds:.1f} s"
        elif self.total is not None and rate:
            line += f", {max(0, self.total - self.done) / rate:,.0f} s left"
        print(line, file=sys.stderr, flush=True)


def make_progress(log: RunLog) -> TerminalProgress | PlainProgress:
    """Bars where somebody watches, lines elsewhere."""
    return TerminalProgress(log) if sys.stderr.isatty() else PlainProgress(log)
