"""Whether the CLIP can judge the corpus: its scores of true and of shuffled pairs, overlaid."""

from dataclasses import dataclass

from curation.report.chart import (
    GROUND,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Bar,
    HistogramChart,
    Line,
    Place,
    linear_ticks,
    thinned,
)
from curation.report.wording import compact, display_safe, number, percent
from schemas.manifest import Calibration

ASKED = 0.10
"""Share of true pairs above the threshold that the guard asks for, at its lower bound."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A calibration as it is shown."""

    model: str
    passed: bool
    verdict: str
    chart: HistogramChart
    facts: list[tuple[str, str]]


def calibrated(said: Calibration | None) -> Calibrated | None:
    """What a calibration says; null where the corpus has none."""
    if said is None:
        return None
    return Calibrated(
        model=display_safe(said.model, 120),
        passed=said.passed,
        verdict=_verdict(said),
        chart=calibration_chart(said),
        facts=[
            ("AUC", f"{number(said.auc)} (chance 0.5)"),
            ("threshold", f"{number(said.threshold)}, the 99th percentile of shuffled pairs"),
            ("true pairs above it", f"{_share(said.share_above)} (chance 1%)"),
            ("lower 95% bound", f"{_share(said.share_above_low)} (asked: {_share(ASKED)})"),
            ("true pairs", f"{said.pairs:,}"),
            ("shuffled pairs", f"{said.shuffled:,}"),
        ],
    )


def _share(share: float) -> str:
    return percent(round(share * 1_000_000), 1_000_000)


def _verdict(said: Calibration) -> str:
    """The guard's word, for those who read no chart."""
    above = f"{_share(said.share_above)} of the true pairs score above what 99% of the shuffled do"
    if said.passed:
        return f"Passed: {above}, so that a low score means that caption and image do not agree."
    return (
        f"NOT passed: {above}, at least {_share(said.share_above_low)} with 95% confidence; "
        f"{_share(ASKED)} is asked for. This CLIP cannot tell which caption belongs to an image."
    )


def calibration_chart(said: Calibration) -> HistogramChart:
    """Shares of the shuffled pairs by score as `bars`, those of the true ones as what is kept."""
    low, high = said.edges[0], said.edges[-1]
    true, shuffled = max(1, sum(said.true_counts)), max(1, sum(said.shuffled_counts))
    pairs = list(zip(said.true_counts, said.shuffled_counts, strict=True))
    most = max([t / true for t, _ in pairs] + [s / shuffled for _, s in pairs]) or 1.0

    def place(score: float) -> float:
        share = (score - low) / (high - low) if high > low else 0.0
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - RIGHT - LEFT), 2)

    def rise(share: float) -> float:
        return round(max(1.0, share / most * (GROUND - TOP)), 2) if share else 0.0

    bars = []
    for nth, (hits, others) in enumerate(pairs):
        start, stop = place(said.edges[nth]), place(said.edges[nth + 1])
        up, other = rise(hits / true), rise(others / shuffled)
        bars.append(
            Bar(
                x=start,
                width=round(max(0.5, stop - start - 0.4), 2),
                y=round(GROUND - other, 2),
                height=other,
                kept_y=round(GROUND - up, 2),
                kept_height=up,
                title=f"{number(said.edges[nth])} to {number(said.edges[nth + 1])}: "
                f"{hits:,} true pairs, {others:,} shuffled",
            )
        )
    heights = [(GROUND - h / most * (GROUND - TOP), h) for h in linear_ticks(0, most, 3)]
    return HistogramChart(
        height=GROUND + 22,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        ground=GROUND,
        bars=[bar for bar in bars if bar.height or bar.kept_height],
        lines=[_threshold(said.threshold, place)],
        x_ticks=thinned([(place(t), compact(t)) for t in _ticks(low, high)], across=True),
        y_ticks=thinned([(round(y, 2), f"{100 * h:.3g}%") for y, h in heights], across=False),
        log_counts=False,
    )


def _ticks(low: float, high: float) -> list[float]:
    return [round(tick, 9) + 0.0 for tick in linear_ticks(low, high, 6)] if high > low else [low]


def _threshold(value: float, place: Place) -> Line:
    x = place(value)
    at_end = x > WIDTH / 2
    return Line(
        x=x,
        label=f"threshold {number(value)}",
        label_x=x - 5 if at_end else x + 5,
        label_y=13.0,
        anchor="end" if at_end else "start",
        fail_x=LEFT,
        fail_width=round(x - LEFT, 2),
        beyond=False,
    )
