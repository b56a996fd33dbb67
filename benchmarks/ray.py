"""`clip` through Ray on two cores against the embedded engine with two workers."""

import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.figure import REALDATA, Figure
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.engines.ray import RayEngine
from curation.io.corpus import Corpus
from curation.io.sources import SourceOptions
from curation.operators.vision_language.clip import Clip
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure

_WORKERS = 2
_SHARD = 64
_COPIES = 3
"""Of the real pairs, each under an own caption: a run long against the start of its actors."""


def figures() -> list[Figure]:
    """Pairs a second of ViT-B/32 with random weights; what starts Ray itself is not counted."""
    operator = Clip(model="ViT-B-32", floor="", batch_size=32, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        with LocalEngine(workers=_WORKERS) as engine:
            corpus = _corpus(Path(folder), engine)
            local = _seconds(corpus, operator, engine)
        with RayEngine(scratch=f"{folder}/scratch", cores=_WORKERS) as engine:
            list(engine.map(abs, range(_WORKERS)))
            ray = _seconds(corpus, operator, engine)
        samples = corpus.samples
    return [
        Figure(
            f"clip, ViT-B/32 with random weights, {samples:,} pairs, on Ray with 2 CPU workers "
            "against the embedded engine with 2 workers, start of actors and loading included",
            f"{local / ray:.2f}x ({samples / ray:.1f} against {samples / local:.1f} pairs/s)",
            "0.8x",
            local / ray >= 0.8,
        )
    ]


def _corpus(folder: Path, engine: LocalEngine) -> Corpus:
    """Copies of the real pairs, ingested."""
    source = folder / "source"
    source.mkdir()
    for image in sorted((REALDATA / "pairs" / "images").glob("*.jpg")):
        for copy in range(_COPIES):
            shutil.copy(image, source / f"{image.stem}-{copy}.jpg")
            text = f"photograph {copy} called {image.stem}"
            (source / f"{image.stem}-{copy}.txt").write_text(text)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=_SHARD))
    return ingest(request, str(folder / "corpus"), engine, SILENT)


def _seconds(corpus: Corpus, operator: Clip, engine: LocalEngine | RayEngine) -> float:
    """Of measuring the corpus, from starting the operator's processes to the last layer."""
    corpus.store.remove(layers_of((operator,), corpus.shards_sha256)[operator.name].folder)
    start = time.perf_counter()
    measure(corpus, (operator,), engine, SILENT)
    return time.perf_counter() - start
