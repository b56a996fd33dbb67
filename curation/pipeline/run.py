"""Runs a recipe: ingest, measure, decide, export, each from where an earlier run left it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from curation.core.corpus import vocabulary_path
from curation.core.engine import Engine
from curation.core.errors import RunError
from curation.core.manifest import schema_hash
from curation.core.operator import Operator
from curation.core.progress import Progress
from curation.io.corpus import Corpus
from curation.io.store import TEMPORARY
from curation.operators.text.concepts import Concepts, shipped_vocabulary
from curation.operators.vision_language.clip import Clip
from curation.pipeline.benchmarks import prepare_benchmarks, with_features
from curation.pipeline.calibrate import MIN_SHUFFLED, calibrate
from curation.pipeline.captions import with_captions
from curation.pipeline.decide import Decision, decide
from curation.pipeline.export import export
from curation.pipeline.guard import check_heads, clip_of, rests_on_clip, settle, weights_text
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.measure_again import how_again
from curation.pipeline.measure_shard import layer_schema
from curation.pipeline.preflight import preflight
from curation.pipeline.recipe import Recipe
from curation.relational.decontaminate import Decontaminate
from schemas import LEDGER
from schemas.manifest import Calibration, CorpusManifest, ExportManifest, LayerRef


@dataclass(frozen=True)
class RunResult:
    """What a run left behind."""

    corpus: CorpusManifest
    export: ExportManifest


def run(
    recipe: Recipe,
    request: IngestRequest,
    out: str,
    engine: Engine,
    progress: Progress,
    *,
    benchmarks: Mapping[str, str] | None = None,
    force: bool = False,
) -> RunResult:
    """Runs every stage of `recipe` on a source; `out/corpus` and `out/export` hold the result.

    `benchmarks` are folders by name that the corpus must hold nothing of; `force` lets a CLIP
    decide that fails its calibration.
    """
    root = out.rstrip("/")
    preflight(recipe, benchmarks or {}, progress)
    corpus = ingest(request, f"{root}/corpus", engine, progress)
    recipe = decontaminated(corpus, recipe, benchmarks or {}, engine, progress)
    layers = measure(corpus, recipe.operators, engine, progress)
    corpus = decide_and_save(corpus, recipe, layers, engine, progress, force=force)
    made = export(corpus, f"{root}/export", recipe.export, engine, progress)
    corpus.store.remove(TEMPORARY)
    return RunResult(corpus.manifest, made)


def decontaminated(
    corpus: Corpus,
    recipe: Recipe,
    benchmarks: Mapping[str, str],
    engine: Engine,
    progress: Progress,
) -> Recipe:
    """The recipe with the features of `benchmarks`, beside or in place of those it has."""
    check_heads(recipe)
    if not benchmarks:
        return recipe
    similar = any(getattr(step, "clip_similarity", None) is not None for step in recipe.stages)
    operators = tuple(o for o in recipe.operators if similar or not isinstance(o, Clip))
    made = prepare_benchmarks(corpus, benchmarks, operators, engine, progress)
    stages = tuple(
        dataclasses.replace(
            step,
            off="",
            benchmarks=(*(b for b in step.benchmarks if b.name not in benchmarks), *made),
        )
        if isinstance(step, Decontaminate)
        else step
        for step in recipe.stages
    )
    return dataclasses.replace(recipe, stages=stages)


def keep_vocabulary(corpus: Corpus, recipe: Recipe) -> None:
    """Copies a user's vocabulary into the corpus, so that its entries keep their names."""
    shipped = shipped_vocabulary().sha256
    for operator in recipe.operators:
        if not isinstance(operator, Concepts) or operator.vocabulary.sha256 == shipped:
            continue
        if operator.vocabulary.path:
            path = vocabulary_path(operator.vocabulary.sha256)
            if not corpus.store.exists(path):
                corpus.store.write(path, operator.vocabulary.read())


def located(corpus: Corpus, recipe: Recipe) -> Recipe:
    """The recipe, its vocabulary found in the corpus where only its hash is known."""
    operators: list[Operator] = []
    for operator in recipe.operators:
        if isinstance(operator, Concepts) and not operator.vocabulary.path:
            path = vocabulary_path(operator.vocabulary.sha256)
            if corpus.store.is_local and corpus.store.exists(path):
                known = dataclasses.replace(operator.vocabulary, path=corpus.store.path(path))
                operators.append(dataclasses.replace(operator, vocabulary=known))
                continue
        operators.append(operator)
    return dataclasses.replace(recipe, operators=tuple(operators))


def calibrated(
    corpus: Corpus, recipe: Recipe, layers: list[LayerRef], progress: Progress
) -> Calibration | None:
    """Calibration of the recipe's CLIP on this corpus; the recorded one where it still holds."""
    clip = clip_of(recipe)
    for layer in layers:
        if layer.errors:
            told = ", ".join(f"{code} {count:,}" for code, count in layer.errors.items())
            progress.say(f"{layer.operator} could not measure: {told}{how_again(layer)}")
    ref = next((layer for layer in layers if clip and layer.operator == clip.name), None)
    if clip is None or ref is None:
        return None
    recorded = corpus.manifest.calibration
    if recorded is not None and recorded.fingerprint == ref.fingerprint:
        return recorded
    return calibrate(corpus, ref, f"{clip.model} {weights_text(clip)}".strip(), progress)


def decide_and_save(
    corpus: Corpus,
    recipe: Recipe,
    layers: list[LayerRef],
    engine: Engine,
    progress: Progress,
    *,
    asked: Recipe | None = None,
    force: bool = False,
) -> Corpus:
    """Decides and commits a manifest that explains it.

    `asked` is the whole recipe where `recipe` is only some of its stages: what was set for the
    others is recorded too.
    """
    check_heads(recipe)
    calibration = calibrated(corpus, recipe, layers, progress) if rests_on_clip(recipe) else None
    settled = settle(recipe, calibration, force=force)
    told, more = with_captions(corpus, settled.recipe, layers, progress)
    warnings = (*settled.warnings, *more)
    for warning in warnings:
        progress.say(f"warning: {warning}")
    stages = with_features(corpus, told.stages, told.operators)
    decision = decide(corpus, stages, layers, engine, progress)
    manifest = explained(corpus, told, layers, decision)
    keep_vocabulary(corpus, recipe)
    return corpus.save(
        dataclasses.replace(
            manifest,
            recipe=told.described(asked=asked or recipe),
            calibration=calibration or corpus.manifest.calibration,
            warnings=list(warnings),
        )
    )


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


def calibrate_and_save(
    corpus: Corpus, recipe: Recipe, layers: list[LayerRef], progress: Progress
) -> tuple[Corpus, Calibration]:
    """Calibrates and commits what was found. Raises RunError where there are too few pairs."""
    found = calibrated(corpus, recipe, layers, progress)
    if found is None:
        raise RunError(
            f"{corpus.store.path('')}: too few pairs with different captions to calibrate a CLIP "
            f"(at least {MIN_SHUFFLED:,} shuffled pairs are needed)"
        )
    decided = {layer.fingerprint for layer in corpus.manifest.layers}
    if corpus.manifest.ledger is not None and found.fingerprint not in decided:
        return corpus, found  # another model's than the one that decided this corpus
    return corpus.save(dataclasses.replace(corpus.manifest, calibration=found)), found
