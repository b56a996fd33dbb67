"""Stages, thresholds and counts as the pages take them."""

from typing import Any

import numpy as np

from curation.report.funnel import Loss, Stage
from curation.report.viewer.fates import Fates
from curation.report.viewer.movable import Movable
from curation.report.wording import rule_text
from schemas import DROPPED, QUARANTINED

_WORDS = 200
"""Languages and clusters that are offered to choose from."""


def counts_of(codes: Any, words: list[str] | None) -> list[dict[str, Any]]:
    """Values with their counts, the most frequent first."""
    there = codes[codes >= 0]
    counts = np.bincount(there) if len(there) else np.zeros(0, np.int64)
    order = np.argsort(-counts, kind="stable")[:_WORDS]
    return [
        {"value": words[n] if words else int(n), "samples": int(counts[n])}
        for n in order.tolist()
        if counts[n]
    ]


def withheld_warnings(fates: Fates) -> list[str]:
    """That pictures are withheld, which list's want of a look it is, and what shows them."""
    count = fates.withheld()
    if not count:
        return []
    many = "s are" if count > 1 else " is"
    said = f"{count:,} sample{many} listed without pictures: "
    if fates.unheld:
        names = ", ".join(fates.unheld)
        return [
            f"{said}no stage held blocklist {names} against them. Those that it does not name are "
            "shown where its file is given: curate view --blocklist FILE"
        ]
    return [f"{said}they have no pHash to hold against a blocklist that names pHashes"]


def rule_told(rule: Movable) -> dict[str, Any]:
    """A threshold that can be moved."""
    limit = rule.limit
    return {
        "name": rule.name,
        "flag": rule.flag,
        "stage": limit.stage,
        "reason": limit.reason,
        "kind": limit.kind,
        "threshold": rule.threshold,
        "share": rule.share,
        "source": limit.source,
        "text": rule_text(
            {"column": limit.column, "kind": limit.kind, "threshold": rule.threshold}
        ),
    }


def stage_told(stage: Stage) -> dict[str, Any]:
    """A stage of the funnel."""
    return {
        "name": stage.name,
        "kind": stage.kind,
        "settings": stage.settings,
        "entered": stage.entered,
        "kept": stage.kept,
        "off": stage.off,
        "notes": stage.notes,
        "losses": [_loss(stage, loss) for loss in stage.losses if loss.count or not loss.off],
    }


def _loss(stage: Stage, loss: Loss) -> dict[str, Any]:
    """`filter` finds the samples: an operator's failures lie under the operator's own name."""
    where, _, code = loss.reason.rpartition(": ")
    return {
        "reason": loss.reason,
        "count": loss.count,
        "rule": loss.rule,
        "source": loss.source,
        "quarantined": loss.quarantined,
        "filter": {
            "status": QUARANTINED if loss.quarantined else DROPPED,
            "stage": where or stage.name if loss.quarantined else stage.name,
            "cause": code if loss.quarantined else loss.reason,
        },
    }
