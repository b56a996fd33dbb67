"""What balance made of common and rare entries: ranks before and after, and t."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.io.corpus import Corpus
from curation.report.evened import balance_tables
from schemas.manifest import StageSummary

_POINTS = 240
"""Points of a line; ranks between are left out evenly on a logarithmic axis."""
_LISTED = 5_000
"""Entries that are listed, the most common; the rarest are listed besides."""
_RAREST = 200

Counts = npt.NDArray[np.int64]


def balanced(corpus: Corpus, entries: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Of each stage that balances; `entries`: ids by language and entry of the vocabulary."""
    found = []
    for stage, counts, thresholds, by in balance_tables(corpus):
        found.append(
            {
                "stage": stage.stage,
                "by": by,
                "entered": stage.entered,
                "kept": stage.kept,
                "notes": stage.notes,
                "languages": _languages(
                    stage, counts, thresholds, {} if by == "cluster" else entries
                ),
            }
        )
    return found


def _languages(
    stage: StageSummary,
    counts: pa.Table,
    thresholds: pa.Table,
    entries: Mapping[str, Mapping[str, int]],
) -> list[dict[str, Any]]:
    made = []
    for row in thresholds.to_pylist():
        name = row["language"]
        mine = counts.filter(pc.equal(counts["language"], name))
        names = {number: entry for entry, number in entries.get(name, {}).items()}
        made.append(_language(name, int(row["t"]), mine, names))
    return sorted(made, key=lambda said: (-said["matches"], said["name"]))


def _language(name: str, t: int, counts: pa.Table, names: dict[int, str]) -> dict[str, Any]:
    ids, p = counts["entry"].to_numpy(), counts["p"].to_numpy()
    before, after = counts["samples"].to_numpy(), counts["kept"].to_numpy()
    order = np.lexsort((ids, -before))
    chosen = order if len(order) <= _LISTED else np.concatenate([order[:_LISTED], order[-_RAREST:]])
    common = before > t
    return {
        "name": name,
        "t": t,
        "entries": len(ids),
        "matches": int(before.sum()),
        "kept": int(after.sum()),
        "in_head": int(common.sum()),
        "head_before": int(before[common].sum()),
        "head_after": int(after[common].sum()),
        "before": _line(np.sort(before)[::-1]),
        "after": _line(np.sort(after)[::-1]),
        "rows": [
            {
                "id": f"{name}:{ids[at]}",
                "name": names.get(int(ids[at]), f"{name}:{ids[at]}"),
                "samples": int(before[at]),
                "kept": int(after[at]),
                "p": float(p[at]),
            }
            for at in chosen
        ],
    }


def _line(counts: Counts) -> list[tuple[int, int]]:
    """Rank (from 1) and count of entries that have any, the commonest first."""
    counts = counts[counts > 0]
    if not len(counts):
        return []
    ranks = np.unique(np.geomspace(1, len(counts), _POINTS).astype(np.int64))
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]
