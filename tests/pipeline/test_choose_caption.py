"""Captions chosen in whole runs, by real servers' answers: on record, the same with any workers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.cli import main
from curation.core.corpus import StageLedger
from curation.core.errors import LedgerError, UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.tables import read_table, write_table
from curation.pipeline.captions import with_captions
from curation.pipeline.decide import decide
from curation.pipeline.run import decide_and_save
from curation.relational.choose_caption import ChooseCaption
from curation.report.inspect import sample
from schemas import CHOICE
from tests.io.chat_server import ChatServer, words_of
from tests.operators.vision_language.test_claim_check import sentence_of
from tests.pipeline.corpora import curate, ledger, plain_recipe, tree, write_pairs
from tests.pipeline.test_export_recaptions import exported

NAMES = ("Ann Lee", "Bo Ruud", "Cai Wen", "Dov Katz", "Eva Lund", "Finn Ek", "Gia Rossi", "Hal Orr")
PLACES = ("Bergen", "Turin", "Lima", "Kyoto", "Porto", "Basel", "Leeds", "Tunis")
KINDS = ("new", "talk", "invented", "contradicted", "refusal", "lost", "unsure", "failing")
"""What the captioner does with pair n, by n modulo their number."""
PAIRS = 24
DRAGON = "A dragon sits beside them."
FOG = "Something may be in the fog."


def original(n: int) -> str:
    return f"{NAMES[n % 8]} in {PLACES[n % 8]}, photograph number {100 + n}"


def number(words: str) -> int:
    return int(words.split("photograph number ")[1][:3]) - 100


def kept(n: int) -> str:
    """The true sentence of the new caption of pair n."""
    return f"{NAMES[n % 8]} stands on a street in {PLACES[n % 8]}, photograph number {100 + n}."


def said(payload: dict[str, Any]) -> str:
    n = number(words_of(payload))
    return {
        "new": f"{kept(n)} A dog is near.",
        "talk": f"Sure, here is the caption! {kept(n)}",
        "invented": f"{kept(n)} Barack Obama waves.",
        "contradicted": f"{kept(n)} {DRAGON}",
        "refusal": f"I'm sorry, I cannot identify people. {kept(n)}",
        "lost": "Somebody stands on a street that is wet.",
        "unsure": f"{kept(n)} {FOG}",
    }[KINDS[n % 8]]


def failing(payload: dict[str, Any], seen: int) -> str:
    return "400" if KINDS[number(words_of(payload)) % 8] == "failing" else "answer"


def judge(payload: dict[str, Any]) -> tuple[float, float]:
    sentence = sentence_of(payload)
    return {DRAGON: (0.125, 0.75), FOG: (0.25, 0.25)}.get(sentence, (0.875, 0.0))


EXPECTED = {
    "new": ("new", None, None, None),
    "talk": ("repaired", "talk", 1, 0),
    "invented": ("repaired", "unsupported", 1, 0),
    "contradicted": ("repaired", "contradicted", 0.75, 0.5),
    "refusal": ("original", "refusal", 1, 0),
    "lost": ("original", "retention", 0, 0.5),
    "unsure": ("repaired", "unverifiable", 0.25, 0.3),
    "failing": ("original", "error", None, None),
}


def write_source(folder: Path) -> Path:
    write_pairs(folder, PAIRS)
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    with (folder / "pairs.jsonl").open("w") as file:
        for row in rows:
            file.write(json.dumps({**row, "text": original(row["id"])}) + "\n")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("chosen") / "pairs")


def run(source: Path, out: Path, *settings: str, workers: int = 0) -> Corpus:
    with ChatServer(failing, say=said) as writer, ChatServer(judge=judge, models=("eye",)) as other:
        servers = (f"recaption.servers={writer.url}", f"claim_check.servers={other.url}")
        curate(source, out, *servers, *settings, workers=workers, shard_samples=10)
    return open_corpus(str(out))


@pytest.fixture(scope="module")
def done(source, tmp_path_factory) -> Path:
    out: Path = tmp_path_factory.mktemp("done") / "run"
    run(source, out)
    return out


@pytest.fixture
def copy(done, tmp_path) -> Path:
    """The run, to be changed."""
    return Path(shutil.copytree(done, tmp_path / "copy"))


def decided(out: Path, *settings: str) -> Corpus:
    """The run, decided again."""
    corpus = open_corpus(str(out))
    made = plain_recipe().resumed(corpus.manifest.recipe).with_settings(settings)
    with LocalEngine(workers=0) as engine:
        decide_and_save(corpus, made, corpus.manifest.layers, engine, SILENT)
    return open_corpus(str(out))


def stage(corpus: Corpus) -> StageLedger:
    (found,) = (s for s in corpus.manifest.stages if s.choices)
    return StageLedger(found.stage, found.fingerprint)


def choices(corpus: Corpus) -> list[dict[str, Any]]:
    """The table of choices with the pair's number, by that."""
    mine, found = stage(corpus), []
    for shard in corpus.shards:
        table = read_table(corpus.store, mine.choices(shard.shard))
        assert table.schema.names == CHOICE.names
        index = read_table(corpus.store, f"index/{shard.shard:09d}.parquet")
        assert table["uid"].equals(index["uid"])
        for row, text in zip(table.to_pylist(), index["text"].to_pylist(), strict=True):
            found.append({**row, "n": number(text)})
    return sorted(found, key=lambda row: row["n"])


def test_each_kind_of_caption_gets_its_choice_with_which_and_why(done):
    rows = choices(open_corpus(str(done)))
    assert [row["n"] for row in rows] == list(range(PAIRS))
    for row in rows:
        told = (row["choice"], row["reason"], row["value"], row["threshold"])
        assert told == EXPECTED[KINDS[row["n"] % 8]], row
        assert row["repaired"] == (kept(row["n"]) if row["choice"] == "repaired" else None)
        assert row["detail"] == ("refused_by_server" if row["reason"] == "error" else None)


def test_no_sample_is_lost_and_the_ledgers_balance(done):
    corpus = open_corpus(str(done))
    assert set(ledger(corpus)["status"].to_pylist()) == {"kept"}
    (summary,) = (s for s in corpus.manifest.stages if s.choices)
    assert (summary.entered, summary.kept) == (PAIRS, PAIRS)
    assert summary.choices == {
        "new": 3, "repaired: talk": 3, "repaired: unsupported": 3, "repaired: contradicted": 3,
        "repaired: unverifiable": 3, "original: refusal": 3, "original: retention": 3,
        "original: error": 3,
    }  # fmt: skip
    assert sum(summary.choices.values()) == summary.kept
    assert main(["verify", str(done)]) == 0


def test_the_same_bytes_with_one_and_two_workers(done, source, tmp_path):
    for workers in (1, 2):
        run(source, tmp_path / str(workers), workers=workers)
        assert tree(tmp_path / str(workers)) == tree(done)


def test_all_three_captions_stay_in_the_corpus(done):
    corpus = open_corpus(str(done))
    row = next(r for r in choices(corpus) if r["choice"] == "repaired")
    (known,) = sample(corpus, row["uid"])
    assert known["index"]["text"] == original(row["n"])
    new = known["measures"]["recaption"]["recaption"]
    assert kept(row["n"]) in new
    assert new != kept(row["n"])
    chosen = {entry["stage"]: entry["verdict"] for entry in known["stages"]}["choose_caption"]
    assert chosen["repaired"] == kept(row["n"])
    assert {name: chosen[name] for name in ("status", "choice", "reason")} == {
        "status": "kept", "choice": "repaired", "reason": row["reason"],
    }  # fmt: skip


def test_inspect_and_the_funnel_say_it(done, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    row = next(r for r in choices(open_corpus(str(done))) if r["reason"] == "contradicted")
    assert main(["inspect", str(done), "--sample", row["uid"]]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "choice repaired, reason contradicted, value 0.75, threshold 0.5" in said
    assert "failed sentences 2 (contradicted)" in said
    assert main(["inspect", str(done)]) == 0
    said = capsys.readouterr().out
    assert "(repaired: contradicted)" in said
    assert "(original: refusal)" in said


def test_export_gives_the_chosen_caption_and_says_whose_it_is(done, tmp_path):
    found = exported(done, tmp_path / "out", recaptioned=1.0)
    by_uid = {row["uid"]: row for row in choices(open_corpus(str(done)))}
    assert found.keys() == by_uid.keys()
    for uid, (text, whose) in found.items():
        row = by_uid[uid]
        expected = {
            "new": (f"{kept(row['n'])} A dog is near.", "recaption"),
            "repaired": (kept(row["n"]), "repaired"),
            "original": (original(row["n"]), ""),
        }
        assert (text, whose) == expected[row["choice"]]


def test_a_share_takes_new_and_repaired_captions_by_the_same_draw(done, tmp_path):
    half = exported(done, tmp_path / "half", recaptioned=0.5)
    whole = exported(done, tmp_path / "whole", recaptioned=1.0)
    plain = exported(done, tmp_path / "plain")
    assert {whose for _, whose in half.values()} == {"", "recaption", "repaired"}
    for uid, told in half.items():
        assert told in (plain[uid], whole[uid])
    assert not any(whose for _, whose in plain.values())


def test_a_threshold_moves_choices_and_a_later_command_keeps_it(copy):
    settings = ("choose_caption.contradicted=0.8", "choose_caption.unverifiable=0.1")
    for given in (settings, ()):
        (summary,) = (s for s in decided(copy, *given).manifest.stages if s.choices)
        assert summary.choices["new"] == 9
        assert sum(summary.choices.values()) == PAIRS


def test_what_may_pass_unstated_is_told(copy):
    told = decided(copy, "choose_caption.seen=0.9").manifest.warnings
    assert any("sentences that claim_check gives at least" in warning for warning in told)
    corpus = open_corpus(str(copy))
    layers = [ref for ref in corpus.manifest.layers if ref.operator != "claim_check"]
    recipe = plain_recipe().with_settings(["choose_caption.seen=0.9"])
    _, told = with_captions(corpus, recipe, layers, SILENT)
    assert any("seen=0.9 does nothing" in warning for warning in told)


class Forgetful(ChooseCaption):
    """Chooses for all samples but the first."""

    def choose(self, rows):
        return super().choose(rows).slice(1)


def test_a_stage_that_does_not_choose_for_each_sample_fails_the_run(done):
    corpus = open_corpus(str(done))
    step = Forgetful(name="forgetful")
    with LocalEngine(workers=0) as engine, pytest.raises(LedgerError, match="does not choose"):
        decide(corpus, (step,), corpus.manifest.layers, engine, SILENT)


def test_verify_finds_a_choice_that_is_gone_or_was_changed(copy, capsys):
    corpus = open_corpus(str(copy))
    path = stage(corpus).choices(1)
    table = read_table(corpus.store, path)
    nothing = table.set_column(3, CHOICE.field("choice"), pa.nulls(table.num_rows, pa.string()))
    write_table(corpus.store, path, nothing, CHOICE, {})
    assert main(["verify", str(copy)]) == 1
    assert f"{path}: does not choose for each sample" in capsys.readouterr().out
    corpus.store.remove(path)
    assert main(["verify", str(copy)]) == 1
    assert f"{path}: missing" in capsys.readouterr().out


def test_captions_that_nobody_chose_between_are_not_exported(copy, tmp_path):
    decided(copy, "choose_caption.off=not wanted")
    with pytest.raises(UsageError, match="no stage has chosen between the captions"):
        exported(copy, tmp_path / "out", recaptioned=0.5)
    assert len(exported(copy, tmp_path / "out")) == PAIRS


def test_without_new_captions_the_stage_is_silently_off(source, tmp_path):
    curate(source, tmp_path / "run")
    corpus = open_corpus(str(tmp_path / "run"))
    assert corpus.manifest.stages[-1].stage == "choose_caption"
    assert corpus.manifest.stages[-1].off == "not asked for"
    assert corpus.manifest.warnings == []


def test_a_model_that_checks_itself_is_warned_of(source, tmp_path):
    with ChatServer(say=lambda payload: "A dog.", judge=lambda payload: (1.0, 0.0)) as server:
        servers = (f"recaption.servers={server.url}", f"claim_check.servers={server.url}")
        curate(source, tmp_path / "run", *servers)
    (warning,) = open_corpus(str(tmp_path / "run")).manifest.warnings
    assert warning.startswith("claim_check asks tiny, which wrote the captions")


def test_a_killed_choice_is_made_again_and_one_that_stands_is_not(copy):
    corpus = open_corpus(str(copy))
    mine, expected = stage(corpus), tree(copy)
    corpus.store.remove(mine.done)
    corpus.store.remove(mine.path(1))  # the shard was in flight: its choices are there already
    paths = [Path(corpus.store.path(mine.choices(shard))) for shard in range(3)]
    before = [path.stat().st_mtime_ns for path in paths]
    decided(copy)
    assert tree(copy) == expected
    after = [path.stat().st_mtime_ns for path in paths]
    assert [new > old for new, old in zip(after, before, strict=True)] == [False, True, False]
