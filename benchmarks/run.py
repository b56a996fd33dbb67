"""The whole recipe on generated pairs, as a user runs it: rate, and memory that does not grow."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figure import WITHOUT_CLIP, Figure, PeakMemory

WORKERS = 2


def timed(folder: Path, pairs: int) -> tuple[float, int]:
    """Seconds and peak memory (of all its processes) of `curate run` on generated pairs."""
    source = folder / f"source-{pairs}"
    generate = ["-m", "curation.demo", "generate", "--out", str(source), "--pairs", str(pairs)]
    subprocess.run([sys.executable, *generate], check=True)
    command = ["-m", "curation", "run", "image-text", "--input", str(source / "source")]
    command += ["--out", str(folder / f"run-{pairs}"), "--workers", str(WORKERS), *WITHOUT_CLIP]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with PeakMemory(psutil.Process(process.pid)) as peak:
        assert process.wait() == 0
    seconds = time.perf_counter() - start
    shutil.rmtree(source)
    return seconds, peak.bytes


def figures(large: int = 50_000) -> list[Figure]:
    """Pairs a second, and peak memory against a tenth of the pairs."""
    with tempfile.TemporaryDirectory(prefix="bench-run-") as name:
        _, small = timed(Path(name), large // 10)
        seconds, peak = timed(Path(name), large)
    return [
        Figure(
            f"curate run on {large:,} generated pairs, {WORKERS} workers, without CLIP scores",
            f"{large / seconds:,.0f} pairs/s ({seconds:,.0f} s)",
            "stated",
            True,
        ),
        Figure(
            f"its peak memory against {large // 10:,} pairs",
            f"{peak / small:.2f}x ({peak / 1e6:,.0f} against {small / 1e6:,.0f} MB)",
            "at most 1.3x",
            peak <= 1.3 * small,
        ),
    ]
