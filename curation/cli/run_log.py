"""The log of one command: times, host and where it is, in a folder beside what it works on.

`DIR.runs/` lies outside the byte-for-byte promise: it is the only place that holds a clock.
"""

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from curation.version import __version__

_BEAT = 2.0
"""Seconds between notes of how far the running stage is."""
_PULSE = 5.0
"""Seconds between notes where a stage has nothing to say: what a kill can hide of the time."""
_LOOK = 0.5
"""Seconds between looks at what the processes hold."""


class RunLog:
    """Written when a stage starts and ends and every few seconds between; silent if it cannot be.

    While a command runs, `elapsed` says how many seconds it has taken so far, of the whole and of
    the stage that runs; a killed command leaves these. A log that cannot be written (read-only
    place, full disk) must not stop the work: the work itself will say so.
    """

    def __init__(self, target: str, command: list[str]) -> None:
        self._path: Path | None = None
        if target and ("://" not in target):
            folder = Path(f"{target.rstrip('/')}.runs")
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            self._path = folder / f"{stamp}-{os.getpid()}.json"
        self._start = time.monotonic()
        self._last = self._looked = 0.0
        self._peak = 0
        self._open: list[tuple[dict[str, Any], float]] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._pulse: threading.Thread | None = None
        self.record: dict[str, Any] = {
            "command": command,
            "version": __version__,
            "host": platform.node(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "pid": os.getpid(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": "running",
            "stages": [],
            "notes": [],
        }

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Times one stage; one that fails keeps the time that it took as `elapsed`."""
        entry: dict[str, Any] = {"stage": label, "seconds": None}
        start = time.monotonic()
        with self._lock:
            self.record["stages"].append(entry)
            self._open.append((entry, start))
            self._write()
        self._watch()
        ended = False
        try:
            yield
            ended = True
        finally:
            with self._lock:
                self._open.remove((entry, start))
                entry.pop("elapsed", None)
                entry["seconds" if ended else "elapsed"] = round(time.monotonic() - start, 3)
                self._write()

    def beat(self, label: str, done: int, total: int | None) -> None:
        """How far the running stage is."""
        with self._lock:
            entry = self.record["stages"][-1]
            entry["done"], entry["total"] = done, total
            self._look()
            if time.monotonic() - self._last >= _BEAT:
                self._write()

    def note(self, line: str) -> None:
        """A line that was shown."""
        with self._lock:
            self.record["notes"].append(line)

    def end(self, state: str) -> None:
        """The command is over: finished, failed or stopped."""
        self._over.set()
        with self._lock:
            self.record["state"] = state
            self.record["seconds"] = round(time.monotonic() - self._start, 3)
            self._look(at_least=0.0)
            self.record["peak_memory_bytes"] = self._peak
            self.record.pop("elapsed", None)
            self._write()

    def seconds(self, *labels: str) -> float:
        """Time spent so far in stages whose label starts with one of `labels`, or in all."""
        stages = self.record["stages"]
        chosen = [s for s in stages if not labels or s["stage"].startswith(labels)]
        return float(sum(stage["seconds"] or 0 for stage in chosen))

    def _look(self, at_least: float = _LOOK) -> None:
        """Notes the most that one of the processes has held: workers end before the command."""
        now = time.monotonic()
        if now - self._looked >= at_least:
            self._looked, self._peak = now, max(self._peak, _peak_memory())

    def _watch(self) -> None:
        """Starts the notes that are made where no work is told of: a part may take minutes."""
        if self._pulse is None and self._path is not None and not self._over.is_set():
            self._pulse = threading.Thread(target=self._beat_on, name="run-log", daemon=True)
            self._pulse.start()

    def _beat_on(self) -> None:
        while not self._over.wait(max(0.01, self._last + _PULSE - time.monotonic())):
            with self._lock:
                if not self._over.is_set() and time.monotonic() - self._last >= _PULSE:
                    self._write()

    def _write(self) -> None:
        self._look()
        self._last = time.monotonic()
        for entry, start in self._open:
            entry["elapsed"] = round(self._last - start, 3)
        if self.record["state"] == "running":
            self.record["elapsed"] = round(self._last - self._start, 3)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside = self._path.with_suffix(".part")
            aside.write_text(json.dumps(self.record, indent=1))
            aside.replace(self._path)
        except OSError as error:
            print(f"no log: {error}", file=sys.stderr)
            self._path = None


def _peak_memory() -> int:
    """Bytes that this process, or one that it started, has held at most."""
    here = psutil.Process()
    return max(map(_held, (here, *here.children(recursive=True))), default=0)


def _held(process: psutil.Process) -> int:
    """Bytes that a process has held at most, so far; 0 for one that is gone."""
    status = Path(f"/proc/{process.pid}/status")
    try:
        lines = status.read_text().splitlines() if status.is_file() else []
        peaks = (int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
        return next(peaks, 0) or int(process.memory_info().rss)
    except (OSError, psutil.Error):
        return 0


def latest(target: str) -> dict[str, Any] | None:
    """The newest log beside `target`, its state `interrupted` where the process is gone."""
    folder = Path(f"{target.rstrip('/')}.runs")
    logs = sorted(folder.glob("*.json")) if folder.is_dir() else []
    for path in reversed(logs):
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if record.get("state") == "running" and not _alive(record):
            record["state"] = "interrupted"
        return record
    return None


def _alive(record: dict[str, Any]) -> bool:
    return record.get("host") == platform.node() and psutil.pid_exists(int(record.get("pid", 0)))
