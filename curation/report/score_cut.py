"""Where CLIP selection cut: the scores of those that came to it, and its thresholds."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.io.corpus import Corpus
from curation.report.axis import BINS, Limit
from curation.report.chart import HistogramChart, histogram_chart
from curation.report.columns import Column
from curation.report.histogram import Histogram
from curation.report.stage_tables import stage_table, stages_of

_BIN = 1 / 128
"""Width of a bin of the stage's histogram (curation.relational.clip_select)."""

_COLUMN = Column(name="clip_score", operator="clip", folder="", words=False, integer=False)


@dataclass(frozen=True, kw_only=True)
class ScoreCut:
    """One stage that selects by CLIP score."""

    stage: str
    chart: HistogramChart
    cutoffs: list[dict[str, Any]]
    """Rule, threshold, and of the scored samples those below and at it."""
    scored: int
    notes: dict[str, int]


def score_cuts(corpus: Corpus) -> list[ScoreCut]:
    """Of each stage that scored something."""
    found = []
    for stage in stages_of(corpus, "ClipSelect"):
        bins = stage_table(corpus, stage, "histogram")
        cutoffs = stage_table(corpus, stage, "cutoffs")
        if bins is None or cutoffs is None or not bins.num_rows:
            continue
        limits = [_limit(stage.stage, row, stage.reasons) for row in cutoffs.to_pylist()]
        counted = _histogram(bins, limits)
        found.append(
            ScoreCut(
                stage=stage.stage,
                chart=histogram_chart(counted),
                cutoffs=cutoffs.to_pylist(),
                scored=counted.measured,
                notes=stage.notes,
            )
        )
    return found


def _limit(stage: str, row: dict[str, Any], dropped: dict[str, int]) -> Limit:
    return Limit(
        stage=stage,
        reason=row["rule"],
        column="clip_score",
        kind="at_least",
        threshold=float(row["threshold"]),
        source="",
        drops_missing=False,
        dropped=dropped.get(row["rule"], 0),
        fails=row["below"],
    )


def _histogram(bins: pa.Table, limits: list[Limit]) -> Histogram:
    """The stage's bins, so many together that they can be told apart, empty ones between."""
    by_bin = {
        round(lower / _BIN): samples
        for lower, samples in zip(
            bins["lower"].to_pylist(), bins["samples"].to_pylist(), strict=True
        )
    }
    together = 1
    while (max(by_bin) - min(by_bin)) // together >= BINS:
        together *= 2
    wide: dict[int, int] = {}
    for nth, samples in by_bin.items():
        wide[nth // together] = wide.get(nth // together, 0) + samples
    first, last, width = min(wide), max(wide), together * _BIN
    return Histogram(
        column=_COLUMN,
        edges=[nth * width for nth in range(first, last + 2)],
        log=False,
        counts=[wide.get(nth, 0) for nth in range(first, last + 1)],
        below=0,
        above=0,
        kept=None,
        kept_below=0,
        kept_above=0,
        measured=sum(by_bin.values()),
        missing=0,
        minimum=first * width,
        maximum=(last + 1) * width,
        limits=limits,
    )
