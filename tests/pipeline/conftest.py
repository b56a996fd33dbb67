"""Fixtures of whole runs."""

from pathlib import Path

import pytest

from tests.pipeline.corpora import curate, write_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A source of 60 clean pairs."""
    return write_pairs(tmp_path / "pairs", 60)


@pytest.fixture
def done(pairs: Path, tmp_path: Path) -> Path:
    """A finished run over it."""
    curate(pairs, tmp_path / "done")
    return tmp_path / "done"
