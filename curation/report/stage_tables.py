"""Tables that stages keep beside their ledgers to explain what they decided."""

from collections.abc import Iterator

import pyarrow as pa

from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.report.funnel import stage_recipes
from schemas.manifest import StageSummary


def stages_of(corpus: Corpus, kind: str) -> Iterator[StageSummary]:
    """The corpus's stages of one kind that ran, in order."""
    recipe = stage_recipes(corpus.manifest.recipe)
    for stage in corpus.manifest.stages:
        if recipe.get(stage.stage, {}).get("kind") == kind and not stage.off:
            yield stage


def stage_table(corpus: Corpus, stage: StageSummary, name: str) -> pa.Table | None:
    """One of the stage's tables; null where it kept none of that name."""
    ref = stage.tables.get(name)
    return read_table(corpus.store, ref.path) if ref is not None else None
