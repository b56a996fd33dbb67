"""The page of new captions: its figures are the layers' own, its pairs are marked and safe."""

import json
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.cli.main import main
from curation.core.corpus import Layer, StageLedger
from curation.core.errors import CorpusError, UsageError
from curation.io.corpus import Corpus, open_any, open_corpus
from curation.io.tables import read_table
from curation.report import recaption as module
from curation.report.page import write_report
from curation.report.recaption import (
    MOST_PAIRS,
    SECTION_BYTES,
    SECTION_PAIRS,
    Recaptions,
    figures_of,
    recaptions,
    write_recaptions,
)
from curation.report.recaption_pairs import Pair
from schemas import NEW, ORIGINAL, REPAIRED
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import caption, curate, ledger, write_pairs
from tests.report.test_page import ATTRIBUTES, TAGS, Page

COUNT, FIRST = 24, 20
"""Pairs, and the number of the first: numbers above ten are facts."""
EVIL = "<script>alert(1)</script> \u202eelpmaxe\u202c <img src=x onerror=alert(2)>"
MARKS = {"mark", "del", "article", "h4"}


def said(payload: dict[str, Any]) -> str:
    """Of every six captions three go on, one is repaired, one falls back; one is refused."""
    found = re.search(r"A [a-z ]+ number (\d+) by the sea", words_of(payload))
    assert found is not None
    return {
        0: f"{found[0]}, under a blue sky.",
        1: f"{found[0]}. The photograph was taken in Barcelona.",
        2: "I'm sorry, but I cannot describe this image.",
        3: f"{found[0]} {EVIL}.",
        4: f"{found[0]}, mail ann.lee@example.com or call 020 7946 0958.",
    }[int(found[1]) % 6]


def refusing(payload: dict[str, Any], seen: int) -> str:
    number = re.search(r"number (\d+) by", words_of(payload))
    return "400" if number and int(number[1]) % 6 == 5 else "answer"


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recaptioned")
    source = write_pairs(folder / "pairs", COUNT, start=FIRST)
    with ChatServer(refusing, say=said) as server:
        setting = f"recaption.servers={server.url}"
        curate(source, folder / "done", setting, "heuristics.min_side=100", shard_samples=10)
    return folder / "done"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A corpus without new captions."""
    folder = tmp_path_factory.mktemp("plain")
    source = write_pairs(folder / "pairs", 4)
    arguments = ["ingest", str(source), "--out", str(folder / "corpus"), "--workers", "0"]
    assert main(arguments) == 0
    return folder / "corpus"


@pytest.fixture(scope="module")
def shown(done: Path) -> Recaptions:
    return made(done)


@pytest.fixture(scope="module")
def html(done: Path, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("html") / "new.html"
    write_recaptions(str(done), str(out), pairs=60, seed=0)
    return out.read_text()


def made(path: Path, **options: Any) -> Recaptions:
    opened = open_any(str(path))
    assert opened.corpus is not None
    found = recaptions(opened.corpus, opened.export, **{"pairs": 60, **options})
    assert found is not None
    return found


def pairs(found: Recaptions) -> list[Pair]:
    return [pair for group in found.groups for pair in group.pairs]


def kept_rows(corpus: Corpus, operator: str) -> list[dict[str, Any]]:
    """Rows of a layer, of the samples that are kept."""
    ref = next(ref for ref in corpus.manifest.layers if ref.operator == operator)
    layer = Layer(ref.operator, ref.fingerprint)
    rows = [
        row
        for s in corpus.shards
        for row in read_table(corpus.store, layer.path(s.shard)).to_pylist()
    ]
    status = ledger(corpus)["status"].to_pylist()
    return [row for row, fate in zip(rows, status, strict=True) if fate == "kept"]


def choice_rows(corpus: Corpus) -> list[dict[str, Any]]:
    stage = next(s for s in corpus.manifest.stages if s.stage == "choose_caption")
    at = StageLedger(stage.stage, stage.fingerprint)
    tables = [read_table(corpus.store, at.choices(s.shard)) for s in corpus.shards]
    return [row for row in pa.concat_tables(tables).to_pylist() if row["choice"]]


def test_figures_are_those_of_the_layers(done):
    corpus = open_corpus(str(done))
    figures = figures_of(str(done))
    captions = [row["recaption"] for row in kept_rows(corpus, "recaption") if row["recaption"]]
    facts = [row for row in kept_rows(corpus, "caption_facts") if row["facts"] is not None]
    claims = [claim for row in facts for claim in row["facts"]]
    originals = [fact for row in facts for fact in row["facts_original"]]
    assert figures["samples"] == corpus.manifest.totals.kept
    assert figures["captioned"] == len(captions) == figures["checked"]
    assert figures["errors"] == {"refused_by_server": COUNT // 6}
    assert figures["precision"] == pytest.approx(
        sum(c["supported"] for c in claims) / len(claims), abs=1e-6
    )
    assert figures["retention"] == pytest.approx(
        sum(f["kept"] for f in originals) / len(originals), abs=1e-6
    )
    assert figures["captions_talking"] == sum(row["recaption_residue"] > 0 for row in facts)
    assert figures["sentences"] == sum(len(row["recaption_sentences"]) for row in facts)
    names = Counter(claim["kind"] for claim in claims)
    assert {kind: k["claims"] for kind, k in figures["kinds"].items() if k["claims"]} == names
    after = figures["distributions"]["characters"]["after"]
    assert after["captions"] == len(captions)
    assert after["p95"] == np.quantile([len(c) for c in captions], 0.95, method="inverted_cdf")


def test_choices_are_those_of_the_stage(done):
    rows = choice_rows(open_corpus(str(done)))
    figures = figures_of(str(done))
    by = Counter(f"{r['choice']}: {r['reason']}" if r["reason"] else r["choice"] for r in rows)
    assert figures["choices"] == by
    assert {name.partition(":")[0] for name in by} == {ORIGINAL, REPAIRED, NEW}
    fallen = sum(row["choice"] == ORIGINAL and row["sentences"] is not None for row in rows)
    assert figures["fallback"] == pytest.approx(fallen / figures["captioned"], abs=1e-6)
    gone = Counter(f["reason"] for r in rows if r["choice"] == REPAIRED for f in r["failed"])
    assert figures["sentences_dropped"] == gone
    assert figures["precision_going_on"] > figures["precision"]


def exported(done: Path, run: Path, share: float, *options: str) -> dict[str, str]:
    """Copies a run and exports it anew; of each uid its caption in the export, if a new one."""
    shutil.copytree(done / "corpus", run / "corpus")
    arguments = ["export", str(run / "corpus"), "--out", str(run / "export"), "--workers", "0"]
    assert main([*arguments, "--set", f"export.recaptioned={share}", *options]) == 0
    found = {}
    for tar in sorted((run / "export").rglob("*.tar")):
        with tarfile.open(tar) as file:
            for member in file:
                if member.name.endswith(".json"):
                    sample = json.loads(file.extractfile(member).read())  # type: ignore[union-attr]
                    lineage = json.loads(sample["meta"]["lineage"])
                    found[sample["meta"]["uid"]] = lineage.get("caption", "")
    return found


def words_of_page(path: Path, file: Path) -> str:
    write_recaptions(str(path), str(file), pairs=20, seed=0)
    return Page(file.read_text()).words()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_page_says_what_the_export_took_and_no_more(done, tmp_path, share):
    captions = exported(done, tmp_path / "run", share)
    taken = sum(caption in ("recaption", "repaired") for caption in captions.values())
    chosen = sum(row["choice"] in (NEW, REPAIRED) for row in choice_rows(open_corpus(str(done))))
    assert {0.0: taken == 0, 0.5: 0 < taken < chosen, 1.0: taken == chosen}[share]
    said = figures_of(str(tmp_path / "run"))
    assert said["exported"] == {"share": share, "new_captions": taken, "exact": True}
    words = words_of_page(tmp_path / "run", tmp_path / "r.html")
    if share:
        assert f"{taken} of the {chosen} chosen are exported in place of their originals" in words
        assert "judged only" not in words.lower()
    else:
        assert "Judged only: the originals were exported." in words
        assert "exported none judged only" in words
    assert ("new would go on" in words) == (share < 1)
    assert ("new goes on" in words) == (share == 1)
    assert "would go on as they are" in words or share == 1


def test_what_is_stopped_at_export_makes_the_count_a_bound(done, tmp_path):
    victim = next(row["uid"] for row in kept_rows(open_corpus(str(done)), "recaption"))
    (tmp_path / "optout.txt").write_text(f"uid:{victim}")
    captions = exported(done, tmp_path / "run", 1.0, "--blocklist", str(tmp_path / "optout.txt"))
    said = figures_of(str(tmp_path / "run"))["exported"]
    assert victim not in captions
    assert said["exact"] is False
    assert sum(map(bool, captions.values())) <= said["new_captions"]
    assert f"at most {said['new_captions']} of the" in words_of_page(
        tmp_path / "run", tmp_path / "r.html"
    )


@pytest.mark.parametrize("stale", [False, True])
def test_without_an_export_of_these_decisions_only_the_choice_is_told(done, tmp_path, stale):
    run = tmp_path / "run"
    if stale:  # the corpus was decided again since
        shutil.copytree(done, run)
        path = run / "export" / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "corpus": "0" * 64}))
    else:
        shutil.copytree(done / "corpus", run / "corpus")
    assert figures_of(str(run))["exported"] is None
    words = words_of_page(run, tmp_path / "r.html")
    assert "go on" not in words
    assert "goes on" not in words
    assert "were chosen as they are" in words
    assert "new chosen" in words


def test_the_worst_pairs_come_first_and_say_why(shown):
    assert [group.fate for group in shown.groups] == [ORIGINAL, REPAIRED, NEW]
    fallen, repaired, new = (group.pairs[0] for group in shown.groups)
    assert fallen.goes_on == "original"
    assert {pair.why for pair in shown.groups[0].pairs} == {
        "refuses the task",
        "tells of the task, or holds markup",
        "states too much that the original does not: precision 0.20 < 0.5",
    }
    assert (repaired.goes_on, repaired.why) == ("new", "1 of 2 sentences dropped")
    assert [sentence.dropped for sentence in repaired.new] == [
        "",
        "claims what the original does not state",
    ]
    assert (new.goes_on, new.why) == ("new", "")


def test_facts_and_claims_are_marked_where_they_stand(shown):
    repaired = shown.groups[1].pairs[0]
    marked = [(p.text, p.kind) for s in repaired.new for p in s.pieces if p.kind]
    assert ("Barcelona", "rejected") in marked
    held = [(p.text, p.kind, p.what) for p in repaired.original if p.kind]
    assert any(re.fullmatch(r"\d+", text) and kind == "held" for text, kind, _ in held)
    assert not repaired.unplaced
    fallen = next(pair for pair in pairs(shown) if pair.why == "refuses the task")
    assert {p.kind for p in fallen.original if p.kind} == {"lost"}


def test_pieces_together_are_the_captions(shown):
    known = {caption(n) for n in range(FIRST, FIRST + COUNT)}
    assert {"".join(piece.text for piece in pair.original) for pair in pairs(shown)} <= known


def test_personal_data_in_new_captions_is_not_shown(html):
    assert "ann.lee@example.com" not in html
    assert "0958" not in html
    assert "mail •••.•••@•••••••.•••" in Page(html).words()


def test_nothing_that_a_model_wrote_becomes_markup(html):
    parsed = Page(html)
    assert {tag for tag, _ in parsed.tags} <= TAGS | MARKS
    assert {name for _, attrs in parsed.tags for name in attrs} <= ATTRIBUTES
    assert "<script>alert(1)</script>" in parsed.words()
    assert "<script" not in html
    assert "\u202e" not in html


def test_warnings_of_the_corpus_come_first(done, tmp_path):
    shutil.copytree(done / "corpus", tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "warnings": ["claim_check <b>believes</b>"]}))
    write_recaptions(str(tmp_path / "corpus"), str(tmp_path / "new.html"), pairs=1, seed=0)
    words = Page((tmp_path / "new.html").read_text()).words()
    assert words.index("Claim_check <b>believes</b>") < words.index("precision")


def test_the_page_says_what_its_pairs_are(done, html):
    words = Page(html).words()
    assert "A sample, not an average: drawn to show each way" in words
    total = sum(row["choice"] == ORIGINAL for row in choice_rows(open_corpus(str(done))))
    shown = len(made(done, pairs=6).groups[0].pairs)
    assert 0 < shown < total - COUNT // 6  # those without a new caption are none of them
    said = f"{shown} of {total - COUNT // 6} shown, drawn by a hash of their place, each reason"
    assert made(done, pairs=6).groups[0].note.startswith(said)
    assert made(done).groups[0].note == "All are shown."


def test_what_the_small_model_wrote_is_said_to_be_its_own(done, shown, tmp_path):
    assert "by model " in shown.made_by
    shutil.copytree(done / "corpus", tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["recipe"]["operators"]["recaption"]["model"] = "embedded"
    path.write_text(json.dumps(manifest))
    found = made(tmp_path / "corpus")
    assert found.made_by.startswith("by the small model that ships (embedded), asked with prompt")
    assert "knows the demo's drawn scenes and nothing else" in found.notes[0]
    assert not any("drawn scenes" in note for note in shown.notes)


def test_a_mark_says_by_a_sign_what_its_colour_says(html):
    parsed = Page(html)
    signs = Counter(a["aria-label"] for t, a in parsed.tags if a.get("class") == "cue")
    marks = Counter((a["class"] or "").split()[-1] for t, a in parsed.tags if t == "mark")
    assert signs == {
        "kept": marks["held"], "lost": marks["lost"], "unsupported": marks["rejected"],
    }  # fmt: skip


def test_the_same_corpus_gives_the_same_page(done, html, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(done, moved)
    write_recaptions(str(moved), str(tmp_path / "again.html"), pairs=60, seed=0)
    assert (tmp_path / "again.html").read_text() == html


def test_another_seed_draws_other_pairs(done):
    first, other = made(done, pairs=6), made(done, pairs=6, seed=1)
    assert {p.uid for p in pairs(first)} != {p.uid for p in pairs(other)}
    assert len(pairs(first)) == len(pairs(other)) == 6


def test_pictures_take_no_more_than_their_room(done):
    found = made(done, pairs=SECTION_PAIRS, room=SECTION_BYTES)
    assert 0 < found.spent == sum(len(pair.picture.uri) for pair in pairs(found)) <= SECTION_BYTES
    assert made(done, room=1000).spent == 0


def test_what_an_export_stopped_is_not_shown(done, tmp_path):
    shutil.copytree(done, tmp_path / "run")
    uids = [pair.uid for pair in pairs(made(done))]
    (tmp_path / "optout.txt").write_text("\n".join(f"uid:{uid}" for uid in uids[:3]))
    shutil.rmtree(tmp_path / "run" / "export")
    out = tmp_path / "run" / "export"
    options = ["--blocklist", str(tmp_path / "optout.txt"), "--workers", "0"]
    assert main(["export", str(tmp_path / "run" / "corpus"), "--out", str(out), *options]) == 0
    left = [pair.uid for pair in pairs(made(tmp_path / "run"))]
    assert not set(uids[:3]) & set(left)
    assert set(left) == set(uids[3:])


def test_the_report_has_the_section_where_there_are_new_captions(done, plain, tmp_path):
    write_report(str(done), str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    parsed = Page(page)
    assert "recaptions" in parsed.values("id")
    assert parsed.values("href").count("#recaptions") == 1
    assert "Falls back to the original" in parsed.words()
    assert {tag for tag, _ in parsed.tags} <= TAGS | MARKS
    write_report(str(plain), str(tmp_path / "plain.html"))
    assert "recap" not in (tmp_path / "plain.html").read_text()


def test_only_captions_drawn_by_hash_have_their_words_counted(done, monkeypatch):
    whole = figures_of(str(done))
    monkeypatch.setattr(module, "WORDED", COUNT // 2)
    half = figures_of(str(done))
    words = [f["distributions"]["words"]["after"]["captions"] for f in (whole, half)]
    assert words[0] == whole["captioned"]
    assert 0 < words[1] < words[0]
    assert half["distributions"]["characters"] == whole["distributions"]["characters"]
    assert made(done).sampled


def test_before_anything_is_chosen_the_facts_sort_the_pairs(done, tmp_path):
    corpus = open_corpus(str(done))
    shutil.copytree(done / "corpus", tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    stages = [s for s in manifest["stages"] if s["stage"] != "choose_caption"]
    path.write_text(json.dumps({**manifest, "stages": stages}))
    found = made(tmp_path / "corpus")
    assert [group.fate for group in found.groups] == ["talking", "unsupported", "plain"]
    assert found.choices == []
    assert found.notes == [
        "No model was asked whether the captions are true of the pictures (claim_check): what they "
        "add to the originals is unproven.",
        "Nothing was chosen yet: no caption has fallen back to its original.",
    ]
    assert sum(group.total for group in found.groups) == sum(
        row["recaption"] is not None for row in kept_rows(corpus, "recaption")
    )


def test_the_command_writes_a_page_or_prints_figures(done, tmp_path, capsys):
    out = tmp_path / "new.html"
    assert main(["recaption-report", str(done), "--out", str(out), "--pairs", "3"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert len(re.findall("<article", out.read_text())) == 3
    assert main(["recaption-report", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == figures_of(str(done))


def refusals(done: Path, plain: Path, tmp_path: Path) -> Iterator[tuple[list[str], int, str]]:
    yield [str(plain)], 2, "has no new captions"
    yield [str(done / "export")], 1, "an export; recaption-report takes a run directory"
    yield [str(done), "--pairs", "-1"], 2, f"--pairs must be 0 to {MOST_PAIRS}"
    yield [str(done), "--out", str(tmp_path)], 2, "a folder; --out takes the name of a file"
    yield [str(tmp_path / "none")], 1, "no manifest.json"


def test_what_makes_no_sense_is_refused_in_one_line(done, plain, tmp_path, capsys):
    for arguments, code, words in refusals(done, plain, tmp_path):
        assert main(["recaption-report", *arguments]) == code
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_layers_that_do_not_fit_their_index_are_damage(done, tmp_path):
    shutil.copytree(done / "corpus", tmp_path / "corpus")
    corpus = open_corpus(str(tmp_path / "corpus"))
    ref = next(ref for ref in corpus.manifest.layers if ref.operator == "recaption")
    layer = Layer(ref.operator, ref.fingerprint)
    shutil.copy(
        tmp_path / "corpus" / layer.path(corpus.shards[-1].shard),
        tmp_path / "corpus" / layer.path(corpus.shards[0].shard),
    )
    with pytest.raises(CorpusError, match="other rows than its index"):
        figures_of(str(tmp_path / "corpus"))


def test_an_out_in_no_folder_is_refused_before_anything_is_read(done, tmp_path):
    with pytest.raises(UsageError):
        write_recaptions(str(done), str(tmp_path / "no" / "page.html"), pairs=1, seed=0)
