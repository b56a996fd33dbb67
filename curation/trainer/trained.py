"""A trained model by the name that a person gives it: finished, or still in training.

OUT                              a run: its model, or the newest whole checkpoint until it ends
OUT/checkpoints/000000120        one checkpoint of a run
a Hugging Face folder            with config.json
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from curation.core.errors import RunError, UsageError
from curation.models.glm4v.checkpoint import load_pretrained
from curation.models.glm4v.model import Glm4v
from curation.trainer.record import MODEL, RECORD, SHAPE, model_folder
from curation.trainer.state import CHECKPOINTS, fault_of, step_folders
from curation.trainer.weights import checkpoint_model


@dataclass(frozen=True)
class Trained:
    """Where a model lies."""

    folder: Path
    """Of config, tokenizer and pixel budget."""
    step: Path | None = None
    """A checkpoint that holds the weights; null where they are in `folder`."""
    note: str = ""
    """What to tell a person of the choice, one line; empty where there was none."""

    def load(self, device: torch.device | str) -> Glm4v:
        """The model, ready to answer. Raises UsageError or RunError for a damaged one."""
        if self.step is None:
            return load_pretrained(self.folder, device)
        return checkpoint_model(self.folder, self.step, device)


def find_trained(name: str) -> Trained:
    """The model of that name. Raises UsageError where there is none, RunError for a damaged one."""
    folder = Path(name)
    if (folder.resolve().parent.parent / RECORD).exists() and folder.name.isdecimal():
        return Trained(_shape(folder.resolve().parent.parent), _whole(folder))
    if not (folder / RECORD).exists() or (folder / MODEL / "config.json").exists():
        return Trained(model_folder(name))
    steps = step_folders(folder / CHECKPOINTS)
    if not steps:
        raise UsageError(f"{name}: a run that wrote no checkpoint yet; wait for its first")
    faults: list[str] = []
    for step in reversed(steps):
        if fault := fault_of(step):
            faults.append(f"{step.name} is damaged ({fault}), ")
            continue
        note = f"{name}: not finished; {''.join(faults)}step {int(step.name):,} answers"
        return Trained(_shape(folder), step, note)
    raise RunError(f"{name}: not finished, and every checkpoint is damaged; {faults[0][:-2]}")


def _whole(step: Path) -> Path:
    if not step.is_dir():
        raise UsageError(f"{step}: no such checkpoint; name one that is there, or the run's folder")
    if fault := fault_of(step):
        raise RunError(f"{step}: damaged checkpoint ({fault}); name another one, or the run")
    return step


def _shape(run: Path) -> Path:
    """What a run's checkpoints are read with."""
    if not (run / SHAPE / "config.json").exists():
        raise RunError(
            f"{run / SHAPE}: missing; run the command that trains there again, it goes on and "
            "writes it"
        )
    return run / SHAPE
