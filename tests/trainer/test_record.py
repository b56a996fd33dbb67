"""Whose a folder is, what goes on in it, and where what it reads has moved to."""

import json
import shutil
from pathlib import Path

import pytest

from curation.core.errors import RunError, UsageError
from curation.models.glm4v.tokenizer import DEMO_TOKENIZER
from curation.trainer.record import check_unused, origin_named, read_record
from tests.cli.test_train import SMALL, curate
from tests.trainer.commands import losses
from tests.trainer.samples import write_export

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "name",
    ["model", "shape", "checkpoints", "plan", "metrics.jsonl", "tensorboard"],
)
def test_what_lies_in_a_folder_that_no_run_made_stays(exports, tmp_path, capsys, name) -> None:
    out = tmp_path / "out"
    mine = out / name / "mine.txt" if "." not in name else out / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    asked = ("train", "--stage", "1", "--corpus", f"{exports['gui']}:1", "--out", out, *SMALL)
    for more in ((), ("--plan-only",)):
        assert curate(*asked, *more) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith(f"curate: {out}: holds {name}") and "choose another --out" in told
    assert mine.read_text() == "precious"
    assert {path.name for path in out.iterdir()} <= {name, ".lock"}


def test_a_plan_made_before_or_broken_off_is_no_stranger(tmp_path: Path) -> None:
    check_unused(tmp_path)
    steps = tmp_path / "plan" / "steps"
    steps.mkdir(parents=True)
    for name in ("plan/.tmp", "plan/token_count-0a1b"):
        (tmp_path / name).mkdir()
    for name in ("plan.json", "identity.json", "steps/000000.parquet"):
        (tmp_path / "plan" / name).touch()
    check_unused(tmp_path)
    (steps / "mine.txt").touch()
    with pytest.raises(UsageError, match=r"holds plan/steps/mine\.txt but no run\.json"):
        check_unused(tmp_path)


def test_a_run_goes_on_where_corpora_and_tokenizer_have_moved(tmp_path, monkeypatch) -> None:
    """Named in a plan made before, then read by workers, then by a run that is resumed."""
    places = [tmp_path / name for name in "abc"]
    write_export(places[0] / "pairs", "image-text", count=30)
    shutil.copytree(DEMO_TOKENIZER, places[0] / "words")
    out = tmp_path / "out"

    def asked(place: Path, *more: object) -> tuple[object, ...]:
        read = ("--corpus", f"{place / 'pairs'}:1", "--tokenizer", place / "words")
        return ("train", "--stage", "1", *read, "--out", out, *SMALL, *more)

    assert curate(*asked(places[0], "--plan-only")) == 0
    places[0].rename(places[1])
    assert curate(*asked(places[1], "--workers", "1")) == 0
    first = losses(out)
    for name in ("model", "checkpoints"):
        shutil.rmtree(out / name)
    places[1].rename(places[2])
    assert curate(*asked(places[2])) == 0
    assert losses(out) == first
    assert [corpus["url"] for corpus in read_record(out)["corpora"]] == [str(places[2] / "pairs")]


def test_a_run_goes_on_by_another_spelling_and_says_which_part_differs(
    exports, tmp_path, monkeypatch, capsys
) -> None:
    def asked(init: str, *corpora: str) -> tuple[object, ...]:
        named = [
            word for corpus in corpora for word in ("--corpus", f"{exports['gui'].parent}/{corpus}")
        ]
        begin = ("--init", init) if init else ()
        out = ("--out", "second" if init else "first")
        return ("train", "--stage", "1", *named, *begin, *out, *SMALL)

    monkeypatch.chdir(tmp_path)
    assert curate(*asked("", "gui")) == 0
    assert curate(*asked("first", "gui:0.7", "ocr:0.3")) == 0
    for spelt in ("./first/", str(tmp_path / "first"), "first/model"):
        assert curate(*asked(spelt, "gui:7", "ocr:3")) == 0
        assert "finished already" in capsys.readouterr().err
    for corpora, said in (
        (("gui:6", "ocr:4"), "(shares was 0.7, 0.3, now 0.6, 0.4)"),
        (("gui:7", "grounding:3"), "(corpora was gui@"),
    ):
        assert curate(*asked("first", *corpora)) == 2
        assert said in capsys.readouterr().err
    words = tmp_path / "words"
    shutil.copytree(DEMO_TOKENIZER, words)
    spec = json.loads((words / "tokenizer.json").read_text())
    (words / "tokenizer.json").write_text(json.dumps(spec, indent=3))
    assert curate(*asked("first", "gui:7", "ocr:3"), "--tokenizer", words) == 2
    assert "(tokenizer was " in capsys.readouterr().err


def test_weights_have_one_name_however_spelt(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "run.json").touch()
    (tmp_path / "other").mkdir()
    names = ("run", "./run/", "run/model", str(tmp_path / "run"), "other/../run")
    assert {origin_named(name) for name in names} == {str(tmp_path / "run" / "model")}
    assert origin_named("other/") == str(tmp_path / "other")
    assert origin_named("") == ""


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", "[" * 100_000])
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json: damaged"):
        read_record(tmp_path)
