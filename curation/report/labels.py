"""Labels: what somebody thinks of single samples, as the viewer saves them.

One JSON object a line: `uid`, `shard`, `row`, `label` (`keep` or `drop`); other fields are left
alone. A label holds for a sample as long as its place has its uid, however often the corpus was
decided again.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curation.core.corpus import index_path
from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.io.tables import read_table

KEEP: Final = "keep"
DROP: Final = "drop"

_LINE = 1 << 16
"""Bytes of a line; the viewer writes some 200."""

Place = tuple[int, int]


@dataclass(frozen=True)
class Label:
    """One opinion."""

    uid: str
    keep: bool


def read_labels(path: str) -> dict[Place, Label]:
    """Labels by shard and row, in that order. Raises UsageError naming the line that is none.

    Files may be joined: the same label twice counts once, two that disagree are refused.
    """
    found: dict[Place, tuple[int, Label]] = {}
    with Path(path).open("rb") as file:
        number = 0
        while line := file.readline(_LINE + 1):
            number += 1
            if len(line) > _LINE:
                raise UsageError(f"{path}, line {number}: longer than {_LINE:,} bytes; no label")
            if not line.strip():
                continue
            place, label = _label(line, f"{path}, line {number}")
            first, before = found.setdefault(place, (number, label))
            if before != label:
                raise UsageError(
                    f"{path}, line {number}: contradicts line {first} about shard {place[0]}, "
                    f"row {place[1]}; leave one of them"
                )
    return {place: found[place][1] for place in sorted(found)}


def _label(line: bytes, where: str) -> tuple[Place, Label]:
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: no JSON object") from error
    fields = said if isinstance(said, dict) else {}
    uid, shard, row, label = (fields.get(name) for name in ("uid", "shard", "row", "label"))
    if "uid" in fields and "label" in fields and not {"shard", "row"} <= fields.keys():
        raise UsageError(
            f"{where}: no shard and row; twins share a uid, so the label does not say which one "
            "it is of: mark again in curate view"
        )
    named = isinstance(uid, str) and isinstance(label, str) and label in (KEEP, DROP)
    if not (named and type(shard) is int and type(row) is int):
        raise UsageError(f"{where}: a label has uid, shard, row, and label: keep or drop")
    return (shard, row), Label(str(uid), label == KEEP)


def labels_here(corpus: Corpus, labels: dict[Place, Label]) -> dict[Place, Label]:
    """Those labels whose place in this corpus has their uid; a shard's uids are read once."""
    by_shard: dict[int, list[int]] = {}
    for number, row in labels:
        by_shard.setdefault(number, []).append(row)
    found: dict[Place, Label] = {}
    for shard in corpus.shards:
        rows = [row for row in by_shard.get(shard.shard, []) if 0 <= row < shard.samples]
        if rows:
            uids = read_table(corpus.store, index_path(shard.shard), ["uid"])["uid"].take(rows)
            for row, uid in zip(rows, uids.to_pylist(), strict=True):
                label = labels[shard.shard, row]
                if label.uid == uid:
                    found[shard.shard, row] = label
    return found
