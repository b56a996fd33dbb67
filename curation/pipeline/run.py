"""Runs a recipe: ingest, measure, decide, export, each from where an earlier run left it."""

import dataclasses
from dataclasses import dataclass

from curation.core.manifest import schema_hash
from curation.core.progress import Progress
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus
from curation.io.store import TEMPORARY
from curation.pipeline.decide import Decision, decide
from curation.pipeline.export import export
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.measure_shard import layer_schema
from curation.pipeline.recipe import Recipe
from schemas import LEDGER
from schemas.manifest import CorpusManifest, ExportManifest, LayerRef


@dataclass(frozen=True)
class RunResult:
    """What a run left behind."""

    corpus: CorpusManifest
    export: ExportManifest


def run(
    recipe: Recipe, request: IngestRequest, out: str, engine: LocalEngine, progress: Progress
) -> RunResult:
    """Runs every stage of `recipe` on a source; `out/corpus` and `out/export` hold the result."""
    root = out.rstrip("/")
    corpus = ingest(request, f"{root}/corpus", engine, progress)
    layers = measure(corpus, recipe.operators, engine, progress)
    corpus = decide_and_save(corpus, recipe, layers, engine, progress)
    made = export(corpus, f"{root}/export", recipe.export, engine, progress)
    corpus.store.remove(TEMPORARY)
    return RunResult(corpus.manifest, made)


def decide_and_save(
    corpus: Corpus,
    recipe: Recipe,
    layers: list[LayerRef],
    engine: LocalEngine,
    progress: Progress,
) -> Corpus:
    """Decides and commits a manifest that explains it."""
    decision = decide(corpus, recipe.stages, layers, engine, progress)
    return corpus.save(explained(corpus, recipe, layers, decision))


def explained(
    corpus: Corpus, recipe: Recipe, layers: list[LayerRef], decision: Decision
) -> CorpusManifest:
    """The corpus's manifest with a decision and all that led to it."""
    schemas = {name: corpus.manifest.schemas[name] for name in ("index", "shards")}
    schemas["ledger"] = schema_hash(LEDGER)
    for operator in recipe.operators:
        schemas[f"layer {operator.name}"] = schema_hash(layer_schema(operator))
    return dataclasses.replace(
        corpus.manifest,
        recipe=recipe.described(),
        schemas=schemas,
        layers=layers,
        stages=decision.stages,
        ledger=decision.final.fingerprint,
        totals=decision.totals,
        licenses=decision.licenses,
        sources=decision.sources,
        languages=decision.languages,
    )


def note_layers(corpus: Corpus, recipe: Recipe, layers: list[LayerRef]) -> Corpus:
    """Commits a manifest that names what has been measured; decisions that stand are kept."""
    if corpus.manifest.ledger is not None:
        return corpus
    described = {**recipe.described(), "stages": []}
    return corpus.save(dataclasses.replace(corpus.manifest, recipe=described, layers=layers))
