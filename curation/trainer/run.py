"""A training from its first to its last step: plan, weights, loop, model.

    OUT/run.json       what was asked for; a run goes on with that only, and none begins without
                       where the folder holds what one would write (curation.trainer.record)
    OUT/plan/          packs of every step (curation.trainer.plan)
    OUT/shape/         config, tokenizer, pixel budget: what checkpoints are read with
    OUT/checkpoints/   to go on from (curation.trainer.state)
    OUT/metrics.jsonl, spikes.jsonl, tensorboard/, quarantine.jsonl
    OUT/model/         the finished model, in Hugging Face's format

Under torchrun every process calls `train`, under Ray Train every worker (`jobs/train_on_ray.py`):
the process group that is there already is used.
"""

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.core.errors import RunError, UsageError
from curation.core.progress import SILENT, Progress
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.models.glm4v.batch import PackedBatch
from curation.models.glm4v.checkpoint import read_config
from curation.models.glm4v.config import CONFIGS, Glm4vConfig
from curation.models.glm4v.flops import pack_flops
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import TOKENIZER_FILE, Tokenizer, demo_tokenizer
from curation.trainer.balance_bias import ExpertBalance
from curation.trainer.cost import cost_weights
from curation.trainer.course import Course
from curation.trainer.distributed import World, check_world, first_here, joined, world_here
from curation.trainer.loader import Loader, resume_step
from curation.trainer.loop import Loop, Work
from curation.trainer.metrics import QUARANTINE, MetricsLog, StepRecord, Watcher
from curation.trainer.mixture import CorpusShare
from curation.trainer.optim import adamw
from curation.trainer.plan import Plan, PlanSettings, open_plan
from curation.trainer.planning import make_plan
from curation.trainer.recipe import TrainRecipe, check_same
from curation.trainer.record import (
    MODEL,
    RECORD,
    SHAPE,
    check_unused,
    located,
    model_folder,
    origin_named,
    read_record,
)
from curation.trainer.replay import with_replay
from curation.trainer.sole import sole_run
from curation.trainer.state import CHECKPOINTS, Checkpoints
from curation.trainer.tars import check_tars
from curation.trainer.token_count import open_export
from curation.trainer.weights import built, save_model, save_shape

_SHIPPED = ("tiny", "tiny-moe", "demo")
"""Configs that the tokenizer that ships is for."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is asked for."""

    recipe: TrainRecipe
    corpora: tuple[CorpusShare, ...]
    out: str
    init: str = ""
    """A finished run of ours or a Hugging Face folder; empty begins with new weights."""
    tokenizer: str = ""
    """Folder; empty takes that of `init`, else the one that ships for small models."""
    device: str = "cpu"
    workers: int = 0
    """Processes that decode, for each that trains."""

    @property
    def folder(self) -> Path:
        return Path(self.out)


class _Nobody:
    def step(self, record: StepRecord) -> None: ...

    def say(self, line: str) -> None: ...


def plan_only(training: Training, progress: Progress = SILENT) -> list[str]:
    """Plans and says fill, mixture, steps and cost. Raises what `train` raises before its start."""
    config, processor = _model_of(training)
    check_world(training.recipe.global_batch, world_here())
    begun = _begun(training)
    with sole_run(training.folder):
        return _planned(training, config, processor, progress, begun).lines()


def train(training: Training, watcher: Watcher | None = None, progress: Progress = SILENT) -> None:
    """Trains, or goes on where the same training was stopped; a finished one is left as it is.

    Raises UsageError for what means nothing (an unknown config, a video corpus in stage 1, another
    plan than the run in `out` began with), CorpusError for corpora that cannot be read, RunError
    for a run that cannot go on or diverged.
    """
    watcher = watcher or _Nobody()
    check_world(training.recipe.global_batch, world_here())
    with joined(training.device) as world, ExitStack() as held:
        config, processor = world.together(lambda: _model_of(training))
        world.led(lambda: held.enter_context(sole_run(training.folder)))
        if world.led(lambda: _is_finished(training, config, processor, progress)):
            watcher.say(f"{training.folder / MODEL}: the run is finished already")
            return
        plan = world.together(lambda: _opened(training, world))
        if world.leads:
            for line in plan.lines():
                watcher.say(line)
        _run(training, plan, config, world, watcher)


def _run(
    training: Training, plan: Plan, config: Glm4vConfig, world: World, watcher: Watcher
) -> None:
    recipe, folder = training.recipe, training.folder
    weights = _origin(training)
    model, learner = built(config, recipe, world, weights)
    learner.train()
    optimiser = adamw(
        learner,
        rate=recipe.learning_rate,
        decay=recipe.weight_decay,
        betas=recipe.betas,
        eps=recipe.eps,
    )
    loop = Loop(
        recipe=recipe,
        world=world,
        learner=learner,
        optimiser=optimiser,
        balance=ExpertBalance(
            model.routers(), rate=recipe.balance_rate, weight=recipe.balance_loss
        ),
        work=_work(config, recipe),
        plan_hash=plan.plan_hash,
        course=Course(guess=math.log(config.text.vocab_size)),
    )
    checkpoints = Checkpoints(folder / CHECKPOINTS, world, recipe.keep_checkpoints)
    if world.leads:
        save_shape(config, plan.processor, folder / SHAPE)
    start = checkpoints.latest() or 0
    if start:
        state = checkpoints.load(start, learner, optimiser)
        start = resume_step(plan, state["loader"])
        loop.resume(state)
        watcher.say(f"goes on from step {start:,}")
    with ExitStack() as stack:
        log = stack.enter_context(MetricsLog(folder, start)) if world.leads else None
        world.wait()  # files of the run are cut back before anybody adds to them
        loader = stack.enter_context(
            Loader(
                plan,
                rank=world.rank,
                world=world.size,
                workers=training.workers,
                start_step=start,
                quarantine=str(folder / QUARANTINE),
            )
        )
        loop.run(loader, checkpoints, log, watcher)
    checkpoints.close()
    if how := loop.course.diverged():
        world.fail(RunError(_diverged(training, how)))
    save_model(learner, config, plan.processor, world, folder / MODEL)
    watcher.say(f"{folder / MODEL}: trained {recipe.steps:,} steps; try it with `curate sample`")


def _diverged(training: Training, how: str) -> str:
    recipe = training.recipe
    return (
        f"{training.out}: the training diverged in {recipe.steps:,} steps: {how}; no model was "
        f"written (`curate sample` asks the last checkpoint); begin in another --out with a lower "
        f"learning_rate (now {recipe.learning_rate:g}) or a longer warmup (now {recipe.warmup:,} "
        "steps), and look at spikes.jsonl"
    )


def _opened(training: Training, world: World) -> Plan:
    """The plan, its tars looked at once on each machine. Raises CorpusError."""
    plan = open_plan(f"{training.out}/plan")
    if first_here():
        check_tars(plan, remote=world.leads)
    return plan


def _record(training: Training) -> dict[str, Any]:
    """What a run may not change, corpora and plan apart."""
    return {"init": origin_named(training.init), "recipe": training.recipe.told()}


def _begun(training: Training) -> str:
    """Hash of the plan that the run in this folder began with; empty where none did.

    Raises UsageError where that run is another one, or there is none and the folder is not empty of
    what one would write.
    """
    if not (training.folder / RECORD).exists():
        check_unused(training.folder)
        return ""
    found, record = read_record(training.folder), _record(training)
    began = {**found, "init": origin_named(str(found.get("init", "")))}
    check_same({key: began.get(key) for key in record}, record, training.out)
    return str(found.get("plan"))


def _is_finished(
    training: Training, config: Glm4vConfig, processor: Processor, progress: Progress
) -> bool:
    """Plans, as the run began if it did; says whether its model is there."""
    plan = _planned(training, config, processor, progress, _begun(training))
    record = _record(training)
    corpora = [
        {"url": located(str(corpus.url)), "share": share.share, "family": corpus.family}
        for corpus, share in zip(plan.corpora, plan.shares, strict=True)
    ]
    text = json.dumps({"plan": plan.plan_hash, **record, "corpora": corpora}, indent=1) + "\n"
    Store(training.out).write(RECORD, text.encode())
    return (training.folder / MODEL / "config.json").exists()


def _planned(
    training: Training,
    config: Glm4vConfig,
    processor: Processor,
    progress: Progress,
    begun: str,
) -> Plan:
    recipe = training.recipe
    corpora = with_replay(training.corpora, recipe.replay, training.init, progress)
    for corpus in corpora:
        family = open_export(corpus.url).manifest.family
        if family not in recipe.families:
            raise UsageError(
                f"{corpus.url}: a {family} corpus; stage {recipe.stage} reads "
                f"{', '.join(recipe.families)}; leave it to stage 2"
            )
    settings = PlanSettings(
        seq_len=recipe.sequence_length,
        global_batch=recipe.global_batch,
        steps=recipe.steps,
        seed=recipe.seed,
        weights=cost_weights(config),
    )
    engine = LocalEngine(workers=training.workers)
    try:
        return make_plan(
            corpora,
            f"{training.out}/plan",
            settings,
            processor,
            engine,
            progress,
            begun,
            recipe.most_epochs,
        )
    finally:
        engine.close()


def _origin(training: Training) -> Path | None:
    """Where the weights come from. Raises UsageError where stage 2 has nothing to begin with."""
    if training.init:
        return model_folder(training.init)
    if training.recipe.stage == 2:
        raise UsageError(
            "--stage 2 begins with trained weights: --init the --out of stage 1, or a Hugging Face "
            "folder"
        )
    return None


def _model_of(training: Training) -> tuple[Glm4vConfig, Processor]:
    """Shape of the model and how samples are laid out for it. Raises UsageError."""
    name, origin = training.recipe.config, _origin(training)
    if training.tokenizer:
        tokenizer = Tokenizer(training.tokenizer)
    elif origin is not None and (origin / TOKENIZER_FILE).exists():
        tokenizer = Tokenizer(str(origin))
    elif name in _SHIPPED:
        tokenizer = demo_tokenizer()
    else:
        raise UsageError(
            f"--config {name}: needs GLM's tokenizer; name a folder with its tokenizer.json by "
            "--tokenizer, or --init a checkpoint that has one"
        )
    processor = Processor(tokenizer, training.recipe.vision)
    shape = CONFIGS[name]().for_tokenizer(tokenizer.special, tokenizer.vocabulary)
    if origin is None:
        return shape, processor
    return _checked(read_config(origin), shape, training), processor


def _checked(found: Glm4vConfig, shape: Glm4vConfig, training: Training) -> Glm4vConfig:
    """A checkpoint's own config, its token ids by the tokenizer that is read with."""
    sizes = [
        (config.text.num_hidden_layers, config.text.hidden_size, config.text.moe is None)
        for config in (found, shape)
    ]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{training.init}: has {sizes[0][0]} layers of width {sizes[0][1]}, not those of "
            f"--config {training.recipe.config}; name the --config that it was trained with"
        )
    if found.text.vocab_size < shape.text.vocab_size:
        raise UsageError(
            f"{training.init}: has {found.text.vocab_size:,} words, fewer than the tokenizer's; "
            "name the tokenizer that it was trained with by --tokenizer"
        )
    return found.with_tokens(shape)


def _work(config: Glm4vConfig, recipe: TrainRecipe) -> Callable[[PackedBatch], Work]:
    """Operations of a pack; with `recompute` the blocks' forward passes are made twice."""

    def of(pack: PackedBatch) -> Work:
        counted = pack_flops(config, pack)
        return Work(counted.model, counted.hardware(recompute=recipe.recompute))

    return of
