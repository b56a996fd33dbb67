"""What a recipe that recaptions has to be told of the corpus: who has checked, whom to believe."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer
from curation.core.draw import order_keys, uid_words
from curation.core.errors import UsageError
from curation.core.progress import Progress
from curation.core.step import NOT_ASKED
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.operators.vision_language.caption_clip import CaptionClip
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.operators.vision_language.recaption import Recaption
from curation.pipeline.calibrate import auc
from curation.pipeline.recipe import Recipe
from curation.relational.choose_caption import CHECKS, MIN_AUC, ChooseCaption
from schemas.manifest import LayerRef

CAPTIONS = 10_000
"""New captions drawn to measure planted errors on; a corpus with fewer gives all it has."""

MIN_PAIRS = 100
"""Sentences with an error planted in them, below which the AUC says nothing."""


@dataclass(frozen=True)
class Planted:
    """How a CLIP scores sentences of new captions, and the same with an error planted in them."""

    pairs: int
    auc: float
    """Chance that a true one scores above one with an error, 0-1; ties count half."""


def with_captions(
    corpus: Corpus, recipe: Recipe, layers: list[LayerRef], progress: Progress
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with its choosing stages told what was measured, and what a reader must know.

    Raises UsageError where new captions were not held to the original ones.
    """
    measured = {layer.operator: layer for layer in layers}
    if "recaption" not in measured:
        return _changed(recipe, off=NOT_ASKED), ()
    choosing = [s for s in recipe.stages if isinstance(s, ChooseCaption) and not s.off]
    if not choosing:
        return recipe, ()
    if "caption_facts" not in measured:
        raise UsageError(f"stage {choosing[0].name} needs caption_facts, which is not measured")
    checks = tuple(name for name in CHECKS if name in measured)
    warnings = [*_same_model(recipe, measured), *_seen(choosing, measured)]
    found: Planted | None = None
    if CaptionClip.name in measured:
        found = planted_errors(corpus, measured[CaptionClip.name], progress)
        warnings.append(_told(found, choosing))
    told = round(found.auc, 6) if found else None
    return _changed(recipe, checks=checks, clip_auc=told), tuple(warnings)


def _changed(recipe: Recipe, **fields: object) -> Recipe:
    stages = (
        replace(step, **fields) if isinstance(step, ChooseCaption) and not step.off else step  # type: ignore[arg-type]
        for step in recipe.stages
    )
    return replace(recipe, stages=tuple(stages))


def _same_model(recipe: Recipe, measured: dict[str, LayerRef]) -> list[str]:
    """A warning where captions are checked by the model that wrote them."""
    names = {o.name: o.model for o in recipe.operators if isinstance(o, Recaption | ClaimCheck)}
    if ClaimCheck.name not in measured or len(set(names.values())) > 1:
        return []
    return [
        f"claim_check asks {names[ClaimCheck.name]}, which wrote the captions: it believes what it "
        "wrote; another model sees other errors"
    ]


def _seen(choosing: list[ChooseCaption], measured: dict[str, LayerRef]) -> list[str]:
    """What it means that claims may pass without a text."""
    told = []
    for step in choosing:
        if step.seen is not None and ClaimCheck.name in measured:
            told.append(
                f"{step.name}.seen={step.seen:g}: sentences that claim_check gives at least that "
                "P(yes) go on though no text states their claims"
            )
        elif step.seen is not None:
            told.append(
                f"{step.name}.seen={step.seen:g} does nothing: claim_check has not looked at the "
                "captions (--set claim_check.servers=http://HOST:8000)"
            )
    return told


def _told(found: Planted | None, choosing: list[ChooseCaption]) -> str:
    """What CLIP's agreement with sentences is good for on this corpus."""
    asked = any(step.clip is not None for step in choosing)
    said = "sentence scores of CLIP are recorded and drop nothing"
    if found is None:
        return f"{said}: fewer than {MIN_PAIRS} sentences in which an error could be planted"
    known = f"{found.pairs:,} planted errors are told with AUC {found.auc:.2f}"
    if found.auc < MIN_AUC:
        return f"{said}: {known}, at least {MIN_AUC} is asked for"
    if asked:
        return f"sentence scores of CLIP drop sentences: {known}"
    return f"{said}: no choose_caption.clip is set ({known})"


def planted_errors(corpus: Corpus, ref: LayerRef, progress: Progress) -> Planted | None:
    """Of a layer of `caption_clip`; null with too few pairs. Memory holds the drawn scores only."""
    layer = Layer(ref.operator, ref.fingerprint)
    kept: pa.Table | None = None
    with progress.track("planted errors", corpus.samples, "samples") as tracker:
        for shard in corpus.shards:
            rows = read_table(
                corpus.store, layer.path(shard.shard), ["shard", "row", "uid", "recaption_clip"]
            )
            rows = rows.filter(pc.is_valid(rows["recaption_clip"]))
            keys = order_keys(0, "planted-errors", *uid_words(rows["uid"]))
            rows = rows.append_column("draw", pa.array(keys)).drop_columns(["uid"])
            kept = rows if kept is None else pa.concat_tables([kept, rows])
            order = [("draw", "ascending"), ("shard", "ascending"), ("row", "ascending")]
            kept = kept.sort_by(order).slice(0, CAPTIONS).combine_chunks()
            tracker.advance(shard.samples)
    assert kept is not None
    entries = pc.list_flatten(kept["recaption_clip"]).combine_chunks()
    pairs = entries.filter(pc.is_valid(entries.field("planted")))
    if len(pairs) < MIN_PAIRS:
        return None
    true, wrong = (
        np.asarray(pairs.field(name)).astype(np.float64) for name in ("score", "planted")
    )
    return Planted(len(pairs), auc(true, wrong))
