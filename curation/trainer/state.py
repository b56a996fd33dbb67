"""Checkpoints: written aside and in the background, seen only when whole, resumed to the bit.

    OUT/checkpoints/000000120/   torch.distributed.checkpoint: any number of processes can read it
    OUT/checkpoints/.tmp/        what is being written, or was when the run was killed

A checkpoint holds parameters, buffers, optimiser state and the run's own state (step, plan, spike
window). It is copied before training goes on and written by a thread meanwhile. The folder gets its
name when its last byte is on disk: whatever is killed, the newest name is a whole checkpoint.
"""

import json
import os
import shutil
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.optim import Optimizer

from curation.core.errors import RunError
from curation.trainer.distributed import World
from curation.trainer.listed import ListedReader, ListError

CHECKPOINTS = "checkpoints"
"""The folder of them in that of their run."""

_ASIDE = ".tmp"


class Checkpoints:
    """The checkpoints of one run, in `folder`; every process makes one and calls it alike."""

    def __init__(self, folder: Path, world: World, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._folder, self._world, self._keep = folder, world, keep
        # Its own group: the writing thread talks to other ranks while training does, too.
        self._group = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
        self._stager = DefaultStager(StagingOptions(False, False, False, False))
        self._writing: tuple[int, Future[Any]] | None = None
        if world.leads:
            shutil.rmtree(folder / _ASIDE, ignore_errors=True)
            (folder / _ASIDE).mkdir(parents=True)
        world.wait()

    def latest(self) -> int | None:
        """Step of the newest whole checkpoint, null where there is none."""
        return cast("int | None", self._world.told(max(self._steps(), default=None)))

    def save(self, step: int, model: nn.Module, optimiser: Optimizer, run: dict[str, Any]) -> None:
        """Starts to write; waits only for the checkpoint before and for the copy."""
        self.finish()
        parameters, moments = get_state_dict(model, optimiser)
        state = {"model": parameters, "optimiser": moments, "run": json.dumps(run)}
        aside = self._folder / _ASIDE / _name(step)
        future = async_save(
            state, checkpoint_id=aside, process_group=self._group, async_stager=self._stager
        )
        self._writing = step, cast("Future[Any]", future)

    def settle(self) -> None:
        """Names the checkpoint under way if every process has written its part; never waits."""
        if self._writing is None:
            return
        done = self._world.total([float(self._writing[1].done())])[0]
        if done == self._world.size:
            self.finish()

    def finish(self) -> None:
        """Waits for the checkpoint under way and names it. Raises RunError if it failed."""
        if self._writing is None:
            return
        step, future = self._writing
        self._writing = None
        aside, final = self._folder / _ASIDE / _name(step), self._folder / _name(step)
        try:
            future.result()
        except (Exception, CheckpointException) as error:
            raise RunError(
                f"{final}: the checkpoint could not be written ({_reason(error)}); make room "
                "or mend the disk and run the same command again, it continues"
            ) from error
        if self._world.leads:
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
            _sync(self._folder)
            for old in sorted(self._steps())[: -self._keep]:
                shutil.rmtree(self._folder / _name(old), ignore_errors=True)
        self._world.wait()

    def load(self, step: int, model: nn.Module, optimiser: Optimizer) -> dict[str, Any]:
        """Puts a checkpoint into model and optimiser; returns the run's state.

        Raises RunError for a damaged checkpoint.
        """
        path = self._folder / _name(step)
        faults = self._world.gather(fault_of(path))
        if fault := next(filter(None, faults), None):
            self._world.fail(_damaged(path, fault))
        parameters, moments = get_state_dict(model, optimiser)
        state = {"model": parameters, "optimiser": moments, "run": ""}
        try:
            load(state, storage_reader=ListedReader(path))
            run = json.loads(cast("str", state["run"]))
        except (Exception, CheckpointException) as error:
            raise _damaged(path, _reason(error)) from error
        set_state_dict(model, optimiser, model_state_dict=parameters, optim_state_dict=moments)
        return cast("dict[str, Any]", run)

    def close(self) -> None:
        """Finishes, and ends the threads."""
        self.finish()
        self._stager.close()

    def _steps(self) -> list[int]:
        return [int(folder.name) for folder in step_folders(self._folder)]


def step_folders(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder of them, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.name.isdecimal())


def fault_of(path: Path) -> str:
    """What is wrong with the files of a checkpoint, in one line; empty where they are whole."""
    try:
        ListedReader(path)
    except ListError as fault:
        return str(fault)
    return ""


def load_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Fills tensors, by the names of the model that was saved, from a checkpoint; one process does.

    Raises RunError for a damaged checkpoint, or that of a model of another shape.
    """
    try:
        reader = ListedReader(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no other process takes part
            load({"model": weights}, storage_reader=reader, no_dist=True)
    except (Exception, CheckpointException) as error:
        raise _damaged(path, _reason(error)) from error


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(
        f"{path}: damaged checkpoint ({reason}); delete the folder, the run goes on from the one "
        "before"
    )


def _name(step: int) -> str:
    return f"{step:09d}"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: BaseException) -> str:
    """One line: what went wrong on the first process where something did."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
