"""Corpora that several tests look at."""

from pathlib import Path

import pytest

from curation.cli.main import main
from tests.pipeline.corpora import picture, write_pairs


@pytest.fixture(scope="session")
def clip_run(tmp_path_factory) -> Path:
    """20 pairs measured with the CLIP that ships, 7 a shard; 5 too small to be scored."""
    folder = tmp_path_factory.mktemp("clip-run")
    source = write_pairs(folder / "source", 20)
    picture(5, (60, 50)).save(source / "images" / "5.jpg")
    run = ["run", "image-text", "--input", str(source), "--out", str(folder / "out")]
    assert main([*run, "--workers", "0", "--shard-samples", "7"]) == 0
    return folder / "out"
