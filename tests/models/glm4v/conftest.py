"""Our model and transformers', with the same random weights."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.model import Glm4v
from tests.models.glm4v.packs import oracle_of, ours_of, small


@dataclass
class Pair:
    config: Glm4vConfig
    ours: Glm4v
    oracle: Any


@pytest.fixture(scope="session", params=["dense", "moe"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    config = small(request.param)
    oracle = oracle_of(config)
    return Pair(config, ours_of(oracle, tmp_path_factory.mktemp(request.param)), oracle)


@pytest.fixture(autouse=True)
def always_one_thread(one_thread: None) -> None:
    """Marks of a conftest reach no test."""


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)
