"""Corpora that several tests look at, and the page on which they do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.cli.main import main
from tests.pipeline.corpora import picture, write_pairs
from tests.report.viewer.browsing import opened


@pytest.fixture(scope="session")
def clip_run(tmp_path_factory) -> Path:
    """20 pairs measured with the CLIP that ships, 7 a shard; 5 too small to be scored."""
    folder = tmp_path_factory.mktemp("clip-run")
    source = write_pairs(folder / "source", 20)
    picture(5, (60, 50)).save(source / "images" / "5.jpg")
    run = ["run", "image-text", "--input", str(source), "--out", str(folder / "out")]
    assert main([*run, "--workers", "0", "--shard-samples", "7"]) == 0
    return folder / "out"


@pytest.fixture
def page(browser, address) -> Iterator[Any]:
    """A page of the test file's own browser and viewer."""
    with opened(browser, address) as made:
        yield made
