"""What a person is told of servers that are all away: a run that waits must not look hung.

A worker has no way to the terminal but standard error, which it has of the process that watches.
"""

import contextlib
import sys

_CLEARED = "\r\x1b[2K"
"""Takes the line under way, a progress bar, off a terminal; it is drawn again a moment later."""


class Outage:
    """Says a line when servers are away and one when there is an answer again, a process each."""

    def __init__(self) -> None:
        self._told = False

    def begin(self, why: list[str], seconds: float) -> None:
        """All are away, each for its reason, and are waited for for so many seconds."""
        if not self._told:
            self._told = True
            _say(f"no server answers ({'; '.join(why)}); waiting up to {seconds:.0f} s")

    def end(self) -> None:
        """A server has answered."""
        if self._told:
            self._told = False
            _say("a server answers again; the run goes on")


def _say(line: str) -> None:
    with contextlib.suppress(
        OSError, ValueError, AttributeError
    ):  # nobody reads it: no reason to stop
        sys.stderr.write(f"{_CLEARED if sys.stderr.isatty() else ''}{line}\n")
        sys.stderr.flush()
