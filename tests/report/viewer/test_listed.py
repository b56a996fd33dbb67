"""Blocklists whose files are at hand: every sample is held against them, whatever became of it."""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from curation.cli.main import main
from curation.core.blocklist import BlockFile
from curation.core.corpus import Layer, index_path
from curation.io.tables import read_table
from curation.report.viewer.view import open_view
from tests.report.viewer.corpora import asked, get, hostile_corpus, view_of, viewer


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return hostile_corpus(tmp_path_factory.mktemp("listed"))


def listing(folder: Path, name: str, *entries: str) -> BlockFile:
    file = folder / name
    file.write_text("\n".join(entries))
    return BlockFile.at(str(file))


def test_with_a_lists_file_only_what_it_names_is_withheld(tmp_path):
    """4 is small, 5 a twin of 6, 7 unreadable. What fell before the list is shown unless named."""
    hostile_corpus(tmp_path)
    shutil.rmtree(tmp_path / "out")
    images = tmp_path / "source" / "images"
    shas = [hashlib.sha256((images / f"{n}.jpg").read_bytes()).hexdigest() for n in (9, 4)]
    first, both = listing(tmp_path, "nine.txt", shas[0]), listing(tmp_path, "both.txt", *shas)
    run = ["run", "image-text", "--input", tmp_path / "source", "--out", tmp_path / "b"]
    settings = ["--set", f"blocklist.lists={first.path}", "--set", "clip_select.off=so"]
    assert main([*map(str, run), "--workers", "0", *settings]) == 0
    named = viewer(open_view(str(tmp_path / "b"), lists=(first,)))
    assert get(named, "/image?at=4")[0] == 200
    assert get(named, "/image?at=9")[0] == 404
    assert not [w for w in asked(named, "overview")["warnings"] if "blocklist" in w]
    assert [
        tile["at"] for tile in asked(named, "samples?limit=60")["tiles"] if tile["why_not"]
    ] == [7]
    # Another list does not stand for it, and hides what it names itself, kept or not.
    other = viewer(open_view(str(tmp_path / "b"), lists=(both,)))
    assert get(other, "/image?at=4")[0] == 404
    tiles = {tile["at"]: tile["why_not"] for tile in asked(other, "samples?limit=60")["tiles"]}
    assert {4, 9} & tiles.keys() == set()
    assert asked(other, "sample?at=4")["hidden"]
    # pHashes: what has none cannot be known not to be named.
    phash = viewer(open_view(str(tmp_path / "b"), lists=(first, listing(tmp_path, "p", "0" * 16))))
    assert get(phash, "/image?at=4")[0] == 200
    assert asked(phash, "samples?limit=60")["tiles"][7]["why_not"].startswith("withheld: no pHash")


@pytest.mark.parametrize("kind", ["sha256", "uid", "url", "domain", "phash"])
def test_every_kind_of_entry_hides_whatever_became_of_the_sample(out, tmp_path, kind):
    """0 is kept, 4 dropped by heuristics, 5 by de-duplication."""
    view = view_of(out)
    corpus = view.corpus
    index = pa.concat_tables(read_table(corpus.store, index_path(s.shard)) for s in corpus.shards)
    (ref,) = (ref for ref in corpus.manifest.layers if "phash" in ref.columns)
    layer = Layer(ref.operator, ref.fingerprint)
    hashes = pa.concat_tables(
        read_table(corpus.store, layer.path(s.shard), ["phash"]) for s in corpus.shards
    )["phash"].to_pylist()
    rows = index.to_pylist()
    for at in (0, 4, 5):
        row = rows[at]
        entry = {
            "sha256": row["members"][0]["sha256"],
            "uid": row["uid"],
            "url": f"url:{row['source_url']}",
            "domain": f"domain:{row['domain'].partition('.')[2]}",
            "phash": f"phash:{(hashes[at] ^ 5) % (1 << 64):016x}/2",
        }[kind]
        app = viewer(open_view(str(out), lists=(listing(tmp_path, f"{kind}{at}", entry),)))
        said = asked(app, f"sample?at={at}")
        assert said["hidden"]
        assert get(app, f"/image?at={at}")[0] == 404
        assert asked(app, f"caption?at={at}") == {"text": ""}
        shown = {tile["at"] for tile in asked(app, "samples?limit=60")["tiles"]}
        assert at not in shown
        if kind in ("sha256", "uid", "url"):
            assert len(shown) == 15
        if kind == "domain":
            assert shown == set()
