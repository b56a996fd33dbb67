"""Samples as they are shown, and the curtain before those that nobody should see.

A blocklist names what nobody should see. A picture is therefore shown only of samples that every
list named for this corpus or its export has been held against and did not stop: not of those that
an earlier stage took away before the list was looked at, unless the list's file is at hand and
they were looked up in it (curation.report.viewer.listed).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import Group
from curation.report.exported import index_of
from curation.report.funnel import stage_recipes
from curation.report.pictures import Picked, Picture, Place, Read, pick, picture
from curation.report.wording import PERSONAL, shown_caption, verdict_text
from schemas import DROPPED, KEPT
from schemas.manifest import CorpusManifest, ExportManifest

PICTURE_BYTES = 3_400_000
"""Bytes that all thumbnails of a page may take, as base64."""
LARGEST_PICTURE = 24_000

BLOCKLIST = "Blocklist"
WITHHELD = "withheld: a blocklist was not held against it"

Exported = tuple[Store, ExportManifest]


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
        if self.last_look < 0:
            return True
        if row["status"] == KEPT:
            return self.last_look < len(self.order)
        return self.order.get(row["stage"], -1) > self.last_look


def curtain(
    manifest: CorpusManifest,
    export: ExportManifest | None,
    exported: frozenset[Place] | None,
    given: frozenset[str] = frozenset(),
) -> Curtain:
    """What the manifest says of blocklists. `exported`: see `exported_of`.

    `given` are hashes of lists that every sample is held against elsewhere.
    """
    recipe = stage_recipes(manifest.recipe)
    order = {stage.stage: nth for nth, stage in enumerate(manifest.stages)}
    looked: dict[str, int] = {}
    named = {x["sha256"] for i in manifest.inputs for x in i.options.get("blocklists", [])}
    for name, nth in order.items():
        stage = recipe.get(name, {})
        for listed in stage.get("lists", []):
            if stage.get("off"):
                named.add(listed["sha256"])
            else:
                looked.setdefault(listed["sha256"], nth)
    # Ingest looks at bytes and names, not at pixels: only a stage has looked a list up whole.
    never = len(order)
    named -= given
    looked = {sha: nth for sha, nth in looked.items() if sha not in given}
    last = max([*looked.values(), *(looked.get(sha, never) for sha in named)], default=-1)
    blocking = frozenset(n for n, stage in recipe.items() if stage.get("kind") == BLOCKLIST)
    listed = export is not None and bool(export_lists(export))
    return Curtain(blocking, last, order, (exported or frozenset()) if listed else None)


def list_names(manifest: CorpusManifest, export: ExportManifest | None) -> dict[str, str]:
    """Names of the lists that a corpus and its export name, by SHA-256."""
    said = [x for i in manifest.inputs for x in i.options.get("blocklists", [])]
    for stage in stage_recipes(manifest.recipe).values():
        said += stage.get("lists", [])
    said += export_lists(export) if export is not None else []
    return {str(x["sha256"]): str(x.get("name", "")) for x in said}


def export_lists(export: ExportManifest) -> list[Any]:
    """Blocklists that were given for the export."""
    said: list[Any] = export.recipe.get("export", {}).get("blocklists", [])
    return said


def exported_of(store: Store, shard_paths: list[str], places: set[Place]) -> frozenset[Place]:
    """Those of `places` (shard and row of the corpus) that an export holds."""
    found: set[Place] = set()
    wanted = pa.array(sorted({shard for shard, _ in places}), pa.int32())
    for path in shard_paths:
        table = read_table(store, index_of(path), ["source_shard", "source_row"])
        table = table.filter(pc.is_in(table["source_shard"], value_set=wanted))
        pairs = zip(table["source_shard"].to_pylist(), table["source_row"].to_pylist(), strict=True)
        found |= places.intersection(pairs)
    return frozenset(found)


def behind_curtain(
    corpus: Corpus, export: Exported | None, places: Iterable[Place]
) -> tuple[Curtain, dict[Place, Picked]]:
    """The samples at `places` and their twins, without those that a list stopped.

    What a list stopped at export is kept by the corpus and shown by nobody.
    """
    wanted = set(places)
    picked = pick(corpus, wanted)
    picked |= pick(corpus, {p for p in map(twin_place, picked.values()) if p} - wanted)
    exported = None
    if export and export_lists(export[1]):
        paths = read_table(export[0], export[1].tables["shards"].path, ["path"])["path"].to_pylist()
        exported = exported_of(export[0], paths, set(picked))
    drawn = curtain(corpus.manifest, export[1] if export else None, exported)
    return drawn, {p: s for p, s in picked.items() if not _stopped(drawn, s)}


def _stopped(drawn: Curtain, sample: Picked) -> bool:
    row = sample.ledger
    group = Group(row["status"], row["stage"] or "", row["reason"] or "")
    left_out = drawn.exported is not None and sample.place not in drawn.exported
    return drawn.blocked(group) or (row["status"] == KEPT and left_out)


def twin_place(sample: Picked) -> Place | None:
    """Where the sample lies in whose favour this one was dropped."""
    row = sample.ledger
    if row["kept_by_row"] is None:
        return None
    return row["kept_by_shard"], row["kept_by_row"]


@dataclass(frozen=True, kw_only=True)
class TileMaker:
    """Turns samples into tiles."""

    curtain: Curtain
    shown: dict[Place, Picked]
    """Samples that may stand on the page."""
    read: Read
    room: int
    """Bytes that one thumbnail may take."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """Name of a vocabulary entry by what a verdict calls it."""

    def tile(
        self, sample: Picked, rule: dict[str, Any] | None, kind: str, *, twin: bool = True
    ) -> Tile:
        """`rule`: the one that dropped it; `kind`: of its stage; `twin`: shown beside it."""
        row = sample.ledger
        place = twin_place(sample) if twin else None
        best = self.shown.get(place) if place else None
        personal = rule is not None and rule["column"] in PERSONAL
        dropped = row["status"] == DROPPED
        return Tile(
            uid=sample.uid,
            picture=self._picture(sample),
            caption=shown_caption(sample.text or "", sample.length, personal=personal),
            verdict=verdict_text(row, rule, kind, self.entries) if dropped else "",
            size=size_text(sample),
            twin=self.twin(best) if best else None,
        )

    def twin(self, twin: Picked) -> Tile:
        """The one in whose favour others were dropped."""
        row = twin.ledger
        fate = "stays" if row["status"] == KEPT else f"stays here; {row['stage']} takes it"
        return Tile(
            uid=twin.uid,
            picture=self._picture(twin),
            caption=shown_caption(twin.text or "", twin.length, personal=row["status"] != KEPT),
            verdict=fate,
            size=size_text(twin),
        )

    def _picture(self, sample: Picked) -> Picture:
        if not self.curtain.cleared(sample):
            return Picture(why_not=WITHHELD)
        return picture(self.read, sample, self.room)


def size_text(sample: Picked) -> str:
    """Pixels, where they are known."""
    return f"{sample.width:,} × {sample.height:,}" if sample.width and sample.height else ""  # noqa: RUF001
