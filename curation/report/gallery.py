"""Galleries: kept samples, drops of each reason, quarantined records; never what is blocked.

A blocklist names what nobody should see. A picture is therefore shown only of samples that every
list named for this corpus or its export has been held against and did not stop: not of those that
an earlier stage took away before the list was looked at.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import COLUMNS, Choice, Group, choose
from curation.report.columns import INGESTED, statuses
from curation.report.exported import export_ledgers, index_of, pick_exported, read_exported
from curation.report.funnel import error_meaning, reason_meaning, stage_recipes, stage_rules
from curation.report.pictures import Picked, Picture, Place, Read, pick, picture, reader_of
from curation.report.wording import PERSONAL, rule_text, shown_caption, verdict_text
from schemas import DROPPED, KEPT, QUARANTINED
from schemas.manifest import CorpusManifest, ExportManifest

KEPT_TILES, DROPPED_TILES, QUARANTINED_TILES = 24, 12, 6
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
        if self.last_look < 0:
            return True
        if row["status"] == KEPT:
            return self.last_look < len(self.order)
        return self.order.get(row["stage"], -1) > self.last_look


def curtain(
    manifest: CorpusManifest, export: ExportManifest | None, exported: frozenset[Place] | None
) -> Curtain:
    """What the manifest says of blocklists. `exported`: see `exported_of`."""
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
    wanted = pa.array(sorted({shard for shard, _ in places}), pa.int32())
    for path in shard_paths:
        table = read_table(store, index_of(path), ["source_shard", "source_row"])
        table = table.filter(pc.is_in(table["source_shard"], value_set=wanted))
        pairs = zip(table["source_shard"].to_pylist(), table["source_row"].to_pylist(), strict=True)
        found |= places.intersection(pairs)
    return frozenset(found)


def build_gallery(corpus: Corpus, export: tuple[Store, ExportManifest] | None) -> Gallery:
    """What is shown of a corpus; `export`, where there is one, made from it."""
    manifest = corpus.manifest
    plain = curtain(manifest, export[1] if export else None, None)
    tiles = _sizes(manifest)

    def size(group: Group) -> int:
        return 0 if plain.blocked(group) else tiles[group.status]

    choices = choose(statuses(corpus, COLUMNS), size)
    places = {place for choice in choices.values() for place in choice.samples}
    picked = pick(corpus, places)
    twins = pick(corpus, {p for p in map(_twin_place, picked.values()) if p} - places)
    exported = None
    if export and export_lists(export[1]):
        paths = read_table(export[0], export[1].tables["shards"].path, ["path"])["path"].to_pylist()
        exported = exported_of(export[0], paths, places | set(twins))
    drawn = curtain(manifest, export[1] if export else None, exported)
    # What a list stopped at export is kept by the corpus and shown by nobody.
    unseen = {p for p, s in {**twins, **picked}.items() if _stopped(drawn, s)}
    shown = {p: s for p, s in {**twins, **picked}.items() if p not in unseen}
    pictures = len(places) + sum(_twin_place(s) in shown for s in picked.values())
    room = min(_LARGEST_PICTURE, PICTURE_BYTES // max(1, pictures))
    return _Builder(manifest, drawn, shown, reader_of(corpus), room).build(choices)


def _stopped(drawn: Curtain, sample: Picked) -> bool:
    row = sample.ledger
    group = Group(row["status"], row["stage"] or "", row["reason"] or "")
    left_out = drawn.exported is not None and sample.place not in drawn.exported
    return drawn.blocked(group) or (row["status"] == KEPT and left_out)


def _sizes(manifest: CorpusManifest) -> dict[str, int]:
    """Tiles of a group by status; a dropped sample may bring its twin."""
    reasons = sum(len(stage.reasons) + len(stage.errors) for stage in manifest.stages)
    most = max(1, (MAX_TILES - 2 * KEPT_TILES) // max(1, 2 * reasons))
    return {
        KEPT: KEPT_TILES,
        INGESTED: KEPT_TILES,
        DROPPED: min(DROPPED_TILES, most),
        QUARANTINED: min(QUARANTINED_TILES, most),
    }


def _twin_place(sample: Picked) -> Place | None:
    row = sample.ledger
    if row["kept_by_row"] is None:
        return None
    return row["kept_by_shard"], row["kept_by_row"]


@dataclass(frozen=True)
class _Builder:
    """Turns chosen samples into panels."""

    manifest: CorpusManifest
    curtain: Curtain
    shown: dict[Place, Picked]
    read: Read
    room: int
    """Bytes that one thumbnail may take."""

    def build(self, choices: dict[Group, Choice]) -> Gallery:
        recipe = stage_recipes(self.manifest.recipe)
        rules = {name: stage_rules(stage) for name, stage in recipe.items()}
        kinds = {name: str(stage.get("kind", "")) for name, stage in recipe.items()}
        panels: dict[str, list[Panel]] = {KEPT: [], DROPPED: [], QUARANTINED: []}
        withheld = 0
        for group in sorted(choices, key=lambda g: self._order(g, rules)):
            choice = choices[group]
            rule = rules.get(group.stage, {}).get(group.cause)
            samples = [self.shown[p] for p in choice.samples if p in self.shown]
            tiles = [self._tile(s, rule, kinds.get(group.stage, "")) for s in samples]
            withheld += sum(tile.picture.why_not == WITHHELD for tile in tiles)
            panel = Panel(
                group=group,
                total=choice.total,
                rule=_asked(group, rule),
                tiles=tiles,
                lists=dict(sorted(choice.details.items())),
            )
            panels[KEPT if group.status == INGESTED else group.status].append(panel)
        return Gallery(panels[KEPT], panels[DROPPED], panels[QUARANTINED], withheld)

    def _order(self, group: Group, rules: dict[str, dict[str, Any]]) -> tuple[int, int, str, str]:
        """Position in the recipe; `ingest` comes before every stage."""
        stage = self.curtain.order.get(group.stage, -1)
        reasons = list(rules.get(group.stage, {}))
        nth = reasons.index(group.cause) if group.cause in reasons else len(reasons)
        return stage, nth, group.stage, group.cause

    def _tile(self, sample: Picked, rule: dict[str, Any] | None, kind: str) -> Tile:
        row = sample.ledger
        twin_place = _twin_place(sample)
        twin = self.shown.get(twin_place) if twin_place else None
        personal = rule is not None and rule["column"] in PERSONAL
        return Tile(
            uid=sample.uid,
            picture=self._picture(sample),
            caption=shown_caption(sample.text or "", sample.length, personal=personal),
            verdict=verdict_text(row, rule, kind) if row["status"] == DROPPED else "",
            size=_size(sample),
            twin=self._twin(twin) if twin else None,
        )

    def _twin(self, twin: Picked) -> Tile:
        row = twin.ledger
        fate = "stays" if row["status"] == KEPT else f"stays here; {row['stage']} takes it"
        return Tile(
            uid=twin.uid,
            picture=self._picture(twin),
            caption=shown_caption(twin.text or "", twin.length, personal=row["status"] != KEPT),
            verdict=fate,
            size=_size(twin),
        )

    def _picture(self, sample: Picked) -> Picture:
        if not self.curtain.cleared(sample):
            return Picture(why_not=WITHHELD)
        return picture(self.read, sample, self.room)


WITHHELD = "withheld: a blocklist was not held against it"


def _asked(group: Group, rule: dict[str, Any] | None) -> str:
    if group.status == QUARANTINED:
        return error_meaning(group.cause)
    return rule_text(rule) if rule is not None else reason_meaning(group.cause)


def _size(sample: Picked) -> str:
    return f"{sample.width:,} × {sample.height:,}" if sample.width and sample.height else ""  # noqa: RUF001


def gallery_of_export(store: Store, manifest: ExportManifest) -> Gallery:
    """Samples of an export whose corpus is not at hand: those that were written, and no others."""
    paths = read_table(store, manifest.tables["shards"].path, ["path"])["path"].to_pylist()
    choices = choose(export_ledgers(store, paths), lambda _: KEPT_TILES)
    panels = []
    for group, choice in choices.items():
        picked = pick_exported(store, paths, choice.samples)
        read = read_exported(store, paths)
        tiles = [
            Tile(
                uid=sample.uid,
                picture=picture(read, sample, _LARGEST_PICTURE),
                caption=shown_caption(sample.text or "", sample.length, personal=False),
                size=_size(sample),
            )
            for sample in picked
        ]
        panels.append(Panel(group=group, total=choice.total, rule="", tiles=tiles))
    return Gallery(panels, [], [], 0)


def totals_of(panels: Iterable[Panel]) -> dict[str, int]:
    """Samples by cause."""
    found: dict[str, int] = {}
    for panel in panels:
        found[panel.group.cause] = found.get(panel.group.cause, 0) + panel.total
    return found
