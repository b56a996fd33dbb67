"""A killed run continues to the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.corpora import tree, write_pairs

REPO = Path(__file__).resolve().parents[2]


def command(source: Path, out: Path) -> list[str]:
    run = [sys.executable, "-m", "curation", "run", "image-text"]
    return [
        *run,
        "--input",
        str(source),
        "--out",
        str(out),
        "--workers",
        "2",
        "--shard-samples",
        "40",
    ]


def run_to_end(source: Path, out: Path) -> float:
    start = time.monotonic()
    done = subprocess.run(
        command(source, out), cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - start


def run_and_kill(source: Path, out: Path, after: float) -> bool:
    """Starts a run and kills it with its workers; whether it was still running then."""
    process = subprocess.Popen(
        command(source, out), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    source = write_pairs(tmp_path / "source", 240)
    seconds = run_to_end(source, tmp_path / "calm")
    expected = tree(tmp_path / "calm")
    rng = random.Random(11)
    killed = 0
    for attempt in range(4):
        out = tmp_path / f"killed-{attempt}"
        killed += run_and_kill(source, out, rng.uniform(0.25, 0.9) * seconds)
        killed += run_and_kill(source, out, rng.uniform(0.3, 0.9) * seconds)
        run_to_end(source, out)
        assert tree(out) == expected
    assert killed >= 4


def test_workers_end_with_their_killed_parent(tmp_path):
    source = write_pairs(tmp_path / "source", 60)
    process = subprocess.Popen(
        command(source, tmp_path / "out"),
        cwd=REPO,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while len(group(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(group(process.pid)) >= 2
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 20
    while group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group(process.pid) == []


def group(leader: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found
