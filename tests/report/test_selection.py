"""The sections on selection, held against what stands in the layers and ledgers themselves."""

import dataclasses
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.core.blocklist import BlockFile
from curation.core.corpus import Layer, StageLedger
from curation.core.progress import SILENT
from curation.core.vocabulary import Vocabulary
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_any, open_corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.operators.image.pixels import ImagePixels
from curation.operators.image.probe import ImageProbe
from curation.operators.text.caption_text import CaptionText
from curation.operators.text.concepts import Concepts
from curation.operators.vision_language.visual_cluster import VisualCluster
from curation.pipeline.calibrate import calibrate
from curation.pipeline.card import not_measured
from curation.pipeline.export import export
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.recipe import NOT_ASKED, ExportOptions, Recipe
from curation.pipeline.run import run
from curation.relational.balance import Balance
from curation.relational.clip_select import ClipSelect
from curation.relational.decontaminate import Decontaminate
from curation.relational.semantic_dedup import SemanticDedup
from curation.report.entry_names import vocabulary_entries
from curation.report.funnel import reason_meaning
from curation.report.page import write_report
from curation.report.selection import Selection, selection
from curation.report.tiles import PICTURE_BYTES
from curation.report.twin_groups import TWINS
from schemas import KEPT
from tests.pipeline.corpora import ledger, picture
from tests.report.planted_clip import PlantedClip, planted_pairs, words
from tests.report.test_page import ATTRIBUTES, TAGS, Page

COUNT = 120
AGREE = "whether caption and image agree (CLIP score)"
BENCHMARK = "<b>bench"
HOSTILE = "<script>alert(1)</script> \u202e\u2066model"


def made(source: Path, out: Path, *, blind: bool = False, **concepts: Vocabulary) -> Corpus:
    """A run with planted embeddings; where they are blind, selection is off."""
    off = "it cannot judge <i>this</i> corpus" if blind else ""
    recipe = Recipe(
        family="image-text",
        operators=(
            ImageProbe(),
            ImagePixels(),
            CaptionText(),
            Concepts(**concepts),
            PlantedClip(blind=blind),
            VisualCluster(clusters=7),
        ),
        stages=(
            ClipSelect(name="clip_select", threshold=0.5, top_fraction=0.8, off=off),
            SemanticDedup(name="semantic_dedup", keep_best=("area",), off=off),
            Decontaminate(name="decontaminate", off=NOT_ASKED),
            Balance(name="balance", t=4, unmatched="keep"),
            Balance(name="cluster_balance", by="cluster", t=2, off=off),
        ),
        export=ExportOptions(name="image-text"),
    )
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=50))
    benchmarks = {} if blind else {BENCHMARK: str(source.parent / "bench")}
    with LocalEngine(workers=0, memory="500MB") as engine:
        run(recipe, request, str(out), engine, SILENT, benchmarks=benchmarks)
        corpus = open_corpus(str(out))
        ref = next(ref for ref in corpus.manifest.layers if ref.operator == "clip")
        said = calibrate(corpus, ref, HOSTILE, SILENT)
        assert said is not None
        corpus = corpus.save(dataclasses.replace(corpus.manifest, calibration=said))
        export(corpus, str(out / "export"), recipe.export, engine, SILENT)
    return corpus


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    planted_pairs(folder / "pairs", COUNT)
    (folder / "bench").mkdir()
    for n in (16, 17, 26):
        picture(n).save(folder / "bench" / f"<i>{n}.jpg", quality=85)
    (folder / "bench" / "none.txt").write_text(" ".join(f"word{n}" for n in range(20)))
    return folder / "pairs"


@pytest.fixture(scope="module")
def done(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    made(source, out)
    return out


@pytest.fixture(scope="module")
def blind(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("blind") / "out"
    made(source, out, blind=True)
    return out


@pytest.fixture(scope="module")
def html(done, tmp_path_factory) -> str:
    return written(done, tmp_path_factory.mktemp("html") / "r.html")


def written(path: Path, out: Path) -> str:
    write_report(str(path), str(out))
    return out.read_text()


def looked(path: Path) -> tuple[Corpus, Selection]:
    opened = open_any(str(path))
    assert opened.corpus is not None
    entries = vocabulary_entries(opened.corpus.manifest.layers, opened.corpus.store)
    return opened.corpus, selection(opened.corpus, opened.export, entries)


def column(corpus: Corpus, operator: str, name: str) -> list:
    ref = next(ref for ref in corpus.manifest.layers if ref.operator == operator)
    paths = [Layer(operator, ref.fingerprint).path(s.shard) for s in corpus.shards]
    return pa.concat_tables(read_table(corpus.store, p, [name]) for p in paths)[name].to_pylist()


def reached(corpus: Corpus, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every sample, whether it came to a stage, and whether it left it."""
    gone = np.zeros(corpus.samples, bool)
    starts = np.cumsum([0, *(s.samples for s in corpus.shards)])
    for stage in corpus.manifest.stages:
        came = ~gone
        for shard in corpus.shards:
            path = StageLedger(stage.stage, stage.fingerprint).path(shard.shard)
            rows = read_table(corpus.store, path, ["row"])["row"].to_numpy()
            gone[starts[shard.shard] + rows] = True
        if stage.stage == name:
            return came, ~gone
    raise AssertionError(name)


def section(html: str, anchor: str) -> str:
    """The words of one section of the page."""
    found = re.search(rf'<section id="{anchor}">(.*?)(?=<section id=)', html, re.S)
    assert found is not None
    return Page(found[1].rpartition("</section>")[0]).words()


def test_the_page_is_whole_and_what_strangers_wrote_no_markup(html):
    parsed = Page(html)
    assert {tag for tag, _ in parsed.tags} <= TAGS
    assert {name for _, attrs in parsed.tags for name in attrs} <= ATTRIBUTES
    assert set(parsed.values("href")) <= {f"#{name}" for name in parsed.values("id")}
    assert len(parsed.values("id")) == len(set(parsed.values("id")))
    assert "<script>alert(1)</script> model" in parsed.words()
    assert "<b>bench" in parsed.words()
    assert "<i>17.jpg" in section(html, "benchmarks")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", html)
    assert len(html.encode()) < 5_000_000
    assert sum(map(len, parsed.values("src"))) < PICTURE_BYTES


def test_the_same_corpus_gives_the_same_bytes(html, done, source, tmp_path):
    assert written(done, tmp_path / "a.html") == html
    made(source, tmp_path / "again")
    assert written(tmp_path / "again", tmp_path / "b.html") == html


def test_a_calibration_that_passed(html, done):
    said = open_corpus(str(done)).manifest.calibration
    assert said is not None
    assert said.passed
    told = section(html, "calibration")
    assert f"Passed: {100 * said.share_above:.1f}% of the true pairs score above" in told
    assert "NOT passed" not in told
    assert f"AUC {said.auc:.4g} (chance 0.5)" in told
    assert f"threshold {said.threshold:.4g}" in told
    assert AGREE not in Page(html).words()
    titles = re.findall(r"([\d,]+) true pairs, ([\d,]+) shuffled", html)
    counts = [[int(n.replace(",", "")) for n in pair] for pair in titles]
    assert np.sum(counts, axis=0).tolist() == [said.pairs, said.shuffled]


def test_a_calibration_that_failed_is_said_first(blind, tmp_path):
    html = written(blind, tmp_path / "r.html")
    assert "NOT passed" in section(html, "calibration")
    first = Page(html).words()
    first = first[: first.index("Each stage decides")]
    assert (
        "Stages clip_select, semantic_dedup, cluster_balance were switched off: "
        "it cannot judge <i>this</i> corpus"
    ) in first
    assert "decontaminate" not in first
    assert AGREE in first
    assert "it means" not in first
    assert "they mean nothing" in section(html, "clusters")
    for anchor in ("scores", "twins", "benchmarks"):
        assert f'id="{anchor}"' not in html
    assert f"{AGREE}: not measured" in not_measured(open_corpus(str(blind)).manifest)


def test_a_calibration_that_failed_before_anything_was_decided(blind, tmp_path):
    shutil.copytree(blind / "corpus", tmp_path / "c")
    corpus = open_corpus(str(tmp_path / "c"))
    corpus.save(dataclasses.replace(corpus.manifest, ledger=None, stages=[]))
    said = Page(written(tmp_path / "c", tmp_path / "r.html")).words()
    assert "cannot judge this corpus: its CLIP score means nothing here." in said
    assert AGREE in said


def test_an_export_alone_has_no_tables_and_says_what_was_not_measured(done, blind, tmp_path):
    for run_, measured in ((done, True), (blind, False)):
        shutil.copytree(run_ / "export", tmp_path / run_.parent.name)
        html = written(tmp_path / run_.parent.name, tmp_path / "r.html")
        for anchor in ("calibration", "scores", "clusters", "twins", "benchmarks", "balance"):
            assert f'id="{anchor}"' not in html
        assert (AGREE in Page(html).words()) == (not measured)


def test_scores_of_what_came_to_the_stage_and_its_thresholds(done, html):
    corpus, shown = looked(done)
    (cut,) = shown.cuts
    scores = sorted(column(corpus, "clip", "clip_score"), reverse=True)
    place = scores[int(COUNT * 0.8)]
    assert cut.cutoffs == [
        {"rule": "clip_score", "threshold": 0.5, "scored": COUNT,
         "below": sum(s < 0.5 for s in scores), "tied": 0},
        {"rule": "not_in_top_fraction", "threshold": place, "scored": COUNT,
         "below": sum(s < place for s in scores), "tied": 1},
    ]  # fmt: skip
    assert cut.scored == COUNT
    bars = re.findall(r": ([\d,]+) samples", " ".join(bar.title for bar in cut.chart.bars))
    assert sum(int(n) for n in bars) == COUNT
    assert [line.label.partition(" ")[0] for line in cut.chart.lines] == [
        "clip_score", "not_in_top_fraction",
    ]  # fmt: skip
    assert f"clip_score 0.5 {cut.cutoffs[0]['below']}" in section(html, "scores")


def test_clusters_are_counted(done, html):
    corpus, shown = looked(done)
    assert shown.clusters is not None
    ids = column(corpus, "visual_cluster", "cluster")
    kept = [row["status"] == KEPT for row in ledger(corpus).to_pylist()]
    sizes, left = Counter(ids), Counter(n for n, there in zip(ids, kept, strict=True) if there)
    assert shown.clusters.number == 7
    assert shown.clusters.empty == 7 - len(sizes)
    assert (shown.clusters.samples, shown.clusters.without) == (COUNT, 0)
    ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    assert [(n, size, k) for n, size, _, k in shown.clusters.largest] == [
        (n, size, left[n]) for n, size in ranked
    ]
    assert "clusters 7" in section(html, "clusters")


def test_concepts_before_and_after_are_those_of_the_captions(done, html):
    corpus, shown = looked(done)
    concepts, clusters = shown.balanced
    came, stayed = reached(corpus, "balance")
    lists = [set(ids or []) for ids in column(corpus, "concepts", "concepts")]
    before = Counter(i for n, ids in enumerate(lists) if came[n] for i in ids)
    after = Counter(i for n, ids in enumerate(lists) if stayed[n] for i in ids)
    names = {i: word for word, i in Concepts().entries()["en"].items()}
    (english,) = concepts.drawn
    ranked = sorted(before, key=lambda i: (-before[i], i))
    assert [(e.name, e.samples, e.kept, e.p) for e in english.head] == [
        (names[i], before[i], after[i], min(1, 4 / before[i])) for i in ranked[:15]
    ]
    assert {"car", "dog", "garden"} <= {e.name for e in english.head}
    assert (english.t, english.in_head) == (4, sum(n > 4 for n in before.values()))
    assert english.matches == sum(before.values())
    assert english.kept == sum(after.values()) < english.matches
    assert english.unseen == len(names) - len(before)
    told = section(html, "balance")
    assert f"garden {before[names_id(names, 'garden')]} → " in told
    assert "t = 4" in told
    assert clusters.clusters
    (groups,) = clusters.drawn
    came, stayed = reached(corpus, "cluster_balance")
    ids = np.array(column(corpus, "visual_cluster", "cluster"))
    assert {(e.name, e.samples, e.kept) for e in groups.head} == {
        (f"cluster:{n}", int((ids[came] == n).sum()), int((ids[stayed] == n).sum()))
        for n in set(ids[came].tolist())
    }


def names_id(names: dict[int, str], word: str) -> int:
    return next(i for i, name in names.items() if name == word)


def test_entries_of_a_vocabulary_that_is_not_at_hand_are_numbers(source, tmp_path):
    (tmp_path / "own.txt").write_text("car\ndog\nbridge\n")
    made(source, tmp_path / "out", blind=True, vocabulary=Vocabulary.at(str(tmp_path / "own.txt")))
    for copy in (tmp_path / "out").rglob("vocabulary-*.txt"):
        copy.unlink()
    html = written(tmp_path / "out", tmp_path / "r.html")
    told = section(html, "balance")
    assert "Concepts of the vocabulary, which is not at hand: entries are shown by number" in told
    assert re.search(r"en:0 60 → \d+", told)
    assert re.search(r"en:0: drew 0\.\d+ ≥ 0\.06667", Page(html).words())


def test_twins_stand_beside_the_one_that_stays(done, html):
    corpus, shown = looked(done)
    (twins,) = shown.twins
    rows = [row for row in ledger(corpus).to_pylist() if row["stage"] == "semantic_dedup"]
    by_best: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        by_best.setdefault(row["kept_by"], []).append((row["value"], row["uid"]))
    assert (twins.total, twins.groups) == (len(rows), len(by_best))
    assert not twins.more_groups
    sizes = [group.twins for group in twins.shown]
    assert sizes == sorted((len(g) for g in by_best.values()), reverse=True)[: len(sizes)]
    for group in twins.shown:
        assert group.best is not None
        members = sorted(by_best[group.best.uid])
        assert [tile.uid for tile in group.dropped] == [uid for _, uid in members[:TWINS]]
        assert group.least == members[0][0]
        assert all(re.fullmatch(r"cosine [\d.]+ > 0\.95", t.verdict) for t in group.dropped)
        assert all(t.picture.uri and t.twin is None for t in group.dropped)
        assert group.best.picture.uri
    captions = {tile.caption for group in twins.shown for tile in group.dropped}
    assert captions <= {words(n) for n in range(COUNT)}
    assert "Group 1" in section(html, "twins")
    assert twins.spent == sum(
        len(t.picture.uri) for g in twins.shown for t in (g.best, *g.dropped) if t
    )


def test_a_twin_that_a_list_stopped_at_export_is_not_shown(done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    corpus, shown = looked(done)
    (twins,) = shown.twins
    rows = {row["uid"]: row for row in ledger(corpus).to_pylist()}
    head = next(
        g.best for g in twins.shown if g.best and rows[g.best.uid]["status"] == KEPT
    )  # fmt: skip
    (tmp_path / "optout.txt").write_text(head.uid)
    shutil.rmtree(tmp_path / "out" / "export")
    with LocalEngine(workers=0, memory="500MB") as engine:
        options = dataclasses.replace(ExportOptions(name="image-text"), blocklists=lists(tmp_path))
        export(
            open_corpus(str(tmp_path / "out")), str(tmp_path / "out" / "export"), options, engine,
            SILENT,
        )  # fmt: skip
    _, hidden = looked(tmp_path / "out")
    before, after = (next(iter(s.twins)).shown for s in (shown, hidden))
    at = next(n for n, g in enumerate(before) if g.best and g.best.uid == head.uid)
    assert after[at].best is None
    # What the list was not held against, since an earlier stage took it, stays behind the curtain.
    assert [t.uid for t in after[at].dropped] == [t.uid for t in before[at].dropped]
    assert all(not t.picture.uri for t in after[at].dropped)
    html = written(tmp_path / "out", tmp_path / "r.html")
    assert "The one that stays is not shown" in section(html, "twins")
    assert head.uid not in html


def lists(folder: Path) -> tuple[BlockFile, ...]:
    return (BlockFile.at(str(folder / "optout.txt")),)


def test_matches_of_benchmarks(done, html):
    corpus, shown = looked(done)
    (stage,) = shown.benchmarks
    (bench,) = stage.benchmarks
    rows = [row for row in ledger(corpus).to_pylist() if row["stage"] == "decontaminate"]
    assert stage.dropped == len(rows) > 0
    assert {row["detail"] for row in rows} == {BENCHMARK} == {bench.name}
    (way,) = bench.ways
    assert (way.reason, way.samples) == ("benchmark_phash", len(rows))
    assert bench.notes["images"] == 3
    assert bench.notes["samples that match"] == len(rows)
    assert [n for _, _, n in bench.items] == [1] * len(rows)
    assert "looks like an image of a benchmark" in section(html, "benchmarks")


def test_every_reason_of_these_stages_is_explained_and_every_verdict_read(done, html):
    manifest = open_corpus(str(done)).manifest
    reasons = {reason for stage in manifest.stages for reason in stage.reasons}
    assert reasons == {
        "clip_score", "not_in_top_fraction", "semantic_twin", "benchmark_phash", "balanced_out",
    }  # fmt: skip
    assert all(reason_meaning(reason) for reason in reasons)
    said = Page(html).words()
    assert re.search(r"CLIP score -?0\.\d+ < 0\.5", said)
    assert re.search(r"(car|garden|photo): drew 0\.\d+ ≥ 0\.\d+", said)
    assert re.search(r"cluster:\d: drew 0\.\d+ ≥ 0\.\d+", said)
    assert f"{BENCHMARK}: 0 of 64 bits differ (limit 3)" in said


def test_a_corpus_without_any_of_it_shows_none_of_it():
    assert Selection().contents == []
    assert Selection().spent == 0
