"""`curate train` on a Ray cluster: every worker of Ray Train is a process of the run.

    ray job submit -- python -m jobs.train_on_ray --processes 16 --gpus -- \\
        --stage 1 --config 9b --init BASE --corpus EXPORT:1 --out DIR

What stands behind `--` goes to `curate train`; its paths, the corpora's and --out's, must be the
same on every machine. The process group is Ray's. A run that died is submitted again and goes on
from its last checkpoint.
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from curation.cli.main import main as curate
from curation.core.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Ray Train's workers."""

    processes: int = 1
    """Processes of the run; --global-batch must be a multiple of it."""
    gpus: bool = False
    """Whether each has a GPU of its own; otherwise it has a CPU."""
    scratch: str = ""
    """Folder for Ray Train's own records; by default ~/ray_results. No checkpoint lies there."""


def work(settings: dict[str, Any]) -> None:
    """What each worker does. Raises RunError where the run fails, after its one line."""
    with contextlib.suppress(OSError):  # relative paths mean what they mean to who submits
        os.chdir(settings["folder"])
    code = curate(["train", *settings["arguments"]])
    if code:
        raise RunError(f"curate train ended with {code}, as said above")


def main(arguments: list[str]) -> int:
    """Trains on the cluster that is found; returns its exit code."""
    try:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        print(f"train_on_ray: needs {error.name} (pip install 'curation[ray,train]')")
        return 2
    split = arguments.index("--") if "--" in arguments else len(arguments)
    asked = tyro.cli(Workers, prog="jobs.train_on_ray", args=arguments[:split])
    trainer = TorchTrainer(
        work,
        train_loop_config={"arguments": arguments[split + 1 :], "folder": str(Path.cwd())},
        scaling_config=ScalingConfig(num_workers=asked.processes, use_gpu=asked.gpus),
        run_config=RunConfig(storage_path=asked.scratch or None),
    )
    try:
        trainer.fit()
    except Exception as error:  # noqa: BLE001 - Ray wraps what a worker raised in its own
        print(f"train_on_ray: {str(error).splitlines()[-1]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
