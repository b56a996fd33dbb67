"""The score on a terminal, and progress while the corpus is made."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from curation.demo.defects import DEFECTS
from curation.demo.score import HEAD, Score
from curation.demo.score_captions import Worth

_EVERY = 5.0
"""Seconds between plain lines."""


_WIDE = 120
"""Columns of a terminal that has room for what caught each defect."""


def print_score(score: Score, console: Console) -> None:
    """A row for each defect, then what was lost of the clean pairs."""
    planted = sum(one.planted for one in score.tallies.values())
    title = f"{planted:,} planted defects, {score.clean:,} clean pairs"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("defect", no_wrap=True)
    for name in ("planted", "caught", "", "wrongly\ndropped"):
        table.add_column(name, justify="right", vertical="top")
    table.add_column("missed", overflow="fold")
    if console.width >= _WIDE:
        table.add_column("caught by", overflow="fold")
    for name, one in score.tallies.items():
        share = f"{one.caught / one.planted:.0%}" if one.planted else ""
        told = ", ".join(f"{kind} {count:,}".strip() for kind, count in one.missed.most_common())
        needs = DEFECTS[name].needs if not one.caught else ""
        missed = f"needs {needs}" if needs else told
        counts = [f"{one.planted:,}", f"{one.caught:,}", share, f"{score.wrong_of(name):,}"]
        by = ", ".join(f"{reason} {count:,}" for reason, count in one.by.most_common())
        table.add_row(name, *counts, Text(missed), *([Text(by)] if console.width >= _WIDE else []))
    console.print(table)
    lost = sum(score.wrong.values())
    told = ", ".join(f"{reason} {count:,}" for reason, count in score.wrong.most_common())
    console.print(
        f"Clean pairs wrongly dropped: {lost:,} of {score.clean:,} "
        f"({lost / max(1, score.clean):.2%}){': ' if told else ''}{told}",
        highlight=False,
        soft_wrap=True,
    )
    skew = score.skew
    if skew is not None:
        console.print(
            f"Concept balance gave up {score.resampled:,} pairs: of {skew.concepts:,} concepts the "
            f"most named one stood on {skew.most_before:,} pairs before and {skew.most_after:,} "
            f"after; the {HEAD} most named had {skew.head_before:.1%} of all mentions before and "
            f"{skew.head_after:.1%} after.",
            highlight=False,
            soft_wrap=True,
        )
    _print_worth(score.worth, console)
    console.print(_FOOTNOTE, highlight=False, style="dim")


def _print_worth(worth: Worth | None, console: Console) -> None:
    if worth is None or not worth.taken:
        return
    shares = {name: getattr(worth, name) / worth.taken for name in ("false", "lost", "added")}
    console.print(
        f"New captions, of the small model that knows these scenes only and is not exported: of "
        f"{worth.clean:,} clean pairs {worth.taken:,} would take theirs; {shares['added']:.0%} of "
        f"these add something true, {shares['lost']:.0%} leave out something true, "
        f"{shares['false']:.0%} say something false.",
        highlight=False,
        soft_wrap=True,
    )
    if not (worth.before.said and worth.after.said):
        return
    before, after = (tally.shares()["all"] for tally in (worth.before, worth.after))
    console.print(
        f"As they were written, for {worth.written:,} clean pairs: of the facts that captions "
        f"state {before['precision']:.1%} are true in the originals and {after['precision']:.1%} "
        f"in the new ones; of those in a full caption of the scene {before['recall']:.1%} are told "
        f"by the originals and {after['recall']:.1%} by the new ones.",
        highlight=False,
        soft_wrap=True,
    )


_FOOTNOTE = (
    "wrongly dropped: clean pairs lost by a reason meant for that defect; defects that share a "
    "reason share the count. Of duplicates one of each group stays, whichever it is. "
    "needs: no stage of this recipe can see it."
)


class Shown:
    """Progress on standard error: a bar where somebody watches, plain lines elsewhere."""

    @contextmanager
    def track(self, label: str, total: int | None, unit: str) -> Iterator["_Bar | _Lines"]:
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            with Bars(*columns, console=Console(stderr=True)) as bars:
                yield _Bar(bars, label, total)
        else:
            yield _Lines(label, total, unit)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bars: Bars, label: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total)

    def advance(self, units: int) -> None:
        self._bars.advance(self._task, units)


class _Lines:
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, units: int) -> None:
        self._done += units
        now = time.monotonic()
        if now - self._last >= _EVERY or self._done == self._total:
            self._last = now
            rate = self._done / max(now - self._start, 1e-6)
            of = "" if self._total is None else f" of {self._total:,}"
            line = f"{self._label}: {self._done:,}{of} {self._unit}, {rate:,.0f}/s"
            print(line, file=sys.stderr, flush=True)
