"""`curate` in processes of its own, ended or killed, and what they told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from curation.trainer.metrics import read_metrics

ROOT = Path(__file__).parents[2]


def command(*arguments: object) -> tuple[list[str], dict[str, str]]:
    """Words and environment of `curate` with these arguments."""
    words = [sys.executable, "-m", "curation", *map(str, arguments)]
    return words, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def ended(*arguments: object) -> str:
    """Runs a command to its end, which must be well; returns what it printed."""
    words, environment = command(*arguments)
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def killed(out: Path, after: int, *arguments: object) -> None:
    """Runs a command and kills it once `out` tells of that many steps."""
    words, environment = command(*arguments)
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 240
        while len(read_metrics(out)) < after:
            assert process.poll() is None and time.monotonic() < end, process.stderr
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "model").exists()


def losses(out: Path) -> list[tuple[int, float, dict[str, float]]]:
    """Step, loss and the losses of its families, of each step."""
    return [(r["step"], r["loss"], r["losses"]) for r in read_metrics(out)]
