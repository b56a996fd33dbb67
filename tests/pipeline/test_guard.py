"""What calibration means for a recipe: thresholds found, stages switched off, runs refused."""

from dataclasses import replace

import pytest

from curation.core.errors import RunError
from curation.operators.vision_language.clip import Clip
from curation.pipeline.guard import settle
from curation.pipeline.recipe import Recipe
from curation.relational.clip_select import ClipSelect
from jobs.image_text import recipe
from schemas.manifest import Calibration

GOOD = Calibration(
    fingerprint="f", model="m", seed=0, pairs=1000, shuffled=10_000, auc=0.95, threshold=0.21,
    share_above=0.6, share_above_low=0.57, passed=True, edges=[0.0, 1.0], true_counts=[1000],
    shuffled_counts=[10_000],
)  # fmt: skip
BAD = replace(GOOD, auc=0.5, share_above=0.01, share_above_low=0.005, passed=False)
OPENAI = Clip(model="ViT-B-32-quickgelu", pretrained="openai")
RESTS_ON_CLIP = {"clip_select", "semantic_dedup"}


def named(clip: Clip) -> Recipe:
    whole = recipe()
    operators = tuple(clip if isinstance(o, Clip) else o for o in whole.operators)
    return replace(whole, operators=operators)


def selecting(made: Recipe) -> ClipSelect:
    (step,) = (step for step in made.stages if isinstance(step, ClipSelect))
    return step


def test_a_model_without_a_number_of_its_own_takes_the_percentile():
    settled = settle(recipe(), GOOD, force=False)
    assert selecting(settled.recipe).threshold == GOOD.threshold
    assert not settled.warnings


def test_a_model_with_a_number_of_its_own_takes_that():
    assert selecting(settle(named(OPENAI), GOOD, force=False).recipe).threshold == 0.3


@pytest.mark.parametrize("setting", ["clip_select.threshold=0.25", "clip_select.top_fraction=0.3"])
def test_what_a_user_sets_stays(setting):
    made = recipe().with_settings((setting,))
    assert selecting(settle(made, GOOD, force=False).recipe) == selecting(made)


@pytest.mark.parametrize("calibration", [BAD, None], ids=["failed", "too few pairs"])
def test_the_demo_model_is_switched_off_with_a_warning(calibration):
    settled = settle(recipe(), calibration, force=False)
    off = {step.name for step in settled.recipe.stages if step.off and "demo" in step.off}
    assert off == RESTS_ON_CLIP
    (warning,) = settled.warnings
    assert "switched off" in warning
    assert "--set clip.model" in warning
    kept = {getattr(step, "keep_best", ("area",)) for step in settled.recipe.stages if not step.off}
    assert kept == {("area",)}


def test_a_named_model_that_fails_fails_the_run_unless_forced():
    made = named(Clip(model="ViT-S-32-alt"))
    with pytest.raises(RunError, match=r"random weights.*--force"):
        settle(made, BAD, force=False)
    settled = settle(made, BAD, force=True)
    assert selecting(settled.recipe).threshold == BAD.threshold
    assert not [s for s in settled.recipe.stages if s.name in RESTS_ON_CLIP and s.off]
    assert "used by force" in settled.warnings[0]


def test_a_recipe_that_asks_nothing_of_clip_needs_no_calibration():
    made = recipe().limited(("heuristics", "caption_frequency"))
    assert settle(made, None, force=False).recipe == made


def test_a_later_command_starts_from_what_was_asked_not_from_what_was_settled():
    asked = recipe().with_settings(("near_dedup.distance=4",))
    settled = settle(asked, BAD, force=False).recipe
    recorded = settled.described(asked=asked)
    assert recipe().resumed(recorded).stages == asked.stages
