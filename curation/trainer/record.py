"""What a run began with, kept in its folder: whose a folder is, and what can go on from it."""

import json
import os
import re
from pathlib import Path
from typing import Any

from curation.core.errors import RunError, UsageError
from curation.io.store import TEMPORARY
from curation.trainer.identity import IDENTITY_FILE
from curation.trainer.metrics import METRICS, QUARANTINE, SPIKES
from curation.trainer.plan import PLAN_FILE
from curation.trainer.state import CHECKPOINTS

RECORD = "run.json"
MODEL = "model"
SHAPE = "shape"
PLAN = "plan"

_WRITTEN = (MODEL, SHAPE, CHECKPOINTS, METRICS, SPIKES, QUARANTINE, "tensorboard")
"""What a run writes after its record, and writes over."""

_PLANNED = re.compile(
    rf"{re.escape(PLAN_FILE)}|{re.escape(IDENTITY_FILE)}|steps|token_count-\w+|{TEMPORARY}"
)
_STEPS = re.compile(r"\d{6,}\.parquet")


def read_record(folder: Path) -> dict[str, Any]:
    """What a run began with. Raises RunError for a damaged record."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if not isinstance(found.get("corpora"), list):
            raise ValueError("no corpora")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder / RECORD}: damaged ({error}); begin in another --out") from error
    return found


def check_unused(folder: Path) -> None:
    """Raises UsageError where a folder without a record holds what a run would write over.

    A plan that was made beforehand, or broken off in the making, is no such thing.
    """
    held = [name for name in _WRITTEN if os.path.lexists(folder / name)]
    held += [f"{PLAN}/{name}" if name else PLAN for name in _strange(folder / PLAN)]
    if held:
        more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
        raise UsageError(
            f"{folder}: holds {held[0]}{more} but no {RECORD} of a training that wrote it; choose "
            "another --out"
        )


def _strange(plan: Path) -> list[str]:
    """What no planning writes in the folder of a plan; an empty name for the folder itself."""
    if not os.path.lexists(plan):
        return []
    if not plan.is_dir():
        return [""]
    found = [path.name for path in plan.iterdir() if not _PLANNED.fullmatch(path.name)]
    steps = plan / "steps"
    if steps.is_dir():
        found += [f"steps/{p.name}" for p in steps.iterdir() if not _STEPS.fullmatch(p.name)]
    elif os.path.lexists(steps):
        found.append("steps")
    return sorted(found)


def model_folder(path: str) -> Path:
    """The Hugging Face folder of a finished run, or the folder itself. Raises UsageError."""
    folder = Path(path)
    if (folder / RECORD).exists():
        if not (folder / MODEL / "config.json").exists():
            raise UsageError(f"{path}: a run that is not finished; run it to its last step first")
        return folder / MODEL
    if not (folder / "config.json").exists():
        raise UsageError(f"{path}: neither a finished run nor a Hugging Face folder (config.json)")
    return folder


def run_of(init: str) -> Path | None:
    """The run that weights come from, named by its folder or that of its model; null: none."""
    folder = Path(init)
    places = [folder, folder.resolve().parent] if folder.name == MODEL else [folder]
    return next((place for place in places if init and (place / RECORD).exists()), None)


def origin_named(init: str) -> str:
    """One name for the weights that a run begins with, however their folder is spelt."""
    run = run_of(init)
    return located(str(run / MODEL if run else init)) if init else ""


def located(url: str) -> str:
    """One name for a place, however it is spelt."""
    return url.rstrip("/") if "://" in url else str(Path(url).resolve())
