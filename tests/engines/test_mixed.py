"""A run on several engines: each stage where it is placed, the same bytes as on one."""

import pytest

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.engines.mixed import MixedEngine
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.run import run
from tests.pipeline.corpora import plain_recipe, tree, write_pairs


class Listening(LocalEngine):
    """The embedded engine, which tells what it was asked for."""

    def __init__(self, name: str, heard: list[tuple[str, str]]) -> None:
        super().__init__(workers=0)
        self.name, self.heard = name, heard

    def map(self, task, items, **how):
        self.heard.append((self.name, type(task).__name__))
        return super().map(task, items, **how)

    def session(self):
        self.heard.append((self.name, "session"))
        return super().session()

    def close(self):
        self.heard.append((self.name, "close"))
        super().close()


@pytest.fixture
def heard():
    return []


@pytest.fixture
def start(heard):
    def start(name):
        heard.append((name, "start"))
        return Listening(name, heard)

    return start


def test_stages_run_where_they_are_placed_and_the_bytes_are_those_of_one_engine(
    tmp_path, heard, start
):
    request = IngestRequest(
        source=str(write_pairs(tmp_path / "source", 12)), options=SourceOptions(shard_samples=5)
    )
    stages = {"caption_text": "b", "near_dedup": "b"}
    with MixedEngine("a", stages, start) as engine:
        run(plain_recipe(), request, str(tmp_path / "mixed"), engine, SILENT)
    with LocalEngine(workers=0) as engine:
        run(plain_recipe(), request, str(tmp_path / "one"), engine, SILENT)
    assert tree(tmp_path / "mixed") == tree(tmp_path / "one")
    of_b = [what for name, what in heard if name == "b"]
    assert of_b == ["start", "MeasureShard", "ProjectShard", "session", "close"]
    measured = [name for name, what in heard if what == "MeasureShard"]
    assert measured == ["a", "b", "a"]  # concepts read caption_text's column, so come after it
    assert ("a", "close") in heard


def test_an_engine_that_no_stage_needs_is_not_started(heard, start):
    with MixedEngine("a", {"clip": "b"}, start) as engine:
        assert engine.workers == 0
        assert engine.at("heuristics") is engine.at("export")
    assert heard == [("a", "start"), ("a", "close")]
