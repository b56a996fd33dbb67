"""`curate tune`: thresholds out of labels."""

import json
import shlex
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.core.errors import UsageError
from curation.core.step import NOT_ASKED
from curation.io.corpus import open_corpus
from curation.report.labels import read_labels
from curation.report.tune import Fit, Tuning, plain_number, told, tune
from curation.report.tune_curve import Point

_SIGN = {"at_least": "≥", "at_most": "≤"}
_POINTS = 25
"""Points of a curve that a terminal shows."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Fit thresholds to labels that `curate view` saved; prints the --set flags, changes nothing.

    A threshold moves only where the F1 of what the whole recipe keeps rises by it.
    """

    path: tyro.conf.Positional[str]
    """Run directory or corpus that is decided."""
    labels: str
    """File of labels: one JSON object a line with uid, shard, row, and label: keep or drop."""
    json: bool = False
    """Print JSON, with every point of each curve, instead of tables."""
    curve: str = ""
    """Show the precision/recall curve of this threshold, as heuristics.min_side."""

    def run(self) -> int:
        found = tune(open_corpus(self.path), read_labels(self.labels))
        names = [fit.name for fit in found.fits]
        if self.curve and self.curve not in names:
            raise UsageError(
                f"--curve {self.curve}: no such threshold; there is {', '.join(names)}"
            )
        if self.json:
            print(json.dumps(told(found), indent=1, allow_nan=False))
            return 0
        console = Console()
        if self.curve:
            console.print(_curve_table(found.fits[names.index(self.curve)]))
            return 0
        _print(console, self.path, found)
        return 0


def _print(console: Console, path: str, found: Tuning) -> None:
    title = f"{found.keeps:,} labelled keep, {found.drops:,} labelled drop; P precision, R recall"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("threshold alone", no_wrap=True)
    for name in ("now", "P", "R", "F1", "moves to", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    for fit in found.fits:
        sign = _SIGN[fit.kind]
        to = f"{sign} {plain_number(fit.suggested.threshold)}" if fit.flag else ""
        if fit.share is not None:
            to = f"top {plain_number(fit.share)} ({sign} {fit.suggested.threshold:.4g})"
        now = f"{sign} {plain_number(fit.now.threshold)}"
        rests = f"{fit.moved:,}" if fit.flag else ""
        table.add_row(Text(fit.name), now, *_scores(fit.now), to, rests)
    table.add_row("whole recipe", "", *_scores(found.together_now))
    if found.flags:
        table.add_row("with the moves", "", *_scores(found.together))
    console.print(table)
    for line in _lines(path, found):
        console.print(Text(line), soft_wrap=True)


def _lines(path: str, found: Tuning) -> list[str]:
    """What is said under the table."""
    lines = []
    if found.strangers:
        many = "s" * (found.strangers > 1)
        lines.append(
            f"not used: {found.strangers:,} label{many} of no readable sample of this corpus"
        )
    lines += [f"not fitted: {why}" for why in found.idle if not why.endswith(NOT_ASKED)]
    held = "(de-duplication and balance held as they are)"
    if found.flags:
        lines.append(
            f"the corpus keeps {found.kept_now:,} now, {found.kept:,} with the moves {held}"
        )
        lines.append("`labels`: what is decided otherwise by it; what rests on a few is chance")
        lines.append(f"to decide so: curate decide {shlex.join([path, *found.flags])}")
    elif found.together_now.f1 == 1:
        lines.append("the recipe already decides as the labels do: no threshold moves")
    else:
        lines.append(f"no threshold does better than the recipe's own {held}")
    if found.together.f1 < 1:
        lines.append(
            "tried: each threshold by itself, and those together that keep out one labelled keep; "
            "no other moves of several at once"
        )
    return lines


def _scores(point: Point) -> tuple[str, str, str]:
    precision = "-" if point.precision is None else f"{point.precision:.2f}"
    return precision, f"{point.recall:.2f}", f"{point.f1:.3f}"


def _curve_table(fit: Fit) -> Table:
    """Points of a curve, evenly thinned; the best and the tightest are always among them."""
    points = fit.curve.points
    best = fit.curve.best()
    step = max(1, -(-len(points) // _POINTS))
    table = Table(title=f"{fit.name} ({fit.column})", title_justify="left")
    for name in ("threshold", "keeps pass", "drops pass", "precision", "recall", "F1", ""):
        table.add_column(name, justify="right")
    for nth, point in enumerate(points):
        if nth % step == 0 or point is best or nth == len(points) - 1:
            table.add_row(
                f"{_SIGN[fit.kind]} {point.threshold:.6g}",
                f"{point.keeps:,}",
                f"{point.drops:,}",
                *_scores(point),
                "best" if point is best else "",
            )
    return table
