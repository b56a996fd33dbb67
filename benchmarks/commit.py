"""What a shard costs beside its rows: reading the index, fingerprints, commit of its layer."""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.figure import Figure
from curation.core.operator import BatchFn, Operator, append
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import decide_and_save
from curation.relational.select import Select

SHARDS = 500


@dataclass(frozen=True, kw_only=True)
class Nothing(Operator):
    """Adds a constant: all the time that it takes is the pipeline's own."""

    name = "nothing"

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("one", pa.int32())])

    def open(self) -> BatchFn:
        return lambda batch: append(batch, self.provides, {"one": [1] * batch.num_rows})


def figures(shards: int = SHARDS) -> list[Figure]:
    """Milliseconds a shard of one row, in this process, files synced to disk."""
    with tempfile.TemporaryDirectory(prefix="bench-commit-") as name:
        source = Path(name) / "source"
        source.mkdir()
        with (source / "pairs.jsonl").open("w") as file:
            for number in range(shards):
                file.write(json.dumps({"image": "none.jpg", "text": f"caption {number}"}) + "\n")
        request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=1))
        with LocalEngine(workers=0) as engine:
            corpus = ingest(request, f"{name}/corpus", engine, SILENT)
            start = time.perf_counter()
            layers = measure(corpus, (Nothing(),), engine, SILENT)
            measured = time.perf_counter() - start
            recipe = Recipe(
                family="image-text", operators=(Nothing(),), stages=(Select(name="all", rules=()),)
            )
            start = time.perf_counter()
            decide_and_save(corpus, recipe, layers, engine, SILENT)
            decided = time.perf_counter() - start
    return [
        Figure(
            f"added cost of a shard, {what} ({shards} shards of one row)",
            f"{1000 * seconds / shards:.1f} ms",
            "under 20 ms",
            seconds / shards < 0.02,
        )
        for what, seconds in (
            ("measuring: read, fingerprint, commit of a layer", measured),
            ("deciding: a stage's ledger and the final one, manifest", decided),
        )
    ]
