"""What making a corpus took, as the logs beside it tell; outside the reproducible part."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from curation.report.run_record import RunRecord

STEPS = 4
"""Steps that are named, the longest; the rest is one more."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Time that one step took in all commands together."""

    name: str
    seconds: float
    share: float
    """Of all time, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """All commands that left a log, together."""

    commands: int
    unfinished: int
    """Commands that failed, were stopped or are running."""
    seconds: float
    """Wall-clock time of the machine they were started on."""
    rate: float | None
    """Samples a second over all of it; null where no log tells of the ingest."""
    per_million: float | None
    """Machine-hours that a million samples would take at this rate."""
    peak_memory_bytes: int | None
    """Of the largest process."""
    cpus: int
    """Of the machine of the newest command."""
    steps: list[Step]
    cluster: bool
    """A command ran on Spark or Ray, whose workers these times leave out."""
    newest: str
    """The day on which the newest command began, YYYY-MM-DD; empty where its log tells none."""

    @property
    def machine_hours(self) -> float:
        """Hours of the machine, whatever share of its CPUs was busy."""
        return self.seconds / 3600


def cost_of(records: list[RunRecord], ingested: int) -> Cost | None:
    """What `records`, oldest first, say together of a corpus of `ingested` samples.

    Null where there is none, or no time in any.
    """
    seconds = sum(record.spent for record in records)
    if not records or seconds <= 0:
        return None
    whole = any(step.stage == "ingest" for record in records for step in record.stages)
    known = whole and ingested > 0
    peaks = [r.peak_memory_bytes for r in records if r.peak_memory_bytes is not None]
    return Cost(
        commands=len(records),
        unfinished=sum(record.state != "finished" for record in records),
        seconds=seconds,
        rate=ingested / seconds if known else None,
        per_million=seconds / ingested * 1e6 / 3600 if known else None,
        peak_memory_bytes=max(peaks, default=None),
        cpus=records[-1].cpus,
        steps=_steps(records, seconds),
        cluster=any(record.cluster for record in records),
        newest=_day(records[-1].started),
    )


def _day(started: str) -> str:
    try:
        return datetime.fromisoformat(started).date().isoformat()
    except ValueError:
        return ""


def _steps(records: Iterable[RunRecord], whole: float) -> list[Step]:
    """The longest; parts of a step, as `near_dedup: read`, are told with it."""
    taken: dict[str, float] = {}
    for record in records:
        for step in record.stages:
            name = step.stage.partition(":")[0]
            taken[name] = taken.get(name, 0.0) + step.spent
    ranked = sorted(taken.items(), key=lambda item: (-item[1], item[0]))
    named = [(name, spent) for name, spent in ranked[:STEPS] if spent > 0]
    rest = whole - sum(spent for _, spent in named)
    if rest > 0.005 * whole:
        named.append(("start and the rest", rest))
    return [Step(name=name, seconds=spent, share=spent / whole) for name, spent in named]
