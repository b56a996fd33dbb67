"""Galleries: what may be shown, with what it was held against; what is blocked never is."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.io.corpus import open_any
from curation.report.choice import Group
from curation.report.gallery import KEPT_TILES, Gallery, build_gallery, gallery_of_export
from curation.report.pictures import Picked
from curation.report.tiles import WITHHELD, curtain
from schemas.manifest import CorpusManifest, Input, StageSummary, Totals
from tests.pipeline.corpora import caption, picture, tree, write_pairs


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def gallery(path: Path) -> Gallery:
    opened = open_any(str(path))
    assert opened.corpus is not None
    return build_gallery(opened.corpus, opened.export)


def captions(made: Gallery) -> set[str]:
    """Of every tile and twin."""
    panels = [*made.kept, *made.dropped, *made.quarantined]
    tiles = [t for panel in panels for t in panel.tiles]
    return {t.caption for t in tiles} | {t.twin.caption for t in tiles if t.twin}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """12 pairs: 2 small, 3 and 4 look alike, 5 unreadable, 6 with an address in its caption."""
    folder = write_pairs(tmp_path / "source", 12)
    images = folder / "images"
    picture(2, (120, 110)).save(images / "2.jpg")
    picture(3).resize((520, 480)).save(images / "4.jpg", quality=90)
    (images / "5.jpg").write_bytes(b"")
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    lines[6]["text"] = "Write to the painter at ann.lee@example.com or 020 7946 0958"
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def done(source: Path, tmp_path: Path) -> Path:
    run("run", "image-text", "--input", source, "--out", tmp_path / "out", "--workers", "0")
    return tmp_path / "out"


def test_every_group_has_a_panel_with_its_verdicts(done):
    made = gallery(done)
    (kept,) = made.kept
    assert kept.total == len(kept.tiles) == 8
    assert all(tile.picture.uri.startswith("data:image/jpeg;base64,") for tile in kept.tiles)
    assert [(p.group.cause, p.total) for p in made.dropped] == [
        ("min_side", 1), ("email", 1), ("near_image", 1),
    ]  # fmt: skip
    small, email, near = (panel.tiles[0] for panel in made.dropped)
    assert (small.verdict, small.size, small.caption) == (
        "min_side 110 < 200",
        "120 \N{MULTIPLICATION SIGN} 110",
        caption(2),
    )
    assert email.caption == "Write to the painter at •••@••• or ••• •••• ••••"
    assert near.caption == caption(3)
    assert near.twin is not None
    assert (near.twin.caption, near.twin.verdict) == (caption(4), "stays")
    assert near.twin.picture.uri
    (unread,) = made.quarantined
    assert unread.group == Group("quarantined", "ingest", "empty_file")
    assert unread.tiles[0].picture.why_not == "empty file"
    assert made.withheld == 0


def test_kept_samples_are_drawn_and_no_more_than_fit(tmp_path):
    source = write_pairs(tmp_path / "many", 40)
    run("run", "image-text", "--input", source, "--out", tmp_path / "m", "--workers", "0")
    made = gallery(tmp_path / "m")
    (kept,) = made.kept
    assert (kept.total, len(kept.tiles)) == (40, KEPT_TILES)
    assert len({tile.uid for tile in kept.tiles}) == KEPT_TILES
    again = gallery(tmp_path / "m")
    assert again == made
    alone = open_any(str(tmp_path / "m" / "export"))
    assert alone.export is not None
    (exported,) = gallery_of_export(*alone.export).kept
    assert (exported.total, len(exported.tiles)) == (40, KEPT_TILES)
    assert {t.caption for t in exported.tiles} <= {caption(n) for n in range(40)}
    assert all(t.picture.uri and t.size for t in exported.tiles)


def listing(source: Path, numbers: tuple[int, ...], at: Path) -> Path:
    """A blocklist of the SHA-256 of those images."""
    hashes = [
        hashlib.sha256((source / "images" / f"{n}.jpg").read_bytes()).hexdigest() for n in numbers
    ]
    at.write_text("\n".join(hashes))
    return at


def test_what_a_list_stopped_is_counted_and_not_shown(source, tmp_path):
    abuse = listing(source, (4, 7), tmp_path / "abuse.txt")
    common = ("--input", source, "--out", tmp_path / "b", "--workers", "0")
    run("run", "image-text", *common, "--set", f"blocklist.lists={abuse}")
    made = gallery(tmp_path / "b")
    (blocked,) = [p for p in made.dropped if p.group.stage == "blocklist"]
    assert (blocked.total, blocked.lists, blocked.tiles) == (2, {"abuse": 2}, [])
    assert not captions(made) & {caption(4), caption(7)}
    # What an earlier stage took away has been held against no list: its picture stays hidden.
    small = next(p for p in made.dropped if p.group.cause == "min_side")
    assert [t.picture.why_not for t in small.tiles] == [WITHHELD]
    assert made.withheld == 3
    assert all(tile.picture.uri for tile in made.kept[0].tiles)


def test_what_ingest_stopped_is_not_shown_though_nothing_is_decided(source, tmp_path):
    abuse = listing(source, (7,), tmp_path / "abuse.txt")
    run("ingest", source, "--out", tmp_path / "c", "--blocklist", abuse, "--workers", "0")
    made = gallery(tmp_path / "c")
    (blocked,) = made.dropped
    assert (blocked.group, blocked.lists) == (Group("dropped", "ingest", "blocked"), {"abuse": 1})
    assert caption(7) not in captions(made)
    # A list of pHashes has not been held against anything yet.
    assert {t.picture.why_not for p in made.kept for t in p.tiles} == {WITHHELD}


def test_what_a_list_stopped_at_export_is_not_shown(done, source, tmp_path):
    optout = listing(source, (4, 8), tmp_path / "optout.txt")
    export = done / "export"
    before = tree(done / "corpus")
    shutil.rmtree(export)
    run("export", done / "corpus", "--out", export, "--blocklist", optout, "--workers", "0")
    assert tree(done / "corpus") == before
    made = gallery(done)
    assert not captions(made) & {caption(4), caption(8)}
    assert len(made.kept[0].tiles) == 6
    near = next(p for p in made.dropped if p.group.cause == "near_image")
    assert near.tiles[0].twin is None
    assert near.tiles[0].picture.why_not == WITHHELD


def manifest(
    *stages: tuple[str, str, list[str]], ingest: tuple[str, ...] = (), off: str = ""
) -> CorpusManifest:
    """Of stages (name, kind, lists) in order, and of lists that ingest looked at."""
    totals = Totals(ingested=1, kept=1, dropped=0, quarantined=0)
    named = [{"sha256": sha} for sha in ingest]
    return CorpusManifest(
        format_version=1,
        code_version="",
        family="image-text",
        recipe={
            "stages": [
                {"name": n, "kind": k, "lists": [{"sha256": s} for s in lists],
                 "off": off if k == "Blocklist" else ""}
                for n, k, lists in stages
            ]
        },
        seed=0,
        inputs=[
            Input(
                format="table", options={"blocklists": named}, listing="", samples=1,
                samples_in_source=1, bytes=1, first_shard=0, stop_shard=1,
            )
        ],
        schemas={},
        tables={},
        totals=totals,
        stages=[
            StageSummary(stage=n, fingerprint="", entered=1, kept=1, dropped=0, quarantined=0)
            for n, _, _ in stages
        ],
    )  # fmt: skip


def sample(status: str, stage: str | None = None, reason: str | None = None) -> Picked:
    row = {"shard": 0, "row": 0, "status": status, "stage": stage, "reason": reason, "error": None}
    return Picked(ledger=row, text=None, length=0, width=None, height=None, member=None)


EARLY = sample("dropped", "heuristics", "blur")
LATE = sample("dropped", "near_dedup", "near_image")
BLOCKED = sample("dropped", "blocklist", "blocked_url")
STAGES = ("heuristics", "Select", []), ("blocklist", "Blocklist", ["a"]), ("near_dedup", "N", [])
BARE = ("heuristics", "Select", []), ("blocklist", "Blocklist", []), ("near_dedup", "N", [])


@pytest.mark.parametrize(
    ("said", "cleared"),
    [
        (manifest(*BARE), (True, True, True)),
        (manifest(*STAGES), (True, False, True)),
        (manifest(*STAGES, ingest=("a",)), (True, False, True)),
        (manifest(*STAGES, ingest=("b",)), (False, False, False)),
        (manifest(*STAGES, off="not today"), (False, False, False)),
        (manifest(*BARE, off="no lists"), (True, True, True)),
    ],
)
def test_a_picture_is_shown_once_every_list_was_looked_at(said, cleared):
    drawn = curtain(said, None, None)
    assert tuple(drawn.cleared(s) for s in (sample("kept"), EARLY, LATE)) == cleared
    assert not drawn.cleared(BLOCKED)
