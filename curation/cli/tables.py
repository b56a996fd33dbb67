"""Tables and amounts for the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.core.funnel import funnel_lines
from curation.core.step import NOT_ASKED
from schemas.manifest import Calibration, CorpusManifest, ExportManifest, StageSummary, Totals


def bytes_text(size: int) -> str:
    """A size with its unit: 1.4 GB."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} PB"


def duration_text(seconds: float) -> str:
    """A duration: 42 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def print_funnel(
    console: Console,
    corpus: CorpusManifest,
    export: ExportManifest | None = None,
    *,
    told: bool = False,
) -> None:
    """The stages, what each dropped and why, what is left; warnings, unless they were `told`."""
    funnel(console, corpus.stages, corpus.totals)
    count = len(corpus.warnings)
    for warning in [] if told else corpus.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    if told and count:
        console.print(Text(f"{count} warning{'s' * (count > 1)}, as said above", style="yellow"))
    if export is not None:
        stopped = f", {export.totals.dropped:,} stopped by blocklists" if export.blocked else ""
        console.print(
            f"exported {export.totals.kept:,} samples in {export.tables['shards'].rows:,} "
            f"shards{stopped}",
            highlight=False,
            soft_wrap=True,
        )


def funnel(console: Console, stages: list[StageSummary], totals: Totals) -> None:
    """A row for each stage and reason; what ingest and the operators lost comes first."""
    table = Table(title=f"{totals.ingested:,} samples ingested", title_justify="left")
    table.add_column("stage")
    for name in ("entered", "kept", "not kept"):
        table.add_column(name, justify="right")
    table.add_column("why", overflow="fold")
    table.add_column("samples", justify="right")
    for stage in funnel_lines(stages):
        if stage.off == NOT_ASKED:
            continue
        if stage.off:
            table.add_row(stage.stage, f"{stage.entered:,}", f"{stage.kept:,}", "off", "", "")
            continue
        lost = [*stage.reasons.items(), *stage.errors.items()]
        told = [*sorted(stage.notes.items()), *stage.choices.items()]
        notes = [(f"({name})", count) for name, count in told if count]
        first, *rest = [*lost, *notes] or [("", 0)]
        lost_total = stage.dropped + stage.quarantined
        table.add_row(
            stage.stage,
            f"{stage.entered:,}",
            f"{stage.kept:,}",
            f"{lost_total:,}",
            Text(first[0]),
            f"{first[1]:,}" if first[0] else "",
        )
        for reason, count in rest:
            table.add_row("", "", "", "", Text(reason), f"{count:,}")
    console.print(table)
    console.print(
        f"kept {totals.kept:,} + dropped {totals.dropped:,} + quarantined {totals.quarantined:,} "
        f"= {totals.ingested:,} ingested",
        highlight=False,
        soft_wrap=True,
    )


_BAR = 40
"""Characters of the longest bar of a histogram."""


def print_calibration(console: Console, found: Calibration) -> None:
    """What calibration found, and both histograms side by side."""
    table = Table("cosine", "true pairs", "", "shuffled", "", title_justify="left")
    table.title = f"{found.model}: {found.pairs:,} true pairs, {found.shuffled:,} shuffled"
    most_true, most_shuffled = max(found.true_counts), max(found.shuffled_counts)
    for start in range(0, len(found.true_counts), 3):
        true = sum(found.true_counts[start : start + 3])
        shuffled = sum(found.shuffled_counts[start : start + 3])
        low = found.edges[start]
        mark = " <- threshold" if low <= found.threshold < found.edges[start + 3] else ""
        table.add_row(
            f"{low:.3f}{mark}",
            "#" * round(_BAR / 3 * true / most_true / 3),
            f"{true:,}",
            "#" * round(_BAR / 3 * shuffled / most_shuffled / 3),
            f"{shuffled:,}",
        )
    console.print(table)
    console.print(
        f"AUC {found.auc:.4f}; suggested threshold {found.threshold:.4f} (99th percentile of "
        f"shuffled pairs); {found.share_above:.1%} of true pairs lie above it (lower 95% bound "
        f"{found.share_above_low:.1%}, the guard asks for 10%): "
        f"{'passed' if found.passed else 'NOT PASSED'}",
        highlight=False,
        soft_wrap=True,
    )
