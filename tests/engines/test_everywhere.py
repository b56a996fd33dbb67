"""Every operator and every relational step on all engines: one recipe in which each has its work.

An operator's layer, a stage's ledger, the manifest and the export have the same bytes everywhere.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from curation.core.engine import Engine
from curation.core.placement import Placement
from curation.core.progress import SILENT
from curation.demo.generate import Plan, generate
from curation.engines.local import LocalEngine
from curation.engines.ray import RayEngine
from curation.io.sources import SourceOptions
from curation.operators.image.perceptual_hash import phashes
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.run import RunResult, run
from jobs.image_text import recipe
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import picture, tree
from tests.relational.sessions import spark_here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

PAIRS = 240
SAID = "a caption that says the same of three pictures"
SETTINGS = (
    "source_columns.columns=alt",
    "recaption.alt_column=source_alt",
    "heuristics.language=en",
    "clip_select.threshold=0.1",
    "semantic_dedup.epsilon=0.05",
    "caption_frequency.max_images=2",
    "balance.t=2",
    "cluster_balance.t=4",
    "visual_cluster.clusters=12",
    "water_fill.target=30",
)
OPERATORS = tuple(operator.name for operator in recipe().operators)
STAGES = tuple(stage.name for stage in recipe().stages)


@contextmanager
def two_processes(scratch: str) -> Iterator[Engine]:
    with LocalEngine(workers=2, memory="500MB") as engine:
        yield engine


@contextmanager
def ray_here(scratch: str) -> Iterator[Engine]:
    placed = {"clip": Placement(pool=1)}
    with RayEngine(scratch=scratch, cores=2, memory="500MB", placement=placed) as engine:
        yield engine


@contextmanager
def on_spark(scratch: str) -> Iterator[Engine]:
    yield spark_here()


ENGINES = {"processes": two_processes, "ray": ray_here, "spark": on_spark}


def two_sentences(payload: dict[str, Any]) -> str:
    said = words_of(payload).split('<data name="caption">\n')[1].split("\n</data>")[0]
    return f"{said.rstrip('.')}. There may be more: {said.lower()}."


def by_chance(payload: dict[str, Any]) -> tuple[float, float]:
    """Every second sentence is true of its picture, the others are not."""
    return (0.875, 0.0625) if crc32(words_of(payload).encode()) % 2 else (0.125, 0.75)


@dataclass(frozen=True)
class Source:
    """Pairs, and what a recipe needs beside them so that no stage is idle."""

    folder: Path
    chat: str = ""
    """Address of a chat server."""

    @classmethod
    def make(cls, folder: Path) -> "Source":
        with LocalEngine(workers=0) as engine:
            generate(folder, Plan(pairs=PAIRS), engine, SILENT)
        images = folder / "source" / "images"
        (folder / "exam").mkdir()
        for path in sorted((images / "000").glob("*.jpg"))[-5:]:
            (folder / "exam" / path.name).write_bytes(path.read_bytes())
        with (folder / "source" / "pairs.jsonl").open("a") as file:
            for seed in range(901, 905):
                picture(seed).save(images / f"{seed}.jpg", quality=90)
                said = SAID if seed > 901 else "a picture that somebody wants to be gone"
                row = {"image": f"images/{seed}.jpg", "caption": said, "alt": f"no. {seed}"}
                file.write(json.dumps(row) + "\n")
        luma = picture(901).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
        value = int(phashes(np.asarray(luma)[None])[0][0]) & (1 << 64) - 1
        (folder / "gone.txt").write_text(f"phash:{value:016x}/8\n")
        weights = np.random.default_rng(0).standard_normal((1, 128)).astype(np.float32)
        save_file(
            {"layers.0.weight": weights, "layers.0.bias": np.zeros(1, np.float32)},
            folder / "head.safetensors",
            metadata={"column": "aesthetic_score", "clip": "demo"},
        )
        return cls(folder)

    def curated(self, out: Path, engine: Engine) -> RunResult:
        files = (
            f"blocklist.lists={self.folder}/gone.txt",
            f"linear_head.heads={self.folder}/head.safetensors",
            f"recaption.servers={self.chat}",
            f"claim_check.servers={self.chat}",
        )
        return run(
            recipe().with_settings((*SETTINGS, *files)),
            IngestRequest(
                source=str(self.folder / "source"), options=SourceOptions(shard_samples=50)
            ),
            str(out),
            engine,
            SILENT,
            benchmarks={"exam": str(self.folder / "exam")},
            force=True,
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Iterator[Source]:
    with ChatServer(say=two_sentences, judge=by_chance) as server:
        yield replace(Source.make(tmp_path_factory.mktemp("everything")), chat=server.url)


@pytest.fixture(scope="module")
def made(source, tmp_path_factory) -> tuple[RunResult, dict[str, str]]:
    """The run in one process, which the others are held against."""
    out = tmp_path_factory.mktemp("one") / "run"
    with LocalEngine(workers=0, memory="500MB") as engine:
        result = source.curated(out, engine)
    return result, tree(out)


@pytest.fixture(scope="module", params=sorted(ENGINES))
def found(request, source, tmp_path_factory) -> dict[str, str]:
    """The files of the run on an engine, by what is in them."""
    folder = tmp_path_factory.mktemp(request.param)
    start: Callable = ENGINES[request.param]
    with start(str(folder / "scratch")) as engine:
        source.curated(folder / "run", engine)
    return tree(folder / "run")


def part(files: dict[str, str], prefix: str) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if name.startswith(prefix)}


def test_every_stage_has_its_work_in_this_recipe(made):
    result, _ = made
    stages = {stage.stage: stage for stage in result.corpus.stages}
    assert [name for name in STAGES if not stages[name].dropped] == ["choose_caption"]
    kinds = {told.partition(":")[0] for told in stages["choose_caption"].choices}
    assert kinds == {"new", "repaired", "original"}
    assert result.corpus.totals.kept == 30


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operators_layer_is_the_same(found, made, operator):
    expected = part(made[1], f"corpus/layers/{operator}-")
    assert expected
    assert part(found, f"corpus/layers/{operator}-") == expected


@pytest.mark.parametrize("stage", [*STAGES, "final"])
def test_a_stages_ledger_is_the_same(found, made, stage):
    expected = part(made[1], f"corpus/ledgers/{stage}-")
    assert expected
    assert part(found, f"corpus/ledgers/{stage}-") == expected


def test_all_else_is_the_same(found, made):
    assert found == made[1]
