"""What is missing or damaged is told before a sample is read."""

import shutil
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.models.clip_source import DEMO_FOLDER
from tests.pipeline.corpora import write_pairs


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Pairs to curate, and beside them weights that were cut short and an empty folder."""
    folder = tmp_path_factory.mktemp("preflight")
    write_pairs(folder / "source", 3)
    weights = next(DEMO_FOLDER.glob("*.safetensors")).read_bytes()
    (folder / "cut.safetensors").write_bytes(weights[: len(weights) // 2])
    (folder / "local").mkdir()
    for file in DEMO_FOLDER.iterdir():
        shutil.copy(file, folder / "local")
    shutil.copy(folder / "cut.safetensors", folder / "local" / "model.safetensors")
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--benchmark", "exam=nowhere"), "benchmark exam: nowhere: no such file or folder"),
        (("--benchmark", "exam=empty"), "benchmark exam: nothing in empty can be compared"),
        (("--set", "clip.model=RN50", "--set", "clip.pretrained=openal"), "RN50 has no weights"),
        (
            ("--set", "clip.model=RN50", "--set", "clip.checkpoint=cut.safetensors"),
            "cut.safetensors: the weights file is damaged or was cut short",
        ),
        (
            ("--set", "clip.checkpoint=local", "--set", "clip.model=local"),
            "local/model.safetensors: the weights file is damaged or was cut short",
        ),
        (("--set", "clip.pretrained=openai"), "the demo model has its own weights"),
    ],
)
def test_what_is_missing_is_told_before_ingest(source, tmp_path, monkeypatch, capsys, arguments,
                                               told):  # fmt: skip
    monkeypatch.chdir(source)
    out = tmp_path / "out"
    command = ["run", "image-text", "--input", "source", "--out", str(out), "--workers", "0"]
    assert main([*command, *arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    assert told in said[-1]
    assert said[-1].startswith("curate: ")
    assert not [line for line in said if line.startswith(("plan:", "ingest:"))]
    assert not out.exists()
