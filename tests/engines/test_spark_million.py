"""A million rows in Spark, skewed: they stay off the driver, and are decided as DuckDB decides."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curation.core.blocklist import BlockFile
from curation.core.step import VERDICT_COLUMNS, RelationalStep
from curation.engines.sql import DuckSession
from curation.relational.balance import Balance
from curation.relational.blocklist import Blocklist
from curation.relational.caption_frequency import CaptionFrequency
from curation.relational.clip_select import ClipSelect
from curation.relational.decontaminate import Decontaminate
from curation.relational.exact_dedup import ExactDedup
from curation.relational.near_dedup import NearDedup
from curation.relational.semantic_dedup import SemanticDedup
from curation.relational.water_fill import WaterFill
from tests.memory import forget_peak, peak
from tests.relational.sessions import spark_here
from tests.relational.test_decontaminate import QUESTION, benchmark, image

pytestmark = [pytest.mark.slow, pytest.mark.spark]

MILLION = 1_000_000
SHARDS = 20
MOST = 50 << 20
"""Bytes that the driver may collect or grow by."""

VERDICTS = pa.schema([("shard", pa.int32()), ("row", pa.int32()), *VERDICT_COLUMNS])


@dataclass(frozen=True)
class Numbered:
    shard: int


def texts(place: np.ndarray) -> pa.Array:
    """A few words each; every 10,000th row quotes a benchmark."""
    said = [f"number {n} of a million pictures" for n in place.tolist()]
    return pa.array([QUESTION if n % 10_000 == 0 else text for n, text in enumerate(said)])


def shard_of_skew(shard: int) -> pa.Table:
    """One caption and one cluster on every row, each image twice, 1% with one pHash."""
    rows = np.arange(MILLION // SHARDS)
    place = rows + shard * len(rows)
    rng = np.random.default_rng(shard)
    phash = rng.integers(-(2**63), 2**63 - 1, len(rows), dtype=np.int64)
    phash[::100] = 42
    points = rng.standard_normal((len(rows), 4))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype("<f2")
    entries = np.where(rng.random((len(rows), 3)) < 0.5, 0, rng.zipf(1.5, (len(rows), 3)) % 3000)
    concepts = [sorted(set(entry)) for entry in entries.tolist()]
    return pa.table(
        {
            "shard": pa.array(np.full(len(rows), shard), pa.int32()),
            "row": pa.array(rows, pa.int32()),
            "uid": pa.array([f"{n:032x}" for n in place.tolist()]),
            "text": texts(place),
            "caption_hash": pa.array(["c" * 32] * len(rows)),
            "media_sha256": pc.cast(pa.array(place // 2), pa.string()),
            "source_url": pa.array([f"https://a.example/{n}" for n in place.tolist()]),
            "domain": pa.array(np.where(place % 5 == 0, "gone.example", "a.example")),
            "area": pa.array(place % 1000, pa.float64()),
            "phash": pa.array(phash),
            "clip_score": pa.array((place % 5000) / 5000, pa.float32()),
            "clip_skipped": pa.array(np.zeros(len(rows), bool)),
            "clip_image": pa.array([point.tobytes() for point in points], pa.binary()),
            "cluster": pa.array(np.zeros(len(rows)), pa.int32()),
            "concepts": pa.array(concepts, pa.list_(pa.int32())),
            "concept_language": pa.array(["en"] * len(rows)),
        }
    )


@pytest.fixture(scope="module")
def million(tmp_path_factory) -> list[str]:
    """The rows, a file a shard."""
    folder = tmp_path_factory.mktemp("million")
    files = [str(folder / f"{shard:09d}.parquet") for shard in range(SHARDS)]
    for shard, file in enumerate(files):
        pq.write_table(shard_of_skew(shard), file)
    return files


@pytest.fixture
def session():
    with spark_here().session() as session:
        yield session


@contextmanager
def little_grown() -> Iterator[None]:
    """What happens here may not make this process, which drives, larger by more than 50 MB.

    Its peak is set back to what it holds now: an earlier, higher one would hide everything.
    """
    forget_peak()
    before = peak()
    yield
    assert peak() - before < MOST


def test_a_driver_that_collects_is_noticed():
    for _ in range(2):  # the second time the first peak is no excuse
        with pytest.raises(AssertionError), little_grown():
            bytearray(2 * MOST)[::4096] = b"x" * (2 * MOST // 4096)
    with little_grown():
        pass


def summed(_: Numbered, rows: pa.Table) -> tuple[int, int, str]:
    """The number of a shard's verdicts, and their hash."""
    said = hashlib.sha256()
    for column in rows.columns:
        said.update(repr(column.to_pylist()).encode())
    return (rows["shard"][0].as_py() if len(rows) else -1), len(rows), said.hexdigest()


def decided(step: RelationalStep, session: Any, files: list[str]) -> list[tuple[int, int, str]]:
    session.read_files("survivors", files)
    step.decide(session)
    columns = ", ".join(VERDICTS.names)
    shards = [Numbered(shard) for shard in range(SHARDS)]
    return sorted(session.each(f"SELECT {columns} FROM verdicts", VERDICTS, shards, summed))


def steps(folder: Path) -> dict[str, RelationalStep]:
    """Each step, so that it drops some and keeps some."""
    (folder / "gone.txt").write_text(f"domain:gone.example\nphash:{42:016x}/3\n")
    exam = benchmark(folder, "exam", QUESTION, image(phash=42))
    found: list[RelationalStep] = [
        CaptionFrequency(name="captions", max_images=2),
        ExactDedup(name="image", by="image"),
        ExactDedup(name="image_and_caption", by="image_caption"),
        Blocklist(name="blocklist", lists=(BlockFile.at(str(folder / "gone.txt")),)),
        ClipSelect(name="clip_select", top_fraction=0.3),
        NearDedup(name="near", distance=3, keep_best=("clip_score", "area")),
        SemanticDedup(name="one_cluster", epsilon=0.001, max_cluster=2_000),
        Decontaminate(name="decontaminate", benchmarks=(exam,)),
        Balance(name="balance", t=2_000, unmatched="keep"),
        Balance(name="cluster_balance", by="cluster", t=2_000, unmatched="drop"),
        WaterFill(name="water_fill", target=10_000, levels=("cluster", "domain")),
    ]
    return {step.name: step for step in found}


NAMES = (
    "captions", "image", "image_and_caption", "blocklist", "clip_select", "near", "one_cluster",
    "decontaminate", "balance", "cluster_balance", "water_fill",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_million_rows_stay_off_the_driver_and_are_decided_alike(session, million, tmp_path, name):
    """The driver may collect 50 MB (spark.driver.maxResultSize), and its Python grow by as much."""
    assert session._spark.sparkContext.getConf().get("spark.driver.maxResultSize") == "50m"
    step = steps(tmp_path)[name]
    with little_grown():
        found = decided(step, session, million)
    assert 0 < sum(count for _, count, _ in found) <= MILLION
    duckdb = DuckSession(tmp_path / "db", threads=2, memory="2GB")
    try:
        assert found == decided(step, duckdb, million)
    finally:
        duckdb.close()


def test_one_group_with_a_million_rows_is_numbered(session, million):
    session.read_files("survivors", million)
    session.create(
        "ranked",
        "SELECT shard, row, row_number() OVER (PARTITION BY caption_hash ORDER BY area DESC NULLS "
        "LAST, uid ASC NULLS LAST) AS place FROM survivors",
    )
    assert session.scalar("SELECT max(place) FROM ranked") == MILLION
    streamed = 0
    with little_grown():
        for batch in session.stream("SELECT shard, row, place FROM ranked ORDER BY place"):
            assert batch["place"][0].as_py() == streamed + 1
            streamed += batch.num_rows
    assert streamed == MILLION
