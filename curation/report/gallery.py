"""Galleries: kept samples, drops of each reason, quarantined records; never what is blocked.

A blocklist names what nobody should see. A picture is therefore shown only of samples that every
list named for this corpus or its export has been held against and did not stop: not of those that
an earlier stage took away before the list was looked at.
"""

from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import Group
from curation.report.funnel import stage_recipes
from curation.report.pictures import Picked, Picture, Place
from schemas import DROPPED, KEPT
from schemas.manifest import CorpusManifest, ExportManifest

KEPT_TILES, DROPPED_TILES, QUARANTINED_TILES = 24, 8, 6
MAX_TILES = 480
"""Tiles of a page; with very many reasons each shows fewer."""
PICTURE_BYTES = 3_400_000
"""Bytes that all thumbnails of a page may take, as base64."""
_LARGEST_PICTURE = 24_000

BLOCKLIST = "Blocklist"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One sample as it is shown; text is safe to display, not yet escaped."""

    uid: str
    picture: Picture
    caption: str
    verdict: str = ""
    """What was measured against what was asked."""
    size: str = ""
    twin: "Tile | None" = None
    """The twin that stayed."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The tiles of one group."""

    group: Group
    total: int
    rule: str
    tiles: list[Tile]
    lists: dict[str, int] = field(default_factory=dict)
    """Blocklist to the samples it stopped, which are not shown."""


@dataclass(frozen=True)
class Gallery:
    """Panels by fate, drops in the order of the recipe."""

    kept: list[Panel]
    dropped: list[Panel]
    quarantined: list[Panel]
    withheld: int
    """Tiles without a picture because a blocklist was not yet held against the sample."""


@dataclass(frozen=True)
class Curtain:
    """Who may be shown."""

    blocking: frozenset[str]
    """Stages that are blocklists."""
    last_look: int
    """Position of the stage after which every list has been looked at; -1 where none is named."""
    order: dict[str, int]
    """Position of each stage."""
    exported: frozenset[Place] | None
    """Samples that passed the lists of the export; null where it had none."""

    def blocked(self, group: Group) -> bool:
        """Whether a blocklist stopped the samples of this group."""
        at_ingest = group.stage == "ingest" and group.cause == "blocked"
        listed = group.stage in self.blocking or group.cause.startswith("blocked")
        return group.status == DROPPED and (at_ingest or listed)

    def cleared(self, sample: Picked) -> bool:
        """Whether every list has been held against a sample that none of them stopped."""
        row = sample.ledger
        if self.blocked(Group(row["status"], row["stage"] or "", row["reason"] or "")):
            return False
        if self.exported is not None and (row["shard"], row["row"]) not in self.exported:
            return False
        if self.last_look < 0 or row["status"] == KEPT:
            return self.last_look < len(self.order)
        return self.order.get(row["stage"], -1) > self.last_look


def curtain(
    manifest: CorpusManifest, export: ExportManifest | None, exported: frozenset[Place] | None
) -> Curtain:
    """What the manifest says of blocklists. `exported`: see `exported_of`."""
    recipe = stage_recipes(manifest.recipe)
    order = {stage.stage: nth for nth, stage in enumerate(manifest.stages)}
    looked: dict[str, int] = {}
    for name, nth in order.items():
        for listed in recipe.get(name, {}).get("lists", []):
            looked.setdefault(listed["sha256"], nth)
    named = {x["sha256"] for i in manifest.inputs for x in i.options.get("blocklists", [])}
    # Ingest looks at bytes and names, not at pixels: only a stage has looked a list up whole.
    never = len(order)
    last = max([*looked.values(), *(looked.get(sha, never) for sha in named)], default=-1)
    blocking = frozenset(n for n, stage in recipe.items() if stage.get("kind") == BLOCKLIST)
    listed = export is not None and bool(export_lists(export))
    return Curtain(blocking, last, order, (exported or frozenset()) if listed else None)


def export_lists(export: ExportManifest) -> list[Any]:
    """Blocklists that were given for the export."""
    said: list[Any] = export.recipe.get("export", {}).get("blocklists", [])
    return said


def exported_of(store: Store, shard_paths: list[str], places: set[Place]) -> frozenset[Place]:
    """Those of `places` (shard and row of the corpus) that an export holds."""
    found: set[Place] = set()
    wanted = sorted({shard for shard, _ in places})
    for path in shard_paths:
        name = f"index/{path.removesuffix('.tar')}.parquet"
        table = read_table(store, name, ["source_shard", "source_row"])
        table = table.filter(pc.is_in(table["source_shard"], value_set=_int32(wanted)))
        pairs = zip(table["source_shard"].to_pylist(), table["source_row"].to_pylist(), strict=True)
        found |= places.intersection(pairs)
    return frozenset(found)


def _int32(values: list[int]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.int32())
