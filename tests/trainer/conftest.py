"""Exports that several tests read."""

from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.trainer.samples import FAMILIES, write_export


@pytest.fixture(scope="session", autouse=True)
def fresh_fork_server() -> None:
    """Ends the server that other tests started: it has not loaded torch, and every loader worker
    would load it by itself."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small export of each family, two shards each."""
    root = tmp_path_factory.mktemp("exports")
    return {
        family: write_export(root / family, family, count=60, shard_samples=40)
        for family in FAMILIES
    }


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """20,000 samples of all families."""
    root = tmp_path_factory.mktemp("large")
    counts = {"image-text": 11_000, "interleaved": 1_000, "ocr": 3_000, "grounding": 2_000,
              "gui": 2_000, "video": 1_000}  # fmt: skip
    return [
        write_export(root / family, family, count=count, seed=5, shard_samples=2_000)
        for family, count in counts.items()
    ]
