"""What the logs beside a run say of time and machine; outside the reproducible part."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """One step of the command."""

    stage: str
    seconds: float | None
    """Null where it did not end."""
    done: int
    """Samples it went through."""
    elapsed: float | None = None
    """Seconds until the last note of it, where it did not end; null in logs that say none."""

    @property
    def spent(self) -> float:
        """Seconds it ran, or is known to have run."""
        return self.seconds if self.seconds is not None else self.elapsed or 0.0

    @property
    def rate(self) -> float | None:
        """Samples a second."""
        return self.done / self.spent if self.spent and self.done else None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One command that worked on the corpus and left a log."""

    command: str
    version: str
    host: str
    python: str
    cpus: int
    started: str
    state: str
    seconds: float | None
    peak_memory_bytes: int | None
    stages: list[StageTime]

    elapsed: float | None = None
    """Seconds until the last note in the log, where it did not end."""
    cluster: bool = False
    """It ran on an engine whose workers are elsewhere."""

    @property
    def spent(self) -> float:
        """Seconds it ran; where it did not end, those until the log's last note."""
        if self.seconds is not None:
            return self.seconds
        steps = sum(step.spent for step in self.stages)
        return max(steps, self.elapsed or 0.0)

    @property
    def cpu_hours(self) -> float | None:
        """Of all CPUs of the machine for as long as the command ran: the most it can have cost."""
        return None if self.seconds is None else self.seconds * self.cpus / 3600


def run_records(path: str) -> list[RunRecord]:
    """Every readable log of `path` (for a corpus or export in a run directory, of that run).

    The oldest first. Empty where there is none: a corpus on an object store, or one that came
    without its logs.
    """
    if "://" in path:
        return []
    found = []
    for log in sorted(_folder(path).glob("*.json")):
        try:
            said = json.loads(log.read_text())
            if isinstance(said, dict):
                found.append(_record(said))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half a log, or no log of ours
    return found


def _folder(path: str) -> Path:
    target = Path(path).absolute()
    if target.name in ("corpus", "export") and (target.parent / "corpus").is_dir():
        target = target.parent
    return target.with_name(f"{target.name}.runs")


def _record(said: dict[str, Any]) -> RunRecord:
    seconds, peak = said.get("seconds"), said.get("peak_memory_bytes")
    elapsed = said.get("elapsed")
    return RunRecord(
        command=" ".join(["curate", *map(str, said["command"])]),
        version=str(said["version"]),
        host=str(said["host"]),
        python=str(said["python"]),
        cpus=int(said["cpus"] or 1),
        started=str(said["started"]),
        state=str(said["state"]),
        seconds=None if seconds is None else float(seconds),
        peak_memory_bytes=None if peak is None else int(peak),
        stages=[
            StageTime(
                stage=str(stage["stage"]),
                seconds=None if stage["seconds"] is None else float(stage["seconds"]),
                done=int(stage.get("done") or 0),
                elapsed=None if stage.get("elapsed") is None else float(stage["elapsed"]),
            )
            for stage in said["stages"]
        ],
        elapsed=None if elapsed is None else float(elapsed),
        cluster=_on_cluster([str(word) for word in said["command"]]),
    )


def _on_cluster(words: list[str]) -> bool:
    """Whether a command named Spark or Ray, as its engine or as that of a stage."""
    values = [word.rpartition("=")[2] for word in words]
    return any(value in ("spark", "ray") for value in values)
