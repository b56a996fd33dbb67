"""Weights of a run: new or from a checkpoint at its start, as a checkpoint at its end.

Only the leading process ever holds the whole model, in main memory; it hands the others their
parts tensor by tensor. So new weights do not depend on the number of processes.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)

from curation.models.glm4v import checkpoint
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.model import Glm4v
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.processor_files import save_processor
from curation.trainer.distributed import World, prepared, sharded
from curation.trainer.loop import Learner
from curation.trainer.recipe import TrainRecipe
from curation.trainer.state import load_weights


def built(
    config: Glm4vConfig, recipe: TrainRecipe, world: World, weights: Path | None
) -> tuple[Glm4v, Learner]:
    """A model on the processes of a run, and the learner around it.

    `weights` is a Hugging Face folder, null for new weights by the recipe's seed. Raises UsageError
    for a checkpoint of another shape. (Handing out over NCCL was not run in our tests.)
    """
    dtype = torch.bfloat16 if recipe.dtype == "bfloat16" else torch.float32
    alone = world.size == 1 and dtype == torch.float32
    whole = _whole(config, recipe.seed, weights) if world.leads else None
    model = whole if alone and whole else Glm4v.for_causal(config, "meta")
    blocks: list[nn.Module] = [*model.vision.blocks, *model.layers]
    prepared(blocks, recompute=recipe.recompute, compiled=recipe.compiled)
    learner = Learner(model, recipe.loss_chunk)
    if alone:
        return model, learner.to(world.device)
    sharded(learner, blocks, world, dtype=dtype, exact=model.routers())
    learner.to_empty(device=world.device)
    for router in model.routers():
        router.load.zero_()  # not kept in checkpoints
    state = {f"{_PREFIX}{k}": v for k, v in whole.state_dict().items()} if whole else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(learner, state, options=options)
    return model, learner


_PREFIX = "model."


def _whole(config: Glm4vConfig, seed: int, weights: Path | None) -> Glm4v:
    torch.manual_seed(seed)
    model = Glm4v.for_causal(config)
    if weights is not None:
        checkpoint.load(model, weights)
    return model


def save_model(
    learner: Learner, config: Glm4vConfig, processor: Processor, world: World, folder: Path
) -> None:
    """Writes the model as transformers and vLLM read it, tokenizer and processor beside it.

    In float32, what the next stage goes on from; the folder appears when it is whole.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(learner, options=options)
    if world.leads:
        named = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in state.items()
            if isinstance(tensor, Tensor)
        }
        with _appearing(folder) as aside:
            checkpoint.save(aside, config, named, dtype=torch.float32)
            save_processor(processor, aside)
    world.wait()


def save_shape(config: Glm4vConfig, processor: Processor, folder: Path) -> None:
    """Writes all of a model but its weights: what its checkpoints are to be read with."""
    with _appearing(folder) as aside:
        save_processor(processor, aside)
        checkpoint.save_config(aside, config, dtype=torch.float32)


def checkpoint_model(folder: Path, step: Path, device: torch.device | str) -> Glm4v:
    """The model of the checkpoint `step`, ready to answer; `folder` is what `save_shape` wrote.

    Raises RunError for a damaged checkpoint.
    """
    model = Glm4v.for_causal(checkpoint.read_config(folder), "meta").to_empty(device="cpu")
    for router in model.routers():
        router.load.zero_()  # not kept in checkpoints
    load_weights(step, {f"{_PREFIX}{name}": held for name, held in model.state_dict().items()})
    return model.to(device).eval()


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to write to, which then takes the place of `folder` as a whole."""
    aside = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    yield aside
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
