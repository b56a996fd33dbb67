"""The funnel as a reader takes it: what was lost before the first stage has lines of its own.

A ledger puts a sample that ingest could not read, or on which an operator failed, under the stage
that met it first, so that it balances stage by stage. Told that way, the first stage seems to
have taken them.
"""

from collections import Counter
from dataclasses import replace

from schemas.manifest import StageSummary

INGEST = "ingest"
"""Line of samples that ingest could not read, or did not store because of a blocklist."""

MEASURE = "measure"
"""Line of samples on which an operator failed."""

BLOCKED = "blocked"
"""Reason of the samples that a blocklist stopped at ingest."""


def funnel_lines(stages: list[StageSummary]) -> list[StageSummary]:
    """The stages as they took samples away, after what ingest and the operators took.

    Each line is entered by what the line before kept, and what is kept in the end stays the same.
    `ingest` and `measure` are there only where they lost something; errors of `ingest` are codes,
    those of `measure` are `operator: code`. The lines of the stages themselves have no errors.
    """
    unread: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    blocked = 0
    for stage in stages:
        for error, count in stage.errors.items():
            where, _, code = error.partition(": ")
            if where == INGEST:
                unread[code] += count
            else:
                failed[error] += count
        blocked += stage.reasons.get(BLOCKED, 0)
    entered = stages[0].entered if stages else 0
    before = [
        _line(INGEST, entered, unread, {BLOCKED: blocked} if blocked else {}),
        _line(MEASURE, entered - unread.total() - blocked, failed, {}),
    ]
    lines = [line for line in before if line.kept < line.entered]
    for stage in stages:
        here = {reason: n for reason, n in stage.reasons.items() if reason != BLOCKED}
        entered = lines[-1].kept if lines else stage.entered
        dropped = sum(here.values())
        lines.append(
            replace(
                stage,
                entered=entered,
                kept=entered - dropped,
                dropped=dropped,
                quarantined=0,
                reasons=here,
                errors={},
            )
        )
    return lines


def _line(name: str, entered: int, errors: Counter[str], reasons: dict[str, int]) -> StageSummary:
    dropped, quarantined = sum(reasons.values()), errors.total()
    return StageSummary(
        stage=name,
        fingerprint="",
        entered=entered,
        kept=entered - dropped - quarantined,
        dropped=dropped,
        quarantined=quarantined,
        reasons=reasons,
        errors=dict(sorted(errors.items())),
    )
