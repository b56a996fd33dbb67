"""Commands as a user gives them: what they print, and their exit codes."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from curation.cli.main import main
from curation.io.corpus import open_corpus
from curation.version import __version__
from jobs import shipped_recipe
from tests.pipeline.corpora import ledger, tree, write_pairs

QUICK = ("--workers", "0")


def curate(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        assert isinstance(stopped.code, int)
        return stopped.code


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "source", 12)


@pytest.fixture
def out(source: Path, tmp_path: Path) -> Path:
    assert curate("run", "image-text", "--input", source, "--out", tmp_path / "out", *QUICK) == 0
    return tmp_path / "out"


def test_one_stage_at_a_time_gives_what_run_gives(source, out, tmp_path):
    corpus = tmp_path / "corpus"
    assert curate("ingest", source, "--out", corpus, *QUICK) == 0
    for operator in ("image_probe", "image_pixels", "caption_text"):
        assert curate("measure", operator, corpus, *QUICK) == 0
    assert curate("select", corpus, *QUICK) == 0
    assert curate("dedup", corpus, *QUICK) == 0
    assert curate("decide", corpus, *QUICK) == 0
    assert curate("export", corpus, "--out", tmp_path / "export", *QUICK) == 0
    assert curate("gc", corpus) == 0
    assert tree(corpus) == tree(out / "corpus")
    assert tree(tmp_path / "export") == tree(out / "export")


def test_a_threshold_set_in_one_stage_stays_for_the_next(source, tmp_path, capsys):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    curate("measure", "all", corpus, *QUICK)
    curate("select", corpus, "--set", "heuristics.min_side=250", *QUICK)
    assert curate("dedup", corpus, *QUICK) == 0
    assert open_corpus(str(corpus)).manifest.totals.dropped == 12
    assert "min_side" in capsys.readouterr().out


def test_dedup_alone_looks_at_every_readable_sample(source, tmp_path):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    curate("measure", "all", corpus, *QUICK)
    assert curate("dedup", corpus, "--only", "near_dedup", *QUICK) == 0
    stages = open_corpus(str(corpus)).manifest.stages
    assert [(stage.stage, stage.entered) for stage in stages] == [("near_dedup", 12)]


def test_deciding_measures_what_is_missing(source, tmp_path):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    assert curate("select", corpus, *QUICK) == 0
    layers = [layer.operator for layer in open_corpus(str(corpus)).manifest.layers]
    assert layers == ["image_probe", "image_pixels", "caption_text", "concepts", "clip",
                      "visual_cluster"]  # fmt: skip


def test_inspect_tells_what_a_path_is(out, capsys):
    for path, word in (
        (out, "a run directory"),
        (out / "corpus", "a corpus"),
        (out / "export", "an export"),
    ):
        assert curate("inspect", path) == 0
        assert word in capsys.readouterr().out
    assert curate("inspect", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "run"
    assert said["corpus"]["totals"]["kept"] == 12
    assert len(said["export"]["shards"]) == 1


def test_inspect_sample_tells_all_and_gives_its_image(out, source, tmp_path, capsys):
    uid = ledger(open_corpus(str(out)))["uid"][3].as_py()
    assert curate("inspect", out, "--sample", uid[:10], "--json") == 0
    (known,) = json.loads(capsys.readouterr().out)
    assert known["uid"] == uid
    assert known["measures"]["image_probe"]["format"] == "JPEG"
    assert {stage["verdict"]["status"] for stage in known["stages"]} == {"kept"}
    assert len(known["stages"]) == len(shipped_recipe("image-text").stages)
    image = tmp_path / "look.jpg"
    assert curate("inspect", out, "--sample", uid, "--image", image) == 0
    assert image.read_bytes() == (source / "images" / "3.jpg").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["look.jpg", "out", "out.runs", "source"]
    assert "stage near_dedup" in capsys.readouterr().out


def test_inspect_never_shows_a_blocked_sample(source, tmp_path, capsys):
    bad = hashlib.sha256((source / "images" / "2.jpg").read_bytes()).hexdigest()
    (tmp_path / "abuse.txt").write_text(bad)
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    setting = f"blocklist.lists={tmp_path / 'abuse.txt'}"
    assert curate("decide", corpus, "--set", setting, *QUICK) == 0
    rows = ledger(open_corpus(str(corpus))).to_pylist()
    (blocked,) = [row for row in rows if row["status"] == "dropped"]
    assert (blocked["reason"], blocked["detail"]) == ("blocked_sha256", "abuse")
    image = tmp_path / "look.jpg"
    assert curate("inspect", corpus, "--sample", blocked["uid"], "--image", image) == 1
    assert not image.exists()
    assert "not shown" in capsys.readouterr().err


def test_verify_is_content_with_what_run_made(out, capsys):
    for path in (out, out / "corpus", out / "export"):
        assert curate("verify", path, *QUICK) == 0
        assert "all is as its manifest says" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("victim", "told"),
    [
        ("corpus/shards/000000000.tar", "SHA-256 differs"),
        ("corpus/index/000000000.parquet", "SHA-256 differs"),
        ("corpus/layers/*/000000000.parquet", "damaged"),
        ("corpus/ledgers/final-*/000000000.parquet", "damaged"),
        ("corpus/ledgers/heuristics-*/000000000.parquet", "damaged"),
        ("export/*.tar", "SHA-256 differs"),
        ("export/index/*.parquet", "SHA-256 differs"),
    ],
)
def test_verify_finds_a_flipped_byte(out, victim, told, capsys):
    path = sorted(out.glob(victim))[0]
    data = bytearray(path.read_bytes())
    data[-40 if path.suffix == ".parquet" else len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert curate("verify", out, *QUICK) == 1
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    "victim",
    [
        "corpus/shards/000000000.tar",
        "corpus/ledgers/near_dedup-*/000000000.parquet",
        "export/*.idx",
    ],
)
def test_verify_finds_a_missing_file(out, victim, capsys):
    sorted(out.glob(victim))[0].unlink()
    assert curate("verify", out, *QUICK) == 1
    assert "missing" in capsys.readouterr().out


def test_diff_names_what_changed(out, source, tmp_path, capsys):
    other = tmp_path / "other"
    arguments = ("--input", source, "--out", other, "--set", "heuristics.min_side=241", *QUICK)
    curate("run", "image-text", *arguments)
    assert curate("diff", out, other, "--json", *QUICK) == 0
    said = capsys.readouterr().out
    (move,) = json.loads(said[said.index("{\n") :])["moves"]
    assert (move["was"], move["now"]) == ("kept", "dropped: heuristics min_side")
    assert move["samples"] == 12
    assert curate("diff", out, other, *QUICK) == 0
    told = capsys.readouterr().out
    assert "min_side" in told
    assert "0 samples with the same fate" in told
    assert curate("diff", out, out, *QUICK) == 0
    assert "12 samples with the same fate" in capsys.readouterr().out


def test_status_tells_what_is_done_and_left(source, out, tmp_path, capsys):
    assert curate("status", out) == 0
    told = capsys.readouterr().out
    assert "done: export, 12 samples" in told
    assert "finished" in told
    curate("ingest", source, "--out", tmp_path / "corpus", *QUICK)
    capsys.readouterr()
    assert curate("status", tmp_path / "corpus") == 0
    assert "left: measure, decide, export" in capsys.readouterr().out


def test_gc_removes_only_what_the_recipe_does_not_name(source, out, capsys):
    clean = tree(out)
    curate(
        "run",
        "image-text",
        "--input",
        source,
        "--out",
        out,
        "--set",
        "near_dedup.distance=1",
        *QUICK,
    )
    curate("run", "image-text", "--input", source, "--out", out, *QUICK)
    assert tree(out) != clean
    capsys.readouterr()
    assert curate("gc", out, "--dry-run") == 0
    assert "ledgers/near_dedup-" in capsys.readouterr().out
    assert tree(out) != clean
    assert curate("gc", out) == 0
    assert tree(out) == clean


def test_a_dry_run_estimates_the_whole(source, tmp_path, capsys):
    arguments = ("--input", source, "--out", tmp_path / "dry", "--limit", "3", *QUICK)
    assert curate("run", "image-text", *arguments) == 0
    assert "dry run on 3 of 12 samples; the whole would take about" in capsys.readouterr().err


def test_columns_chosen_are_told(source, tmp_path, capsys):
    curate("ingest", source, "--out", tmp_path / "corpus", *QUICK)
    assert "images from column 'image', texts from 'text'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("ingest", "/nonexistent", "--out", "OUT"), 2, "/nonexistent: no such file or folder"),
        (("ingest", "EMPTY", "--out", "OUT"), 2, "no images, tars or tables"),
        (("ingest", "SOURCE", "--out", "OUT", "--image-column", "no"), 2, "no column no"),
        (("ingest", "SOURCE", "--out", "OUT", "--shard-samples", "0"), 2, "--shard-samples"),
        (("ingest", "SOURCE", "--out", "OUT", "--limit", "-1"), 2, "--limit"),
        (("ingest", "SOURCE", "--out", "OUT", "--workers", "-1"), 2, "--workers"),
        (
            ("run", "image-text", "--input", "SOURCE", "--out", "OUT", "--memory", "lots"),
            2,
            "--memory",
        ),
        (("run", "image-text", "--input", "SOURCE", "--out", "OUT", "--set", "x"), 2, "--set x"),
        (
            ("run", "image-text", "--input", "SOURCE", "--out", "OUT", "--blocklist", "no"),
            2,
            "no: ",
        ),
        (("inspect", "EMPTY"), 1, "no manifest.json"),
        (("verify", "EMPTY"), 1, "no manifest.json"),
        (("measure", "taste", "OUT"), 1, "no manifest.json"),
        (("export", "EMPTY", "--out", "OUT"), 1, "no manifest.json"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(arguments, code, told, source, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    names = {"SOURCE": source, "OUT": tmp_path / "o", "EMPTY": tmp_path / "empty"}
    assert curate(*(names.get(a, a) for a in arguments)) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("curate: ")
    assert told in error


def test_the_version_is_printed(capsys):
    assert curate("--version") == 0
    assert capsys.readouterr().out == f"curate {__version__}\n"


def test_unknown_commands_and_options_are_usage_errors(capsys):
    assert curate("frobnicate") == 2
    assert curate("inspect") == 2
    assert curate("ingest", "x", "--out", "y", "--frob", "1") == 2
    assert "frob" in capsys.readouterr().err


def test_an_unknown_operator_is_named(out, capsys):
    assert curate("measure", "taste", out, *QUICK) == 2
    assert (
        "there are: image_probe, image_pixels, source_columns, caption_text,"
        in capsys.readouterr().err
    )


def test_a_damaged_manifest_is_one_line(out, capsys):
    (out / "corpus" / "manifest.json").write_text("{")
    assert curate("inspect", out) == 1
    assert capsys.readouterr().err.startswith("curate: ")


def test_logs_lie_beside_the_run_not_in_it(out):
    logs = list((out.parent / "out.runs").glob("*.json"))
    assert len(logs) == 1
    said = json.loads(logs[0].read_text())
    assert said["state"] == "finished"
    assert {"ingest", "heuristics", "export"} <= {stage["stage"] for stage in said["stages"]}
    assert curate("verify", out / "corpus", *QUICK) == 0
    assert sorted(p.name for p in out.iterdir()) == ["corpus", "export"]


def test_pictures_of_every_common_format_come_through(tmp_path):
    folder = tmp_path / "folder"
    source = write_pairs(tmp_path / "source", 3)
    folder.mkdir()
    for n, kind in enumerate(("png", "webp", "gif")):
        Image.open(source / "images" / f"{n}.jpg").save(folder / f"{n}.{kind}")
        (folder / f"{n}.txt").write_text(f"Some words about picture {n} of three")
    shutil.copy(source / "pairs.jsonl", folder / "notes.md")
    assert curate("run", "image-text", "--input", folder, "--out", tmp_path / "o", *QUICK) == 0
    assert open_corpus(str(tmp_path / "o")).manifest.totals.kept == 3


def test_calibrate_says_that_the_demo_model_knows_no_such_pictures(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    curate("ingest", write_pairs(tmp_path / "many", 60), "--out", corpus, *QUICK)
    assert curate("calibrate", corpus, *QUICK) == 1
    said = capsys.readouterr().out
    assert "60 true pairs" in said
    assert "NOT PASSED" in said
    assert "knows drawings, not photographs" in said
    found = open_corpus(str(corpus)).manifest.calibration
    assert found is not None
    assert (found.pairs, found.passed) == (60, False)
    assert found.shuffled == 60 * 59


def test_calibrate_needs_pairs(source, tmp_path, capsys):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    assert curate("calibrate", corpus, *QUICK) == 1
    assert "too few pairs" in capsys.readouterr().err


def test_balance_decides_up_to_the_balance(source, tmp_path):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    assert curate("balance", corpus, "--set", "balance.t=1", *QUICK) == 0
    stages = [stage.stage for stage in open_corpus(str(corpus)).manifest.stages]
    assert stages[-1] == "balance"
    assert "caption_frequency" in stages


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("clip.model=ViT-B-33", "ViT-B-33"),
        ("clip.checkpoint=nowhere.safetensors", "nowhere.safetensors"),
        ("concepts.vocabulary=nowhere.txt", "nowhere.txt"),
        ("linear_head.heads=nowhere.safetensors", "nowhere.safetensors"),
        ("clip.floor=min_side", "floor"),
        ("clip_select.threshold=two", "float"),
        ("decontaminate.benchmarks=folder", "--benchmark"),
    ],
)
def test_a_selection_setting_without_meaning_is_one_line(source, tmp_path, capsys, setting, words):
    command = ["run", "image-text", "--input", source, "--out", tmp_path / "o", "--set", setting]
    assert curate(*command, *QUICK) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_a_command_for_some_stages_keeps_what_was_set_for_the_others(source, tmp_path):
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    settings = ("--set", "semantic_dedup.epsilon=0.01", "--set", "balance.t=15")
    assert curate("decide", corpus, *settings, *QUICK) == 0
    whole = (corpus / "manifest.json").read_bytes()
    assert curate("select", corpus, *QUICK) == 0
    assert curate("dedup", corpus, "--only", "near_dedup", *QUICK) == 0
    assert curate("decide", corpus, *QUICK) == 0
    assert (corpus / "manifest.json").read_bytes() == whole


def test_a_vocabulary_stays_with_the_corpus(source, tmp_path, capsys):
    words = tmp_path / "words.txt"
    words.write_text("river\nlantern\ntiger\n")
    corpus = tmp_path / "corpus"
    curate("ingest", source, "--out", corpus, *QUICK)
    setting = ("--set", f"concepts.vocabulary={words}", "--set", "balance.t=1")
    assert curate("decide", corpus, *setting, *QUICK) == 0
    words.unlink()
    assert curate("gc", corpus) == 0
    assert curate("decide", corpus, "--set", "balance.t=2", *QUICK) == 0
    assert curate("report", corpus, "--out", tmp_path / "r.html") == 0
    page = (tmp_path / "r.html").read_text()
    assert "lantern" in page.split('id="balance"')[1][:6000]
