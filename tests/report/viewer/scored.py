"""Pairs with planted CLIP scores and pictures of several sizes, decided and decided again."""

import shutil
from pathlib import Path
from typing import Any

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.operators.image.probe import ImageProbe
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.measure import measure
from curation.pipeline.recipe import ExportOptions, Recipe
from curation.pipeline.run import decide_and_save, run
from curation.relational.clip_select import ClipSelect
from curation.relational.select import Rule, Select
from tests.pipeline.corpora import picture
from tests.report.planted_clip import PlantedClip, planted_pairs

COUNT = 120
SIDES = (150, 199, 200, 201, 240, 256, 300)


def scored_recipe(**clip: Any) -> Recipe:
    """A rule over sizes, then a selection by score; `clip`: fields of ClipSelect."""
    side = Rule(reason="min_side", column="min_side", kind="at_least", threshold=200.0, source="")
    return Recipe(
        family="image-text",
        operators=(ImageProbe(), PlantedClip()),
        stages=(
            Select(name="heuristics", rules=(side,)),
            ClipSelect(name="clip_select", **clip),
        ),
        export=ExportOptions(name="image-text", scores=("clip_score",)),
    )


def scored_corpus(folder: Path, **clip: Any) -> Path:
    """A run of `scored_recipe` over COUNT pairs, 50 a shard."""
    source = planted_pairs(folder / "source", COUNT)
    for n in range(COUNT):
        side = SIDES[n % len(SIDES)]
        picture(n, (side + 40, side)).save(source / "images" / f"{n}.jpg", quality=85)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=50))
    with LocalEngine(workers=0, memory="500MB") as engine:
        run(scored_recipe(**clip), request, str(folder / "out"), engine, SILENT)
    return folder / "out"


def decided_again(out: Path, copy: Path, *settings: str, **clip: Any) -> Corpus:
    """A copy of the corpus, decided with what `--set` would be given."""
    shutil.copytree(out / "corpus", copy)
    recipe = scored_recipe(**clip).with_settings(settings)
    corpus = open_corpus(str(copy))
    with LocalEngine(workers=0, memory="500MB") as engine:
        layers = measure(corpus, recipe.operators, engine, SILENT)
        decide_and_save(corpus, recipe, layers, engine, SILENT)
    return open_corpus(str(copy))
