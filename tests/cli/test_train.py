"""`curate train` and `curate sample`: what they refuse, in one line, and what a plan says."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from curation.cli.main import main
from curation.cli.train import corpus_share
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.pipeline.ingest import IngestRequest, ingest
from curation.trainer.metrics import read_metrics
from curation.trainer.sole import sole_run
from tests.pipeline.corpora import write_pairs
from tests.trainer.samples import jpeg, write_export

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("--config", "tiny", "--workers", "0", "--global-batch", "2", "--steps", "2")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports `pairs`, `gui`, `ocr` and `video`, and `unfinished`."""
    root = tmp_path_factory.mktemp("corpora")
    for name, family in (
        ("pairs", "image-text"),
        ("gui", "gui"),
        ("ocr", "ocr"),
        ("video", "video"),
    ):
        write_export(root / name, family, count=30)
    write_export(root / "unfinished", "ocr", count=5)
    (root / "unfinished" / "manifest.json").unlink()
    return root


@pytest.fixture(scope="module")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that ended."""
    out = tmp_path_factory.mktemp("trained") / "run"
    torch.set_num_threads(1)
    assert curate(*_stage1(corpora, out)) == 0
    return out


def curate(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        assert isinstance(stopped.code, int)
        return stopped.code


def _stage1(corpora: Path, out: Path, *more: object) -> tuple[object, ...]:
    shares = ("--corpus", f"{corpora}/pairs:0.7", "--corpus", f"{corpora}/gui:0.3")
    return ("train", "--stage", "1", *shares, "--out", out, *SMALL, *more)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--stage", "1", "--corpus", "{}/nowhere:1"), 1, "nowhere"),
        (("--stage", "1", "--corpus", "{}/unfinished:1"), 1, "unfinished"),
        (("--stage", "1", "--corpus", "{}/video:1"), 2, "a video corpus; stage 1 reads"),
        (("--stage", "3", "--corpus", "{}/pairs:1"), 2, "there are stages 1 and 2"),
        (("--stage", "2", "--corpus", "{}/pairs:1"), 2, "--init the --out of stage 1"),
        (("--stage", "1", "--corpus", "{}/pairs:0"), 2, "the share must be above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:half"), 2, "is no share"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--config", "7b"), 2, "there are tiny,"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--config", "9b"), 2, "--tokenizer"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--init", "{}/pairs"), 2, "neither a finished"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--steps", "0"), 2, "--steps must be"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--workers", "-1"), 2, "--workers must be"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "rate=1"), 2, "no such setting"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "floor=x"), 2, "floor takes a number"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "floor=3"), 2, "floor must be 0 to 1"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "vision.fps=0"), 2, "above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "vision.fps=nan"), 2, "above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "eps=-1"), 2, "eps must be above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "learning_rate=inf"), 2, "above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "clip_norm=nan"), 2, "above 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "weight_decay=-1"), 2, "at least 0"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "keep_checkpoints=0"), 2, "least 1"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--set", "vision.merge_size=4"), 2, "no such"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--sequence-length", "8"), 2, "at least 16"),
        (("--stage", "1", "--corpus", "{}/pairs:1", "--seed", str(2**65)), 2, "--seed must be"),
    ],
)
def test_what_cannot_be_trained_is_one_line(corpora, tmp_path, capsys, asked, code, said) -> None:
    given = [word.format(corpora) for word in asked]
    assert curate("train", *SMALL, "--out", tmp_path / "out", *given) == code
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("curate: ") and said in told[-1]
    assert not any("Traceback" in line for line in told)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_file_where_a_folder_must_be_is_one_line(corpora, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in ("file", "file/sub", "file/sub/deep"):
        assert curate(*_stage1(corpora, tmp_path / out)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"curate: {tmp_path / 'file'}: a file, not a folder; name another --out"


def test_a_plan_alone_says_fill_mixture_steps_and_cost(corpora, tmp_path, capsys) -> None:
    assert curate(*_stage1(corpora, tmp_path / "out", "--plan-only")) == 0
    told = capsys.readouterr().out
    assert "2 steps of 2 packs of 512 tokens" in told
    assert "fill" in told and "FLOPs" in told and "epochs" in told
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_run_writes_metrics_and_a_model_and_is_not_repeated(corpora, trained, capsys) -> None:
    records = read_metrics(trained)
    assert [record["step"] for record in records] == [1, 2]
    first = records[0]
    assert {family for record in records for family in record["losses"]} == {"image-text", "gui"}
    assert first["tokens"] > first["supervised_tokens"] > 0 and first["tflops"] > 0
    assert (trained / "model" / "config.json").exists()
    assert list((trained / "tensorboard").iterdir())
    before = (trained / "metrics.jsonl").read_bytes()
    assert curate(*_stage1(corpora, trained)) == 0
    assert "finished already" in capsys.readouterr().err
    assert (trained / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--set", "learning_rate=0.5"), "recipe.learning_rate was 0.002, now 0.5"),
        (("--seed", "7"), "recipe.seed was 0, now 7"),
        (("--corpus", "{}/ocr:0.5"), "(corpora was image-text@"),
    ],
)
def test_a_run_does_not_go_on_with_another_plan(
    corpora, trained, tmp_path, capsys, change, said
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "model")
    given = [word.format(corpora) for word in change]
    assert curate(*_stage1(corpora, out, *given)) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "another plan" in told and said in told
    before = (out / "plan" / "plan.json").read_bytes()
    assert curate(*_stage1(corpora, out, "--plan-only", *given)) == 2
    assert "another plan" in capsys.readouterr().err
    assert (out / "plan" / "plan.json").read_bytes() == before


def test_a_folder_that_is_trained_in_is_not_trained_in_twice(corpora, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    with sole_run(out):
        for more in ((), ("--plan-only",)):
            assert curate(*_stage1(corpora, out, *more)) == 1
            assert "a training is running there" in capsys.readouterr().err
    assert curate(*_stage1(corpora, out, "--plan-only")) == 0


def test_the_cost_of_a_plan_is_that_of_the_model(corpora, tmp_path, capsys) -> None:
    costs = []
    for config in ("tiny", "demo"):
        out = tmp_path / config
        more = ("--config", config, "--sequence-length", "512", "--plan-only")
        assert curate(*_stage1(corpora, out, *more)) == 0
        costs.append(re.search(r"in all; (\S+) FLOPs", capsys.readouterr().out))
    tiny, demo = (float(cost[1]) for cost in costs if cost)
    assert demo > 10 * tiny  # the head, whose words are the same, is half of the tiny one


def test_a_diverged_run_says_so_each_time_and_is_none_to_go_on_from(
    corpora, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    asked = _stage1(corpora, out, "--steps", "6", "--set", "learning_rate=1e6", "--set", "warmup=0")
    for _ in range(2):  # the second time there is nothing left to train
        assert curate(*asked) == 1
        told = capsys.readouterr().err.strip().splitlines()
        assert told[-1].startswith(f"curate: {out}: the training diverged in 6 steps: its loss is")
        assert "lower learning_rate (now 1e+06)" in told[-1]
        assert not any("try it" in line for line in told)
    assert [record["step"] for record in read_metrics(out)] == [1, 2, 3, 4, 5, 6]
    spikes = [json.loads(line) for line in (out / "spikes.jsonl").read_text().splitlines()]
    assert spikes[0]["step"] <= 3
    second = ("--corpus", f"{corpora}/video:1", "--init", out, "--out", tmp_path / "second")
    assert curate("train", "--stage", "2", *second, *SMALL) == 2
    assert "a run that is not finished" in capsys.readouterr().err


def test_replay_knows_a_corpus_by_any_of_its_names(
    corpora, trained, tmp_path, capsys, monkeypatch
) -> None:
    """Named as a run directory, relative to another folder, or by the model of the run before."""
    run = tmp_path / "whole"
    with LocalEngine(workers=0) as engine:
        ingest(
            IngestRequest(source=str(write_pairs(tmp_path / "source", 2))),
            str(run / "corpus"), engine, SILENT,
        )  # fmt: skip
    shutil.copytree(corpora / "pairs", run / "export")
    monkeypatch.chdir(tmp_path)
    assert curate("train", "--stage", "1", "--corpus", "whole", "--out", "first", *SMALL) == 0
    monkeypatch.chdir(corpora)
    second = ("--init", tmp_path / "first" / "model", "--out", tmp_path / "second", *SMALL)
    both = ("--corpus", f"{run}:1", "--corpus", f"{corpora}/video:1")
    assert curate("train", "--stage", "2", *both, *second, "--plan-only") == 0
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert [line for line in told if line[0].startswith(("image-text", "video"))] == [
        ["image-text", "50.0%"],
        ["video", "50.0%"],
    ]
    only = ("--corpus", corpora / "video")
    assert curate("train", "--stage", "2", *only, *second, "--plan-only") == 0
    assert ["image-text", "50.0%"] in [
        line.split()[:2] for line in capsys.readouterr().out.splitlines()
    ]


def test_stage_2_replays_what_stage_1_read(corpora, trained, tmp_path, capsys) -> None:
    out = tmp_path / "second"
    asked = ("--corpus", f"{corpora}/video:1", "--corpus", f"{corpora}/gui:1", "--init", trained)
    assert curate("train", "--stage", "2", *asked, "--out", out, *SMALL, "--plan-only") == 0
    lines = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (lines["video"], lines["gui"], lines["image-text"]) == ("25.0%", "25.0%", "50.0%")


def test_stage_2_does_not_begin_with_a_run_that_is_not_finished(
    corpora, trained, tmp_path, capsys
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "model")
    asked = ("--corpus", f"{corpora}/video:1", "--init", out, "--out", tmp_path / "second")
    assert curate("train", "--stage", "2", *asked, *SMALL) == 2
    assert "a run that is not finished" in capsys.readouterr().err


def test_a_model_of_another_shape_is_refused(corpora, trained, tmp_path, capsys) -> None:
    asked = ("--corpus", f"{corpora}/pairs:1", "--init", trained, "--out", tmp_path / "out")
    assert curate("train", "--stage", "1", *asked, *SMALL, "--config", "demo") == 2
    assert "name the --config" in capsys.readouterr().err


def test_a_batch_that_does_not_divide_over_processes_is_refused(
    corpora, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert curate(*_stage1(corpora, tmp_path / "out")) == 2
    assert "does not divide over 3 processes" in capsys.readouterr().err


def test_a_damaged_record_of_a_run_is_one_line(corpora, trained, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    (out / "run.json").write_text('{"plan": ')
    assert curate(*_stage1(corpora, out)) == 1
    assert "run.json: damaged" in capsys.readouterr().err


def test_a_sample_is_asked_about_an_image(trained, tmp_path, capsys) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg(0)[0])
    asked = ("sample", trained, "--image", picture, "--prompt", "A", "--max-tokens", "4")
    assert curate(*asked) == 0
    greedy, told = capsys.readouterr()
    assert ("ends its answer before a word" in told) == (not greedy.strip())
    assert curate(*asked) == 0
    assert capsys.readouterr().out == greedy
    assert curate(*asked, "--temperature", "5", "--seed", "1") == 0
    assert capsys.readouterr().out != greedy


def test_a_sample_without_checkpoint_or_image_is_one_line(trained, tmp_path, capsys) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"not a picture at all")
    assert curate("sample", trained, "--image", tmp_path / "none.jpg") == 2
    assert "none.jpg: cannot be read" in capsys.readouterr().err
    assert curate("sample", trained, "--image", picture) == 2
    assert "picture.jpg: not an image" in capsys.readouterr().err
    assert curate("sample", tmp_path, "--image", picture) == 2
    assert "neither a finished run" in capsys.readouterr().err


def test_shares_are_told_from_addresses() -> None:
    assert corpus_share("run1/export:0.7").share == 0.7
    assert corpus_share("s3://bucket/export").url == "s3://bucket/export"
    assert corpus_share("s3://bucket/export:2").url == "s3://bucket/export"
    assert corpus_share("run1").share is None


def test_training_needs_no_torch_to_be_explained() -> None:
    """`curate train --help` stays quick."""
    program = (
        "import sys; from curation.cli.main import main\n"
        "try:\n main(['train', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    import subprocess

    done = subprocess.run(
        [os.sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "--plan-only" in done.stdout


def test_the_record_of_a_run_names_its_corpora(trained) -> None:
    record = json.loads((trained / "run.json").read_text())
    assert [corpus["share"] for corpus in record["corpora"]] == [0.7, 0.3]
    assert record["recipe"]["stage"] == 1 and record["plan"]


def test_a_missing_extra_is_named_before_anything_is_read(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main(["train", "--stage", "1", "--corpus", "nowhere", "--out", "o"]) == 2
    said = capsys.readouterr().err
    assert "curate train needs tokenizers: pip install 'curation[train]'" in said
    assert "Traceback" not in said
