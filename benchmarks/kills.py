"""Kills `curate run` with SIGKILL at 20 random moments; each time it must end in the same bytes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure

KILLS = 20


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def figures(pairs: int = 1_500) -> list[Figure]:
    """Runs that came out equal, of all that were killed."""
    rng = random.Random(5)
    with tempfile.TemporaryDirectory(prefix="bench-kills-") as name:
        folder = Path(name)
        generate = ["-m", "curation.demo", "generate", "--out", str(folder / "demo")]
        subprocess.run([sys.executable, *generate, "--pairs", str(pairs)], check=True)

        def start(out: str) -> subprocess.Popen[bytes]:
            command = [
                "-m",
                "curation",
                "run",
                "image-text",
                "--input",
                str(folder / "demo/source"),
            ]
            command += ["--out", str(folder / out), "--workers", "2", "--shard-samples", "100"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return subprocess.Popen([sys.executable, *command], **quiet)

        began = time.perf_counter()
        assert start("calm").wait() == 0
        seconds = time.perf_counter() - began
        expected = _tree(folder / "calm")
        equal = killed = too_late = 0
        while killed < KILLS:
            out = f"run-{killed}-{too_late}"
            process = start(out)
            try:
                process.wait(timeout=rng.uniform(0.05, 0.98) * seconds)
                too_late += 1  # it had finished: another moment, and this one does not count
                continue
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
            assert start(out).wait() == 0
            equal += _tree(folder / out) == expected
            shutil.rmtree(folder / out)
    return [
        Figure(
            f"runs of {pairs:,} pairs killed at {killed} random moments, then resumed",
            f"{equal} of {KILLS} byte-identical",
            "all",
            equal == KILLS,
        )
    ]
