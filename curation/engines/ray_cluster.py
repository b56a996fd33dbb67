"""A Ray cluster, as this process sees it: connecting to it quietly, and what it has room for."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import ray
import ray.data

from curation.core.errors import RunError, UsageError
from curation.engines.reach import unreachable

_BLOCK = 32 << 20
"""Bytes above which a reader hands on what it has: small, so that actors end at the same time."""


def connect(address: str | None, cores: int) -> bool:
    """Joins a cluster, or starts one of this process's own; whether there was none before.

    `address` None is the cluster that a job was submitted to (RAY_ADDRESS), else an own one of
    `cores` (0: all). Raises RunError where no cluster answers.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # whose errors go to the terminal
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # no GPU for who asks for none
    there = address or ("auto" if os.environ.get("RAY_ADDRESS") else "local")
    silent = unreachable(there.removeprefix("ray://"))
    if silent:
        raise RunError(f"no Ray cluster at {there}: {silent}")
    own: dict[str, Any] = {"num_cpus": cores or None, "include_dashboard": False}
    try:
        with warnings.catch_warnings(), _no_stderr():
            warnings.simplefilter("ignore")
            ray.init(
                address=there,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **(own if there == "local" else {}),
            )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise RunError(f"no Ray cluster at {there}: {said}{_hint(there)}") from error
    _quiet()
    return True


def _hint(there: str) -> str:
    """What most often keeps out a process that reaches the port."""
    if there == "local" or os.environ.get("RAY_AUTH_MODE") == "token":
        return ""
    return (
        "; if the cluster was started with a token, say RAY_AUTH_MODE=token and have its "
        "~/.ray/auth_token here"
    )


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Ray's native part says on the terminal how it was told to log."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quiet() -> None:
    """Leaves Ray Data's plans and progress to its log files; what fails is raised."""
    ray.data.DataContext.get_current()  # sets its logging up
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL + 1)
    # A pool larger than the number of batches is told of as a waste; a small corpus is no fault.
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")


def settings(*, tolerant: bool) -> ray.data.DataContext:
    """How a dataset runs; `tolerant` of parts that are lost."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = _BLOCK
    context.max_errored_blocks = -1 if tolerant else 0
    return context


def nodes() -> dict[str, dict[str, float]]:
    """Resources of each living node by its id."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in found if node["Alive"]}


def room(kind: str, each: float) -> int:
    """How many times `each` of a resource (CPU or GPU) fits, node by node."""
    return sum(int(node.get(kind, 0.0) / each + 1e-9) for node in nodes().values())


def cores_of_largest() -> float:
    """A task that asks for more would wait for ever."""
    return max((node.get("CPU", 0.0) for node in nodes().values()), default=0.0)


def check_gpus(name: str, gpus: float) -> None:
    """Raises UsageError where no node has so many."""
    if gpus and not room("GPU", gpus):
        raise UsageError(
            f"{name} is placed on {gpus:g} GPUs, but no node of the Ray cluster has that many; "
            f"start nodes with GPUs, or place it on CPUs (--place {name}.gpus=0)"
        )
