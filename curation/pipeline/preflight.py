"""What a run needs beside its source, looked at before the source is read."""

from collections.abc import Mapping

from curation.core.progress import Progress
from curation.models.clip_source import check_weights
from curation.models.device import check_device
from curation.pipeline.benchmarks import check_folders
from curation.pipeline.guard import check_heads, clip_of
from curation.pipeline.measure import layers_of, switched_on
from curation.pipeline.recipe import Recipe


def preflight(recipe: Recipe, benchmarks: Mapping[str, str], progress: Progress) -> None:
    """Raises what measuring would raise hours later for a thing that is missing or damaged.

    UsageError for benchmarks (folders by name), heads, weights, columns or a device that are not
    there, RunError for weights that cannot be downloaded; a tag's are, where they are not here yet.
    """
    check_heads(recipe)
    check_folders(benchmarks)
    clip = clip_of(recipe)
    if clip is not None:
        check_device(clip.device)
        if clip.pretrained:
            progress.say(
                f"weights {clip.model} {clip.pretrained}: downloaded where they are not here yet"
            )
        check_weights(clip.source)
    layers_of(switched_on(recipe.operators))
