"""The whole recipe, end to end."""

import json
import shutil

import pytest
from PIL import Image

from curation.core.errors import UsageError
from curation.io.corpus import open_corpus
from tests.pipeline.corpora import caption, curate, fates, ledger, picture, tree, write_pairs


def test_same_bytes_for_any_number_of_workers_and_on_a_second_run(pairs, tmp_path):
    for workers in (0, 1, 2):
        curate(pairs, tmp_path / f"w{workers}", workers=workers)
    first = tree(tmp_path / "w0")
    assert tree(tmp_path / "w1") == first
    assert tree(tmp_path / "w2") == first
    curate(pairs, tmp_path / "w0")
    assert tree(tmp_path / "w0") == first


def test_bytes_do_not_depend_on_where_the_source_lies(pairs, tmp_path):
    moved = shutil.copytree(pairs, tmp_path / "elsewhere" / "renamed")
    curate(pairs, tmp_path / "a")
    curate(moved, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_keeps_clean_pairs_and_balances(pairs, tmp_path):
    result = curate(pairs, tmp_path / "out")
    totals = result.corpus.totals
    assert (totals.ingested, totals.kept, totals.dropped, totals.quarantined) == (60, 60, 0, 0)
    assert result.export.totals.kept == 60
    assert ledger(open_corpus(str(tmp_path / "out")))["status"].to_pylist() == ["kept"] * 60


def test_changed_threshold_reuses_every_layer_and_shard(pairs, tmp_path):
    out = tmp_path / "out"
    curate(pairs, out)
    kept = {p: p.stat().st_mtime_ns for p in out.glob("corpus/layers/**/*") if p.is_file()}
    kept |= {p: p.stat().st_mtime_ns for p in out.glob("corpus/shards/*")}
    result = curate(pairs, out, "heuristics.min_side=250")
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert result.corpus.stages[0].reasons == {"min_side": 60}
    assert result.export.totals.kept == 0


def test_changed_and_changed_back_is_the_same_decision(pairs, tmp_path):
    out = tmp_path / "out"
    before = curate(pairs, out)
    curate(pairs, out, "heuristics.min_side=250")
    after = curate(pairs, out)
    assert after.corpus == before.corpus
    assert after.export == before.export


def test_each_defect_ends_where_it_belongs(tmp_path):
    source = write_pairs(tmp_path / "source", 20)
    images = source / "images"
    rows = (source / "pairs.jsonl").read_text().splitlines()
    picture(100, (120, 120)).save(images / "tiny.jpg")
    picture(101, (900, 220)).save(images / "wide.jpg")
    Image.new("RGB", (300, 300), "teal").save(images / "solid.png")
    (images / "html.jpg").write_text("<!doctype html><p>Not found</p>")
    whole = (images / "3.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").write_bytes(b"")
    shutil.copy(images / "4.jpg", images / "twin.jpg")
    Image.open(images / "5.jpg").save(images / "again.jpg", quality=60)
    more = {
        "tiny": ("tiny.jpg", caption(200)),
        "wide": ("wide.jpg", caption(201)),
        "solid": ("solid.png", caption(202)),
        "html": ("html.jpg", caption(203)),
        "cut": ("cut.jpg", caption(204)),
        "empty": ("empty.jpg", caption(205)),
        "gone": ("gone.jpg", caption(206)),
        "twin": ("twin.jpg", caption(4)),
        "again": ("again.jpg", caption(207)),
        "wordless": ("6.jpg", ""),
        "file_name": ("7.jpg", "IMG_0231.JPG"),
    }
    rows += [
        json.dumps({"image": f"images/{image}", "text": text, "id": name})
        for name, (image, text) in more.items()
    ]
    (source / "pairs.jsonl").write_text("\n".join(rows) + "\n")
    result = curate(source, tmp_path / "out")
    found = fates(tmp_path / "out")
    assert {name: found[name] for name in more} == {
        "tiny": ("dropped", "min_side"),
        "wide": ("dropped", "aspect_ratio"),
        "solid": ("dropped", "solid_colour"),
        "html": ("quarantined", "unsupported_format"),
        "cut": ("quarantined", "truncated_image"),
        "empty": ("quarantined", "empty_file"),
        "gone": ("quarantined", "missing_file"),
        "twin": ("dropped", "same_image_caption") if found[4][0] == "kept" else ("kept", None),
        "again": ("dropped", "near_image") if found[5][0] == "kept" else ("kept", None),
        "wordless": ("dropped", "no_caption"),
        "file_name": ("dropped", "file_name"),
    }
    assert sum(found[n] == ("kept", None) for n in (*range(20), "twin", "again")) == 20
    totals = result.corpus.totals
    assert totals.ingested == 31 == totals.kept + totals.dropped + totals.quarantined
    assert totals.quarantined == 4


def test_a_corpus_is_a_source_with_the_same_samples(pairs, tmp_path):
    curate(pairs, tmp_path / "a")
    curate(tmp_path / "a" / "corpus", tmp_path / "b", shard_samples=7)
    uids = [
        sorted(ledger(open_corpus(str(tmp_path / name)))["uid"].to_pylist()) for name in ("a", "b")
    ]
    assert uids[0] == uids[1]


def test_another_source_into_the_same_place_is_refused(pairs, tmp_path):
    curate(pairs, tmp_path / "out")
    other = write_pairs(tmp_path / "other", 5, start=500)
    with pytest.raises(UsageError, match="another source"):
        curate(other, tmp_path / "out")
