"""How long work tells how far it is; who shows it is the caller's choice."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Tracker(Protocol):
    """One piece of work under way."""

    def advance(self, units: int) -> None:
        """`units` more are done."""


class Progress(Protocol):
    """Where work is shown."""

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Tracker]:
        """Shows `label` while the block runs; `total` is unknown where null."""

    def say(self, line: str) -> None:
        """Tells one line."""


class _Silent:
    def advance(self, units: int) -> None: ...

    def track(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Tracker]:
        return nullcontext(self)

    def say(self, line: str) -> None: ...


SILENT: Progress = _Silent()
"""Shows nothing."""
