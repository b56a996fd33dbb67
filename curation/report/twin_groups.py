"""Images that say the same thing, side by side: the one that stays, then those it stands for."""

import heapq
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import MAX_ROWS
from curation.io.corpus import Corpus
from curation.report.columns import statuses
from curation.report.pictures import Place, reader_of
from curation.report.stage_tables import stage_table, stages_of
from curation.report.tiles import LARGEST_PICTURE, Exported, Tile, TileMaker, behind_curtain
from schemas.manifest import StageSummary

GROUPS = 8
"""Groups that are shown, the largest."""
TWINS = 5
"""Dropped samples of a group that are shown: those that are least alike."""
BYTES = 600_000
"""Of a page's PICTURE_BYTES, what these pictures may take."""

_LISTED = 1000
"""Groups that the stage lists at most (curation.relational.semantic_dedup)."""
_COLUMNS = ["shard", "row", "uid", "stage", "value", "kept_by_shard", "kept_by_row"]


@dataclass(frozen=True, kw_only=True)
class TwinGroup:
    """One group."""

    twins: int
    least: float
    """The lowest cosine by which one was dropped."""
    best: Tile | None
    """The one that stays; null where a blocklist stopped it at export."""
    dropped: list[Tile]


@dataclass(frozen=True, kw_only=True)
class Twins:
    """One stage that drops semantic twins."""

    stage: str
    total: int
    """Samples dropped."""
    groups: int
    more_groups: bool
    """There are more than `groups`."""
    notes: dict[str, int]
    shown: list[TwinGroup]

    @property
    def spent(self) -> int:
        """Bytes that the pictures take."""
        tiles = [tile for group in self.shown for tile in (group.best, *group.dropped) if tile]
        return sum(len(tile.picture.uri) for tile in tiles)


def twin_groups(corpus: Corpus, export: Exported | None) -> list[Twins]:
    """Of each stage that found any; `export`, where there is one, made from the corpus."""
    found = []
    stages = [(s, stage_table(corpus, s, "groups")) for s in stages_of(corpus, "SemanticDedup")]
    listed = [(stage, table) for stage, table in stages if table is not None and table.num_rows]
    for stage, table in listed:
        groups = table.slice(0, GROUPS).to_pylist()
        found.append(
            Twins(
                stage=stage.stage,
                total=stage.dropped,
                groups=table.num_rows,
                more_groups=table.num_rows >= _LISTED,
                notes=stage.notes,
                shown=_shown(corpus, export, stage, groups, BYTES // len(listed)),
            )
        )
    return found


def _shown(
    corpus: Corpus,
    export: Exported | None,
    stage: StageSummary,
    groups: list[dict[str, Any]],
    budget: int,
) -> list[TwinGroup]:
    heads = [(group["shard"], group["row"]) for group in groups]
    members = _members(corpus, stage.stage, heads)
    places = [*heads, *(place for group in members.values() for place in group)]
    drawn, shown = behind_curtain(corpus, export, places)
    room = min(LARGEST_PICTURE, budget // max(1, len(places)))
    maker = TileMaker(curtain=drawn, shown=shown, read=reader_of(corpus), room=room)
    return [
        TwinGroup(
            twins=group["twins"],
            least=group["least_value"],
            best=maker.twin(shown[head]) if head in shown else None,
            dropped=[
                maker.tile(shown[place], None, "SemanticDedup", twin=False)
                for place in members[head]
                if place in shown
            ],
        )
        for group, head in zip(groups, heads, strict=True)
    ]


def _members(corpus: Corpus, stage: str, heads: list[Place]) -> dict[Place, list[Place]]:
    """Of each head those dropped for it, the least alike first; the ledger is read by shard."""
    best: dict[Place, list[tuple[float, str, int, int]]] = {head: [] for head in heads}
    wanted = pa.array([shard * MAX_ROWS + row for shard, row in heads], pa.int64())
    for table in statuses(corpus, _COLUMNS):
        mine = table.filter(pc.equal(table["stage"], stage))
        keys = pc.add(
            pc.multiply(mine["kept_by_shard"].cast(pa.int64()), MAX_ROWS), mine["kept_by_row"]
        )
        for row in mine.filter(pc.is_in(keys, value_set=wanted)).to_pylist():
            head = (row["kept_by_shard"], row["kept_by_row"])
            said = (row["value"], row["uid"], row["shard"], row["row"])
            best[head] = heapq.nsmallest(TWINS, [*best[head], said])
    return {head: [(shard, row) for *_, shard, row in found] for head, found in best.items()}
