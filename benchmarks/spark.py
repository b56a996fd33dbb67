"""Spark standalone, two workers of one core, against the embedded engine with two workers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import REALDATA, Figure
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.engines.spark import SparkEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.operators.image.pixels import ImagePixels
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from tests.engines.spark_cluster import spark_cluster, wait_for

PAIRS = 20_000


def _source(folder: Path, pairs: int) -> Path:
    """Real photographs and diagrams, over and over, each under another caption."""
    images = sorted((REALDATA / "pairs" / "images").iterdir())
    folder.mkdir()
    shutil.copytree(images[0].parent, folder / "images")
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(pairs):
            image = images[number % len(images)].name
            row = {"image": f"images/{image}", "text": f"a picture, number {number}"}
            file.write(json.dumps(row) + "\n")
    return folder


def _fresh(corpus: Corpus) -> Corpus:
    """The corpus without its layers, its files in the page cache."""
    corpus.store.remove("layers")
    subprocess.run(["cat", *map(str, Path(corpus.store.path("shards")).iterdir())],
                   stdout=subprocess.DEVNULL, check=True)  # fmt: skip
    return corpus


def _spark(corpus: Corpus, place: Path) -> tuple[float, float]:
    """Seconds of the first measuring, with all that starts late, and of the second."""
    with spark_cluster() as cluster:
        cluster.start(workers=2)
        done = place / "seconds.json"
        job = cluster.submit(Path(__file__), corpus.store.path(""), str(place), str(done))
        said, _ = job.communicate()
        if job.returncode:
            raise RuntimeError(said)
        first, second = json.loads(done.read_text())
    return first, second


def figures(pairs: int = PAIRS) -> list[Figure]:
    """Pairs a second through `image_pixels`, reading and commit of the layers included."""
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        place = Path(name)
        request = IngestRequest(
            source=str(_source(place / "source", pairs)),
            options=SourceOptions(shard_samples=max(50, pairs // 40)),
        )
        with LocalEngine(workers=2) as engine:
            corpus = ingest(request, f"{name}/corpus", engine, SILENT)
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                measure(_fresh(corpus), (ImagePixels(),), engine, SILENT)
                seconds.append(time.perf_counter() - start)
        local = min(seconds)
        first, second = _spark(corpus, place)
    spark = min(first, second)
    rates = f"{pairs / spark:,.0f} against {pairs / local:,.0f} pairs/s"
    return [
        Figure(
            f"Spark standalone, 2 workers of 1 core, against local with 2 workers: image_pixels on "
            f"{pairs:,} pairs",
            f"{local / spark:.2f}x ({rates}; {local / first:.2f}x on an executor's first tasks)",
            "0.8x",
            local >= 0.8 * spark,
        )
    ]


def _job(place: str, scratch: str, done: str) -> None:
    """Under spark-submit: measures twice, JVMs and executors being there."""
    seconds = []
    with SparkEngine(scratch=scratch) as engine:
        wait_for("executors", lambda: engine.workers == 2)
        list(engine.map(os.path.basename, ["a", "b", "c", "d"]))
        for _ in range(2):
            corpus = _fresh(open_corpus(place))
            start = time.perf_counter()
            measure(corpus, (ImagePixels(),), engine, SILENT)
            seconds.append(time.perf_counter() - start)
    Path(done).write_text(json.dumps(seconds))


if __name__ == "__main__":
    _job(*sys.argv[1:])
