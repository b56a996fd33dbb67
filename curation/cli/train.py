"""`curate train` and `curate sample`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from curation.cli.common import Files
from curation.cli.extras import require
from curation.cli.progress import make_progress
from curation.cli.run_log import RunLog
from curation.cli.train_progress import make_watcher
from curation.core.errors import CurationError, RunError, UsageError
from curation.models.device import check_device, resolved_device, resolved_dtype

if TYPE_CHECKING:
    from curation.trainer.mixture import CorpusShare
    from curation.trainer.recipe import TrainRecipe
    from curation.trainer.run import Training

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.arg(name="set", metavar="FIELD=VALUE"),
    tyro.conf.UseAppendAction,
]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a GLM-4.5V-shaped model on exports: stage 1, then stage 2 from what stage 1 made."""

    stage: int
    """1: everything but video. 2: video and long documents added, from --init."""
    corpus: Files
    """EXPORT:SHARE, an export or run directory and its share of all tokens (repeatable). Without
    shares, corpora count by their size; what stage 2 replays of stage 1 keeps its own share."""
    out: str
    """Folder of the run: plan, checkpoints, metrics, and the model in the end."""
    config: str = "demo"
    """Shape of the model: tiny, tiny-moe, demo (CPU), 1b, 9b (GLM-4.1V), 106b (GLM-4.5V)."""
    steps: int | None = None
    """Steps to train. Default: the recipe's."""
    init: str = ""
    """Weights to begin with: the --out of a finished run, or a Hugging Face folder."""
    tokenizer: str = ""
    """Folder with tokenizer.json. Default: that of --init, else the demo's for small models."""
    sequence_length: int | None = None
    """Tokens of a pack. Default: the recipe's."""
    global_batch: int | None = None
    """Packs of a step over all processes. Default: the recipe's."""
    seed: int = 0
    """Of the plan and of new weights."""
    set: Settings = ()
    """Change another number of the recipe, as learning_rate=1e-4, normalise=sqrt, schedule=wsd or
    vision.fps=1 (repeatable)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute. auto: a GPU where there is one."""
    workers: int | None = None
    """Processes that decode for each process that trains; 0: none. Default: cores shared out, 8 at
    most."""
    plan_only: bool = False
    """Plan, print fill, mixture, steps and cost, and stop."""

    def run(self) -> int:
        _patient_threads()
        require("train", "curate train", "tokenizers", "av")
        from curation.trainer.distributed import check_world, rank_here, world_here
        from curation.trainer.run import plan_only, train

        leads = rank_here() == 0
        try:
            training = self._training()
            check_world(training.recipe.global_batch, world_here())
        except CurationError as error:
            if leads:
                raise
            return error.exit_code  # the leading process says it
        if not leads:
            return 0 if self.plan_only else _follow(training)
        log = RunLog(self.out, sys.argv[1:])
        state = "failed"
        try:
            progress = make_progress(log)
            if self.plan_only:
                for line in plan_only(training, progress):
                    print(line)
            else:
                with make_watcher(training.recipe.steps, progress) as watcher:
                    train(training, watcher, progress)
            state = "finished"
        except KeyboardInterrupt:
            state = "stopped"
            raise
        finally:
            log.end(state)
        return 0

    def _training(self) -> "Training":
        from curation.trainer.run import Training

        if self.workers is not None and self.workers < 0:
            raise UsageError(f"--workers must be at least 0, got {self.workers}")
        check_device(self.device)
        device = resolved_device(self.device)
        return Training(
            recipe=self._recipe(device),
            corpora=tuple(corpus_share(text) for text in self.corpus),
            out=_local(self.out),
            init=self.init,
            tokenizer=self.tokenizer,
            device=device,
            workers=_shared_cores() if self.workers is None else self.workers,
        )

    def _recipe(self, device: str) -> "TrainRecipe":
        from dataclasses import replace

        from jobs.train import stage

        recipe = stage(self.stage, self.config)
        given: dict[str, Any] = {
            "sequence_length": self.sequence_length,
            "global_batch": self.global_batch,
            "seed": self.seed,
        }
        try:
            if self.steps is not None:
                recipe = recipe.taking(self.steps)
            for name, value in given.items():
                if value is not None:
                    recipe = replace(recipe, **{name: value})
        except ValueError as error:
            raise UsageError(f"--{str(error).replace('_', '-', 1)}") from error
        recipe = recipe.with_settings(self.set)
        return replace(recipe, dtype=resolved_dtype(recipe.dtype, device))


def _follow(training: "Training") -> int:
    """Trains beside the leading process, which says what they all would."""
    from curation.trainer.distributed import FollowedError
    from curation.trainer.run import train

    try:
        train(training)
    except FollowedError as error:
        return error.exit_code
    return 0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Ask a trained model about an image."""

    checkpoint: tyro.conf.Positional[str]
    """The --out of a run (finished or not), one of its checkpoints, or a Hugging Face folder."""
    image: str
    """Image file."""
    prompt: str = ""
    """Text behind the image. Default: none, which asks for a caption as pretraining does."""
    chat: bool = False
    """Ask as a user in a chat, which a model learns only after pretraining."""
    max_tokens: int = 128
    """Longest answer."""
    temperature: float = 0.0
    """0 takes the likeliest word each time; above it words are drawn."""
    seed: int = 0
    """Of what is drawn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    def run(self) -> int:
        _patient_threads()
        require("train", "curate sample", "tokenizers")
        from curation.trainer.answer import answer
        from curation.trainer.trained import find_trained

        if self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise UsageError("--max-tokens must be at least 1, --temperature at least 0")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"--seed must be 0 to 2**63 - 1, got {self.seed}")
        check_device(self.device)
        trained = find_trained(self.checkpoint)
        if trained.note:
            print(trained.note, file=sys.stderr)
        said = answer(
            trained,
            self.image,
            self.prompt,
            chat=self.chat,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            device=resolved_device(self.device),
        ).strip()
        if not said:
            print("(the model ends its answer before a word)", file=sys.stderr)
        print(said)
        return 0


def corpus_share(text: str) -> "CorpusShare":
    """`EXPORT:SHARE` or `EXPORT`. Raises UsageError for a share that is not above 0."""
    from curation.trainer.mixture import CorpusShare

    url, colon, share = text.rpartition(":")
    if not colon or share.startswith("//") or "/" in share:
        return CorpusShare(url=text)
    try:
        number = float(share)
    except ValueError as error:
        raise UsageError(
            f"--corpus {text}: {share!r} is no share; write EXPORT:SHARE, as run1/export:0.7"
        ) from error
    if not 0 < number < float("inf"):
        raise UsageError(f"--corpus {text}: the share must be above 0")
    return CorpusShare(url=url, share=number)


def _patient_threads() -> None:
    """Lets threads sleep while they wait, before torch starts them.

    They spin otherwise: on a machine that does something else too (decoding workers do), a step
    took 25 times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _local(out: str) -> str:
    """A folder of this machine, or one that all machines share. Raises UsageError."""
    if "://" in out:
        raise UsageError(f"--out {out}: a folder is needed, checkpoints are renamed when complete")
    for place in (Path(out), *Path(out).parents):
        if place.exists() and not place.is_dir():
            raise RunError(f"{place}: a file, not a folder; name another --out")
    return out


def _shared_cores() -> int:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, (os.cpu_count() or 1) // here - 1))
