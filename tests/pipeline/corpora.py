"""Small real sources and runs over them."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.core.corpus import StageLedger
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import RunResult, run
from jobs.image_text import recipe

WORDS = ("river", "lantern", "copper", "meadow", "violin", "harbour", "tiger", "saddle", "orchid",
         "marble", "canyon", "kettle")  # fmt: skip


def picture(seed: int, size: tuple[int, int] = (260, 240)) -> Image.Image:
    """A random picture with some texture, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 236, (9, 9, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    grain = rng.integers(0, 20, (size[1], size[0], 1), dtype=np.uint8)
    return Image.fromarray(np.minimum(np.asarray(smooth), 235) + grain)


def caption(seed: int) -> str:
    """A caption that no other seed has."""
    rng = np.random.default_rng([1, seed])
    return f"A {' '.join(rng.choice(WORDS, 5))} number {seed} by the sea"


def write_pairs(folder: Path, count: int, start: int = 0) -> Path:
    """A folder with `pairs.jsonl` and clean JPEG images."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.jsonl").open("w") as file:
        for n in range(start, start + count):
            picture(n).save(folder / "images" / f"{n}.jpg", quality=85)
            row = {
                "image": f"images/{n}.jpg",
                "text": caption(n),
                "url": f"https://site{n % 3}.example/{n}.jpg",
                "license": "CC BY 4.0" if n % 2 else None,
                "id": n,
            }
            file.write(json.dumps(row) + "\n")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder` by its relative path, empty folders included."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def plain_recipe() -> Recipe:
    """The recipe without its CLIP and what rests on it, which take seconds to load."""
    models = ("clip", "visual_cluster", "linear_head")
    whole = recipe()
    judged = {n for o in whole.operators if o.name in models for n in o.provides.names}
    stages = [
        replace(step, keep_best=("area",)) if hasattr(step, "keep_best") else step
        for step in whole.stages
    ]
    return replace(
        whole,
        operators=tuple(o for o in whole.operators if o.name not in models),
        stages=tuple(s for s in stages if not judged & set(s.requires.names)),
    )


def curate(
    source: Path, out: Path, *settings: str, workers: int = 0, shard_samples: int = 25, **more: Any
) -> RunResult:
    """Runs the recipe without CLIP, in this process unless `workers` are asked for."""
    request = IngestRequest(
        source=str(source), options=SourceOptions(shard_samples=shard_samples), **more
    )
    with LocalEngine(workers=workers, memory="500MB") as engine:
        return run(plain_recipe().with_settings(settings), request, str(out), engine, SILENT)


def ledger(corpus: Corpus) -> pa.Table:
    """The final ledger of a corpus, a row a sample."""
    final = StageLedger("final", corpus.manifest.ledger or "")
    return pa.concat_tables(
        read_table(corpus.store, final.path(shard.shard)) for shard in corpus.shards
    )


def fates(out: Path) -> dict[Any, tuple[str, str | None]]:
    """What became of each sample of a run by its `id` column: (status, reason or error)."""
    corpus = open_corpus(str(out))
    rows = ledger(corpus).to_pylist()
    index = pa.concat_tables(
        read_table(corpus.store, f"index/{shard.shard:09d}.parquet") for shard in corpus.shards
    ).to_pylist()
    found = {}
    for row, sample in zip(rows, index, strict=True):
        columns = json.loads(sample["source"]).get("columns", {})
        found[columns.get("id", sample["key"])] = (row["status"], row["reason"] or row["error"])
    return found
