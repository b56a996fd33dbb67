"""The viewer on a million and on ten million samples: a dragged threshold, and fifty people."""

import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, PeakMemory, best
from curation.report.viewer.view import open_view
from tests.pipeline.corpora import curate, write_pairs
from tests.report.viewer.crowd import crowd
from tests.report.viewer.large import PER_SHARD, enlarge

SIZES = ((1_000_000, 0.2), (10_000_000, 2.0))
"""Samples, and seconds that an answer may take."""
STRIPS = 1.0
"""Seconds that the samples beside a line may take: they come once it rests."""
MOVED, OTHER = "heuristics.min_side", "heuristics.blur"


def _dragged(corpus: Path, samples: int, most: float) -> list[Figure]:
    with PeakMemory() as peak:
        start = time.perf_counter()
        view = open_view(str(corpus))
        opened = time.perf_counter()
        view.recount(MOVED, {})
        read = time.perf_counter()
        assert view.fates.size == samples
        places = iter(range(10**6))
        moved = best(lambda: view.recount(MOVED, {MOVED: 230.0 + 0.01 * next(places)}), 10)
        both = best(
            lambda: view.recount(
                MOVED, {MOVED: 230.0 + 0.01 * next(places), OTHER: 8.0 + 0.01 * next(places)}
            ),
            5,
        )
        strips = best(lambda: view.strip(MOVED, {MOVED: 230.0 + 0.01 * next(places)}), 5)
        view.close()
    return [
        Figure(
            f"the strips beside a dragged line on {samples:,} samples",
            f"{1000 * strips:.0f} ms",
            f"under {1000 * max(most, STRIPS):.0f} ms",
            strips < max(most, STRIPS),
        ),
        Figure(
            f"what if on {samples:,} samples, a line dragged",
            f"{1000 * moved:.0f} ms ({1000 * both:.0f} ms where another has moved, too; opened in "
            f"{opened - start:.1f} s, measures read in {read - opened:.1f} s, peak "
            f"{peak.bytes / 1e9:.1f} GB)",
            f"under {1000 * most:.0f} ms",
            max(moved, both) < most,
        ),
    ]


def _crowded(corpus: Path) -> Figure:
    told = crowd(corpus)
    spent = sorted(seconds for _, seconds in told)
    failed = sum(code != 200 for code, _ in told)
    median, late = spent[len(spent) // 2], spent[len(spent) * 95 // 100]
    return Figure(
        "50 requests at a time on 1,000,000 samples, from a cold start",
        f"median {median:.2f} s, p95 {late:.2f} s, {failed} of {len(told)} failed",
        "no error",
        not failed,
    )


def figures() -> list[Figure]:
    """Corpora of any size are drawn from the rows of a small one."""
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-viewer-") as name:
        folder = Path(name)
        curate(write_pairs(folder / "source", 60), folder / "small", shard_samples=60)
        for samples, most in SIZES:
            large = enlarge(folder / "small", folder / str(samples), samples // PER_SHARD)
            found += _dragged(large, samples, most)
            if samples == SIZES[0][0]:
                found.append(_crowded(large))
    return found
