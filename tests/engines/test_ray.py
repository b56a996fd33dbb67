"""Ray on this machine: the same bytes as the embedded engine, on both ways through it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from curation.core.errors import RunError, UsageError
from curation.core.limits import Limits
from curation.core.placement import Placement
from curation.core.progress import SILENT
from curation.engines.isolated import Isolated
from curation.engines.local import LocalEngine
from curation.engines.ray import RayEngine
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.measure_stream import StreamShard
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import RunResult, run
from jobs.image_text import recipe
from tests.engines.halves import Halved, halved_recipe
from tests.pipeline.corpora import tree, write_pairs

# Ray warns of its own settings, and of its future, where it makes use of itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

LIMITS = Limits(deadline=1.0, memory=3 << 30)


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    scratch = str(tmp_path_factory.mktemp("scratch"))
    with RayEngine(scratch=scratch, cores=2, memory="500MB", limits=LIMITS) as engine:
        yield engine


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "source", 40)


@pytest.fixture
def only_streamed(monkeypatch):
    """No item that can be streamed may be run whole."""
    whole = RayEngine._isolated

    def isolated(self, task: Isolated, items, threads):
        assert not isinstance(task.task, StreamShard), items
        return whole(self, task, items, threads)

    monkeypatch.setattr(RayEngine, "_isolated", isolated)


def request_of(source: Path, shard_samples: int = 16) -> IngestRequest:
    return IngestRequest(source=str(source), options=SourceOptions(shard_samples=shard_samples))


def curated(recipe: Recipe, source: Path, out: Path, engine) -> RunResult:
    return run(recipe, request_of(source), str(out), engine, SILENT)


def square(number: int) -> int:
    return number * number


def deadly(number: int) -> int:
    """Kills its process on 13."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def fails(number: int) -> int:
    raise ValueError(number)


def probe(number: int) -> None:
    deadly(number)


def milder(number, survives):
    return 1000 if not survives(probe, number) and survives(probe, 12) else -1


def test_every_item_is_worked_once(ray):
    assert sorted(ray.map(square, range(20))) == [n * n for n in range(20)]
    assert list(ray.map(square, [])) == []


def test_what_a_task_raises_reaches_the_caller(ray):
    with pytest.raises(ValueError, match="0"):
        list(ray.map(fails, [0]))
    with pytest.raises(RunError, match=r"died .* on 13"):
        list(ray.map(deadly, [1, 13]))


def test_a_milder_item_stands_in_for_one_that_kills(ray):
    assert sorted(ray.map(deadly, [1, 13, 2], on_crash=milder)) == [1, 2, 1000]


def test_stages_have_the_resources_that_they_are_placed_on(ray):
    placed = replace(ray, placement={"clip": Placement(engine="ray", gpus=1.0)})
    assert placed.at("probe") is placed.at("text")
    assert placed.at("clip") is placed.at("clip").at("clip") is not placed.at("text")
    with pytest.raises(UsageError, match="placed on 1 GPUs, but no node"):
        list(placed.at("clip").map(square, [1]))


def test_scratch_space_is_gone_afterwards(ray):
    with ray.folder() as folder, ray.session() as session:
        Path(folder).mkdir()
        session.create("t", "SELECT 1 AS a")
    assert [path for path in Path(ray.scratch).iterdir() if path.name != ".tmp"] == []


def test_a_run_has_the_bytes_of_the_embedded_engine(ray, source, tmp_path, only_streamed):
    rec = recipe().with_settings(("clip.model=demo", "clip.batch_size=8"))
    with LocalEngine(workers=0, memory="500MB") as engine:
        curated(rec, source, tmp_path / "local", engine)
    expected = tree(tmp_path / "local")
    curated(rec, source, tmp_path / "ray", replace(ray, placement={"clip": Placement(pool=2)}))
    assert tree(tmp_path / "ray") == expected


@pytest.mark.parametrize(
    ("half", "how"),
    [
        ("prepare", "raise"),
        ("prepare", "crash"),
        ("prepare", "hang"),
        ("prepare", "memory"),
        ("compute", "raise"),
        ("compute", "crash"),
        ("compute", "hang_in_c"),
        ("compute", "memory"),
    ],
)
@pytest.mark.slow
def test_a_row_that_breaks_a_half_costs_only_itself(ray, source, tmp_path, half, how):
    operators = (Halved(how=how, half=half),)
    limits = LIMITS if "hang" in how else replace(LIMITS, deadline=20.0)  # a machine may be busy
    local, ray = LocalEngine(workers=1, limits=limits), replace(ray, limits=limits, _views={})
    trees = []
    for name, engine in (("local", local), ("ray", ray)):
        corpus = ingest(request_of(source), str(tmp_path / name), LocalEngine(workers=0), SILENT)
        (layer,) = measure(corpus, operators, engine, SILENT)
        assert sum(layer.errors.values()) == 1
        corpus.store.remove(".tmp")
        trees.append(tree(tmp_path / name))
        if name == "local":
            engine.close()
    assert trees[0] == trees[1]


def test_shards_that_have_their_layer_are_not_measured_again(ray, source, tmp_path, only_streamed):
    corpus = ingest(request_of(source), str(tmp_path), LocalEngine(workers=0), SILENT)
    measure(corpus, (Halved(),), ray, SILENT)
    files = sorted(Path(corpus.store.path("layers")).rglob("*.*"))
    before = {path.name: path.stat().st_mtime_ns for path in files}
    files[1].unlink()
    next(path for path in files if path.name.startswith("_done")).unlink()
    measure(corpus, (Halved(),), ray, SILENT)
    after = {path.name: path.stat().st_mtime_ns for path in files}
    assert {name for name in before if after[name] == before[name]} >= {files[0].name}


def test_halved_recipe_is_undisturbed_where_nothing_breaks(ray, source, tmp_path, only_streamed):
    with LocalEngine(workers=0, memory="500MB") as engine:
        made = curated(halved_recipe(), source, tmp_path / "local", engine)
    curated(halved_recipe(), source, tmp_path / "ray", ray)
    assert tree(tmp_path / "local") == tree(tmp_path / "ray")
    assert made.corpus.totals.quarantined == 0
