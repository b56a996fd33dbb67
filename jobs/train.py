"""The two pretraining stages: every number, and where it comes from.

    curate train --stage 1 --corpus pairs/export:0.7 --corpus books/export:0.3 --out run1
    curate train --stage 2 --corpus video/export:0.5 --corpus long/export:0.5 --init run1 --out run2

GLM-4.5V: "GLM-4.1V-Thinking and GLM-4.5V" (technical report, 2025): both stages' steps, lengths
and batch. GLM-4.5: "GLM-4.5: Agentic, Reasoning, and Coding" (2025): cosine decay, not WSD, and the
balancing of its experts. What neither states is ours, with the reason beside it.
"""

from dataclasses import dataclass, replace

from curation.core.errors import UsageError
from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.recipe import TrainRecipe
from schemas.sample import FAMILIES

STILLS = tuple(family for family in FAMILIES if family != "video")


def stage1(config: str = "9b") -> TrainRecipe:
    """Everything but video, 8,192 tokens. Raises UsageError for an unknown config."""
    recipe = TrainRecipe(
        stage=1,
        config=config,
        families=STILLS,
        replay=0.0,
        sequence_length=8_192,  # GLM-4.5V
        global_batch=1_536,  # GLM-4.5V
        steps=120_000,  # GLM-4.5V
        vision=VisionSettings(),  # Glm4vProcessor: 7,500 tokens an image at most, which fits
        # own: the decoder is a finished language model and the ViT a finished encoder; a rate
        # from scratch (GLM-4.5: 2.5e-4 with Muon) would wipe out what they know, and a tenth of it
        # is what comparable joint training starts from (Qwen-VL, Bai et al. 2023, stage 2: 5e-5)
        learning_rate=5e-5,
        warmup=2_000,  # own: 25 billion tokens; the projector starts from nothing
        schedule="cosine",  # GLM-4.5
        floor=0.1,  # GLM-4.5: 2.5e-4 down to 2.5e-5
        weight_decay=0.1,  # GLM-4.5
        betas=(0.9, 0.95),  # own: usual for language models since GPT-3
        clip_norm=1.0,  # own: usual for language models since GPT-3
        normalise="token",
        balance_rate=1e-3,  # GLM-4.5
        balance_loss=1e-4,  # GLM-4.5
        dtype="bfloat16",
        recompute=True,  # own: 8,192 tokens of 40 layers do not fit beside 9B of states otherwise
        checkpoint_every=500,  # own: at most 0.4% of the run is done twice
    )
    return _sized(recipe)


def stage2(config: str = "9b") -> TrainRecipe:
    """Video and long documents added, 32,768 tokens. Raises UsageError for an unknown config."""
    recipe = replace(
        stage1("9b"),
        stage=2,
        config=config,
        families=FAMILIES,
        # own: the report adds data and says no share; half keeps what stage 1 taught, as replay
        # does in continual pretraining (Ibrahim et al. 2024 find 5% enough for a weak shift)
        replay=0.5,
        sequence_length=32_768,  # GLM-4.5V
        global_batch=1_536,  # GLM-4.5V
        steps=10_000,  # GLM-4.5V
        # own: stage 1 ends at 5e-6; a fresh warm-up to more than twice that would forget
        learning_rate=1e-5,
        # own: 25 billion tokens, as in stage 1: moments of a fresh optimiser need as many again
        warmup=500,
        checkpoint_every=100,  # own: 5 billion tokens, near stage 1's 6; 1% at most is done twice
    )
    return _sized(recipe)


def stage(number: int, config: str) -> TrainRecipe:
    """The recipe of a stage. Raises UsageError for an unknown stage or config."""
    if number not in (1, 2):
        raise UsageError(f"--stage {number}: there are stages 1 and 2")
    return stage1(config) if number == 1 else stage2(config)


_TOKEN = 2 * 28 * 28
"""Pixels behind one token: two frames (an image counts as two) of 2 x 2 patches."""


@dataclass(frozen=True, kw_only=True)
class _Small:
    """What two CPU cores do in minutes (own): the shape of a run, not its results."""

    sequence_length: int
    global_batch: int
    steps: int
    image_tokens: int
    learning_rate: float


_TINY = (
    _Small(sequence_length=512, global_batch=4, steps=60, image_tokens=64, learning_rate=2e-3),
    _Small(sequence_length=1_024, global_batch=2, steps=20, image_tokens=64, learning_rate=5e-4),
)
_DEMO = (
    _Small(sequence_length=1_024, global_batch=8, steps=600, image_tokens=100, learning_rate=1e-3),
    _Small(sequence_length=2_048, global_batch=4, steps=100, image_tokens=100, learning_rate=2e-4),
)
_SMALL = {"tiny": _TINY, "tiny-moe": _TINY, "demo": _DEMO}


def _sized(recipe: TrainRecipe) -> TrainRecipe:
    """The stage for a model of that size; the large ones train as the reference system does."""
    if recipe.config == "106b":
        # own: the larger the model, the lower the rate
        return replace(recipe, learning_rate=recipe.learning_rate / 2)
    if recipe.config == "9b":
        return recipe
    if recipe.config == "1b":
        # own: no language model of this shape exists to start from, so a rate from scratch
        return replace(recipe, learning_rate=recipe.learning_rate * 6, recompute=recipe.stage == 2)
    if recipe.config not in _SMALL:
        raise UsageError(f"--config {recipe.config}: there are tiny, tiny-moe, demo, 1b, 9b, 106b")
    small = _SMALL[recipe.config][recipe.stage - 1]
    return replace(
        recipe,
        sequence_length=small.sequence_length,
        global_batch=small.global_batch,
        steps=small.steps,
        vision=VisionSettings(
            image_min_pixels=_TOKEN,
            image_max_pixels=small.image_tokens * _TOKEN,
            video_min_pixels=_TOKEN,
            video_max_pixels=4 * small.image_tokens * _TOKEN,
        ),
        learning_rate=small.learning_rate,
        warmup=small.steps // 10,
        dtype="float32",
        recompute=False,
        checkpoint_every=max(1, small.steps // 4),
    )


if __name__ == "__main__":  # torchrun and python train by this file
    from curation.cli import submitted_training

    submitted_training()
