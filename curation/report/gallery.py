"""Galleries: kept samples, drops of each reason, quarantined records; never what is blocked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import COLUMNS, Choice, Group, choose
from curation.report.columns import INGESTED, statuses
from curation.report.exported import export_ledgers, pick_exported, read_exported
from curation.report.funnel import error_meaning, reason_meaning, stage_recipes, stage_rules
from curation.report.pictures import picture, reader_of
from curation.report.plain_words import reason_title, rule_words
from curation.report.tiles import (
    LARGEST_PICTURE,
    PICTURE_BYTES,
    WITHHELD,
    Exported,
    Tile,
    TileMaker,
    behind_curtain,
    curtain,
    size_text,
    twin_place,
)
from curation.report.wording import rule_text, shown_caption
from schemas import DROPPED, KEPT, QUARANTINED
from schemas.manifest import CorpusManifest, ExportManifest

KEPT_TILES, DROPPED_TILES, QUARANTINED_TILES = 24, 8, 8
MAX_TILES = 480
"""Tiles of a page; with very many reasons each shows fewer."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The tiles of one group."""

    group: Group
    title: str
    """The reason as a heading; empty for what is kept."""
    total: int
    rule: str
    tiles: list[Tile]
    lists: dict[str, int] = field(default_factory=dict)
    """Blocklist to the samples it stopped, which are not shown."""


@dataclass(frozen=True)
class Gallery:
    """Panels by fate, the largest first; of the same size in the order of the recipe."""

    kept: list[Panel]
    dropped: list[Panel]
    quarantined: list[Panel]
    withheld: int
    """Tiles without a picture because a blocklist was not yet held against the sample."""

    @property
    def spent(self) -> int:
        """Bytes that the pictures take."""
        panels = (*self.kept, *self.dropped, *self.quarantined)
        tiles = [tile for panel in panels for tile in panel.tiles]
        shown = [*tiles, *(tile.twin for tile in tiles if tile.twin)]
        return sum(len(tile.picture.uri) for tile in shown)


def build_gallery(
    corpus: Corpus,
    export: Exported | None,
    *,
    entries: Mapping[str, str] | None = None,
    pictures: int = PICTURE_BYTES,
) -> Gallery:
    """What is shown of a corpus; `export`, where there is one, made from it.

    `entries` names vocabulary entries (see TileMaker); `pictures` is what all thumbnails may take,
    in bytes.
    """
    manifest = corpus.manifest
    plain = curtain(manifest, export[1] if export else None, None)
    tiles = _sizes(manifest)

    def size(group: Group) -> int:
        return 0 if plain.blocked(group) else tiles[group.status]

    choices = choose(statuses(corpus, COLUMNS), size)
    places = {place for choice in choices.values() for place in choice.samples}
    drawn, shown = behind_curtain(corpus, export, places)
    twins = [twin_place(sample) for place, sample in shown.items() if place in places]
    shots = len(places) + sum(place in shown for place in twins)
    room = min(LARGEST_PICTURE, pictures // max(1, shots))
    maker = TileMaker(
        curtain=drawn, shown=shown, read=reader_of(corpus), room=room, entries=entries or {}
    )
    return _panels(manifest, maker, choices)


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


def _panels(manifest: CorpusManifest, maker: TileMaker, choices: dict[Group, Choice]) -> Gallery:
    recipe = stage_recipes(manifest.recipe)
    rules = {name: stage_rules(stage) for name, stage in recipe.items()}
    kinds = {name: str(stage.get("kind", "")) for name, stage in recipe.items()}
    panels: dict[str, list[Panel]] = {KEPT: [], DROPPED: [], QUARANTINED: []}
    withheld = 0
    for group in sorted(choices, key=lambda g: _order(g, maker.curtain.order, rules)):
        choice = choices[group]
        rule = rules.get(group.stage, {}).get(group.cause)
        samples = [maker.shown[p] for p in choice.samples if p in maker.shown]
        tiles = [maker.tile(s, rule, kinds.get(group.stage, "")) for s in samples]
        withheld += sum(tile.picture.why_not == WITHHELD for tile in tiles)
        panel = Panel(
            group=group,
            title=reason_title(group.cause),
            total=choice.total,
            rule=_asked(group, rule),
            tiles=tiles,
            lists=dict(sorted(choice.details.items())),
        )
        panels[KEPT if group.status == INGESTED else group.status].append(panel)
    largest = {status: sorted(of, key=lambda p: -p.total) for status, of in panels.items()}
    return Gallery(largest[KEPT], largest[DROPPED], largest[QUARANTINED], withheld)


def _order(
    group: Group, stages: dict[str, int], rules: dict[str, dict[str, Any]]
) -> tuple[int, int, str, str]:
    """Position in the recipe; `ingest` comes before every stage."""
    reasons = list(rules.get(group.stage, {}))
    nth = reasons.index(group.cause) if group.cause in reasons else len(reasons)
    return stages.get(group.stage, -1), nth, group.stage, group.cause


def _asked(group: Group, rule: dict[str, Any] | None) -> str:
    if group.status == QUARANTINED:
        return error_meaning(group.cause)
    if rule is None:
        return reason_meaning(group.cause)
    said, asked = rule_words(rule), rule_text(rule)
    return said if asked in said else f"{said} ({asked} is asked for)"


def gallery_of_export(
    store: Store, manifest: ExportManifest, pictures: int = PICTURE_BYTES
) -> Gallery:
    """Samples of an export whose corpus is not at hand: those that were written, and no others.

    `pictures`: see build_gallery.
    """
    room = min(LARGEST_PICTURE, pictures // KEPT_TILES)
    paths = read_table(store, manifest.tables["shards"].path, ["path"])["path"].to_pylist()
    choices = choose(export_ledgers(store, paths), lambda _: KEPT_TILES)
    panels = []
    for group, choice in choices.items():
        picked = pick_exported(store, paths, choice.samples)
        read = read_exported(store, paths)
        tiles = [
            Tile(
                uid=sample.uid,
                picture=picture(read, sample, room),
                caption=shown_caption(sample.text or "", sample.length, personal=False),
                size=size_text(sample),
            )
            for sample in picked
        ]
        panels.append(Panel(group=group, title="", total=choice.total, rule="", tiles=tiles))
    return Gallery(panels, [], [], 0)


def totals_of(panels: Iterable[Panel]) -> dict[str, int]:
    """Samples by cause."""
    found: dict[str, int] = {}
    for panel in panels:
        found[panel.group.cause] = found.get(panel.group.cause, 0) + panel.total
    return found
