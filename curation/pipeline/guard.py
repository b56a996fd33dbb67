"""What calibration means for a recipe: thresholds filled in, or stages switched off.

A recipe as asked for may leave the CLIP threshold open, and may name a CLIP that cannot judge the
corpus at hand. `settle` gives the recipe that is decided, and what a reader must be told.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from curation.core.errors import RunError
from curation.core.operator import Operator
from curation.core.step import Step
from curation.models.thresholds import absolute_threshold
from curation.operators.vision_language.clip import Clip
from curation.operators.vision_language.linear_head import LinearHead
from curation.pipeline.calibrate import MIN_SHARE
from curation.pipeline.recipe import Recipe
from curation.relational.clip_select import ClipSelect
from schemas.manifest import Calibration


@dataclass(frozen=True)
class Settled:
    """A recipe that can be decided."""

    recipe: Recipe
    warnings: tuple[str, ...]
    """For the terminal, the manifest and the report."""


def clip_of(recipe: Recipe) -> Clip | None:
    """The recipe's CLIP, if it has one."""
    return next((o for o in recipe.operators if isinstance(o, Clip)), None)


def rests_on_clip(recipe: Recipe) -> bool:
    """Whether a stage of the recipe reads what comes from its CLIP."""
    columns = _judged(recipe)
    return any(_rests_on(step, columns) for step in recipe.stages if not step.off)


def settle(recipe: Recipe, calibration: Calibration | None, *, force: bool) -> Settled:
    """The recipe with its CLIP threshold found, or with what rests on CLIP switched off.

    Raises RunError where a CLIP that the user named fails the guard, unless `force`.
    """
    clip = clip_of(recipe)
    if clip is None or not rests_on_clip(recipe):
        return Settled(recipe, ())
    if calibration is not None and calibration.passed:
        return Settled(_with_threshold(recipe, clip, calibration), ())
    fault = guard_text(clip, calibration)
    if clip.model != "demo" and not force:
        raise RunError(
            f"{fault}; check that these are the model's weights and that it fits these images, "
            "or run again with --force"
        )
    if force and calibration is not None:
        return Settled(_with_threshold(recipe, clip, calibration), (f"{fault}; used by force",))
    if force and clip.model != "demo":
        if any(_open(step) for step in recipe.stages):
            raise RunError(
                f"{fault}; --force needs a threshold then (--set clip_select.threshold=NUMBER)"
            )
        return Settled(recipe, (f"{fault}; used by force",))
    judged = _judged(recipe)
    names = [step.name for step in recipe.stages if not step.off and _spared(step, judged, "x").off]
    if any(getattr(step, "clip_similarity", None) is not None for step in recipe.stages):
        names.append("decontaminate.clip_similarity")
    told = f"{fault}; switched off: {', '.join(names) or 'nothing but the order of twins'}"
    hint = "; name a real model, as --set clip.model=ViT-B-32 --set clip.pretrained=WEIGHTS"
    return Settled(_without(recipe, fault), (told + (hint if clip.model == "demo" else ""),))


def check_heads(recipe: Recipe) -> None:
    """Raises UsageError for a head that was made for the embeddings of another CLIP."""
    clip = clip_of(recipe)
    for operator in recipe.operators:
        if isinstance(operator, LinearHead) and clip is not None:
            operator.check_model(clip.model)


def weights_text(clip: Clip) -> str:
    """Where a CLIP's weights come from; empty for the one that ships."""
    if clip.checkpoint_sha256:
        return f"checkpoint {clip.checkpoint_sha256[:8]}"
    return clip.pretrained or ("" if clip.model == "demo" else "random weights")


def guard_text(clip: Clip, calibration: Calibration | None) -> str:
    """Why a CLIP may not judge a corpus."""
    name = "the small CLIP of the demo (it knows drawings, not photographs)"
    if clip.model != "demo":
        name = f"{clip.model} with {weights_text(clip)}"
    if calibration is None:
        return f"{name} could not be calibrated: too few scored pairs with different captions"
    return (
        f"{name} cannot judge this corpus: {calibration.share_above:.1%} of its pairs score above "
        f"the 99th percentile of shuffled ones (at least {MIN_SHARE:.0%} wanted, lower bound "
        f"{calibration.share_above_low:.1%}; AUC {calibration.auc:.2f})"
    )


def _judged(recipe: Recipe) -> frozenset[str]:
    """Columns that come from CLIP, straight or through an operator that reads it."""
    columns: set[str] = set()
    for operator in recipe.operators:
        if isinstance(operator, Clip) or columns.intersection(operator.requires.names):
            columns.update(_named(operator))
    return frozenset(columns)


def _named(operator: Operator) -> list[str]:
    names: list[str] = operator.provides.names
    return names


def _rests_on(step: Step, columns: frozenset[str]) -> bool:
    return bool(columns.intersection(step.requires.names))


def _with_threshold(recipe: Recipe, clip: Clip, calibration: Calibration) -> Recipe:
    """An open threshold becomes the model's own, else the one that calibration suggests."""
    found = absolute_threshold(clip.model, clip.pretrained)
    threshold = calibration.threshold if found is None else found.cosine
    stages = tuple(
        replace(step, threshold=threshold) if _open(step) else step for step in recipe.stages
    )
    return replace(recipe, stages=stages)


def _open(step: Step) -> TypeGuard[ClipSelect]:
    """Whether a stage waits for a CLIP threshold."""
    waits = isinstance(step, ClipSelect) and step.threshold is None and step.top_fraction is None
    return waits and not step.off


def _without(recipe: Recipe, fault: str) -> Recipe:
    """Stages keep what they can do without CLIP's columns; the others are switched off."""
    judged = _judged(recipe)
    stages = tuple(_spared(step, judged, fault) for step in recipe.stages)
    return replace(recipe, stages=stages)


def _spared(step: Step, judged: frozenset[str], fault: str) -> Step:
    if step.off:
        return step
    changed: dict[str, Any] = {}
    keep_best = getattr(step, "keep_best", ())
    if judged.intersection(keep_best):
        changed["keep_best"] = tuple(name for name in keep_best if name not in judged)
    if getattr(step, "clip_similarity", None) is not None:
        changed["clip_similarity"] = None
    step = replace(step, **changed)
    return replace(step, off=fault) if _rests_on(step, judged) else step
