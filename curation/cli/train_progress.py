"""How a training shows itself: one live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, SpinnerColumn, Task
from rich.table import Column
from rich.text import Text

from curation.core.progress import Progress

if TYPE_CHECKING:
    from curation.trainer.metrics import StepRecord, Watcher

_EVERY = 5.0
"""Seconds between plain lines."""
_BAR = 20
"""Columns of the bar."""
_ROOM = 100
"""Columns of a terminal that has room for it."""
_SPINNER = len("done") + 1
"""Columns that the spinner takes in the end, with the space behind it."""


def told(record: "StepRecord") -> str:
    """A step in a few words."""
    return ", ".join([*_usual(record), *_alerts(record)])


def _usual(record: "StepRecord") -> list[str]:
    parts = [
        f"loss {_fixed(record.loss, 3)}",
        f"grad {_fixed(record.gradient_norm, 2)}",
        f"lr {record.learning_rate:.2g}",
        f"{record.tokens_per_second:,.0f} tok/s",
        f"{record.supervised_per_second:,.0f} learnt/s",
    ]
    if record.mfu is not None:
        parts.append(f"MFU {record.mfu:.1%}")
    return parts


def _fixed(number: float, digits: int) -> str:
    """With so many digits behind the point; in short where it is very large."""
    return f"{number:.{digits}f}" if abs(number) < 1e5 else f"{number:.3g}"


def _alerts(record: "StepRecord") -> list[str]:
    """What should not be so."""
    parts = []
    if record.data_wait > 0.05 * record.seconds:
        parts.append(f"waits {record.data_wait / record.seconds:.0%} for data")
    if record.quarantined:
        parts.append(f"{record.quarantined} unreadable")
    if record.skipped:
        parts.append("skipped")
    return parts


class _Pace:
    """Time gone and left, by the steps of this session: a resumed run did not begin at step 0."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def step(self, record: "StepRecord") -> None:
        self._last = time.monotonic(), record.step
        self._first = self._first or (self._last[0] - record.seconds, record.step - 1)

    def gone(self) -> float:
        """Seconds since the first step began."""
        return time.monotonic() - self._first[0] if self._first else 0.0

    def left(self) -> float:
        """Seconds to the end, at the mean pace."""
        if self._first is None:
            return 0.0
        start, before = self._first
        now, done = self._last
        seconds = (self._steps - done) * (now - start) / (done - before)
        return max(0.0, seconds - (time.monotonic() - now))


class PlainWatcher:
    """A line every few seconds, and for the last step, on standard error."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._said = -_EVERY
        self._pace = _Pace(steps)

    def step(self, record: "StepRecord") -> None:
        self._pace.step(record)
        now = time.monotonic()
        if now - self._said < _EVERY and record.step < self._steps:
            return
        self._said = now
        end = f", {self._pace.left():,.0f} s left" if record.step < self._steps else ""
        self.say(f"step {record.step:,} of {self._steps:,}: {told(record)}{end}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class TerminalWatcher:
    """One live line: steps, time gone and left, then as much of the step as the terminal holds."""

    def __init__(self, steps: int, bars: Bars, console: Console) -> None:
        self._bars, self._console = bars, console
        self._pace = _Pace(steps)
        self._task = bars.add_task("train", total=steps, pace=self._pace, parts=[])

    def step(self, record: "StepRecord") -> None:
        self._pace.step(record)
        loss, *others = _usual(record)
        parts = [loss, *_alerts(record), *others]
        self._bars.update(self._task, completed=record.step, parts=parts)

    def say(self, line: str) -> None:
        self._console.print(Text(line))


class _Line(ProgressColumn):
    """All but the spinner, never wider than the terminal: what comes last is left out first."""

    def __init__(self, console: Console) -> None:
        super().__init__(Column(no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Text:
        width = self._console.width - _SPINNER
        pace: _Pace = task.fields["pace"]
        done, total = int(task.completed), int(task.total or 0)
        line = Text("train ")
        if self._console.width >= _ROOM:
            filled = _BAR * done // max(total, 1)
            line.append("━" * filled, "bar.complete").append("━" * (_BAR - filled), "bar.back")
            line.append(" ")
        line.append(f"{done:,}/{total:,}", "progress.download").append("  ")
        line.append(_span(pace.gone()), "progress.elapsed")
        if done < total:
            line.append(f", {_span(pace.left())} left", "progress.remaining")
        gap = "  "
        for part in task.fields["parts"]:
            if line.cell_len + len(gap) + len(part) > width:
                break
            line.append(gap + part)
            gap = ", "
        return line


def _span(seconds: float) -> str:
    """2d 03h, 3:04:05 or 4:05."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def live(console: Console) -> Bars:
    """The live line of a training on that terminal; to be started."""
    return Bars(SpinnerColumn(finished_text="[green]done"), _Line(console), console=console)


@contextmanager
def make_watcher(steps: int, progress: Progress) -> Iterator["Watcher"]:
    """A live line where somebody watches, lines elsewhere; starts at the first step."""
    if not sys.stderr.isatty():
        yield PlainWatcher(steps)
        return
    console = Console(stderr=True)
    bars = live(console)
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
