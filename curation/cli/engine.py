"""Which engine a command runs on, and how it is reached."""

import importlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro

from curation.cli.extras import require
from curation.core.errors import UsageError
from curation.core.limits import LEAST_MEMORY, Limits
from curation.core.placement import Placement
from curation.engines.local import LocalEngine, default_memory
from curation.engines.mixed import Closable, MixedEngine
from curation.io.store import TEMPORARY, Store

_NEEDS = {"spark": "pyspark", "ray": "ray"}

Placing = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="STAGE.FIELD=VALUE"),
    tyro.conf.UseAppendAction,
]


@dataclass(frozen=True, kw_only=True)
class Working:
    """Options of every command that works through shards."""

    workers: int = os.cpu_count() or 1
    """Processes of the local engine; 0 works in this one."""
    memory: str = default_memory()
    """What a relational step may hold before it spills to disk, as 4GB."""
    engine: Literal["local", "spark", "ray"] = "local"
    """local: this machine. spark, ray: a cluster; every node must reach the corpus by its path."""
    place: Placing = ()
    """Run one stage elsewhere or with more, as clip.engine=ray, clip.gpus=0.5 or clip.pool=4
    (repeatable)."""
    spark_master: str = ""
    """Address of the Spark cluster, as spark://HOST:7077. Default: as spark-submit says, else all
    cores of this machine."""
    ray_address: str = ""
    """Address of the Ray cluster, as HOST:6379. Default: the one that the job was submitted to,
    else this machine."""
    deadline: float = 60.0
    """Seconds that an operator may take for one record; 0 waits for ever."""
    worker_memory: str = ""
    """What a worker may allocate, as 4GB. Default: its share of nine tenths of the machine's."""

    def check(self) -> None:
        if self.workers < 0:
            raise UsageError(f"--workers must be at least 0, got {self.workers}")
        if not 0 <= self.deadline < math.inf:
            raise UsageError(f"--deadline must be at least 0, got {self.deadline}")
        _bytes("--memory", self.memory)
        if self.worker_memory:
            memory = _bytes("--worker-memory", self.worker_memory)
            if memory < LEAST_MEMORY:
                least = f"{LEAST_MEMORY / 1e9:.1f}GB"
                raise UsageError(f"--worker-memory must be at least {least}: libraries take that")
        _check_installed(self.engine)

    def limits(self) -> Limits:
        memory = _bytes("--worker-memory", self.worker_memory) if self.worker_memory else 0
        return Limits(deadline=self.deadline, memory=memory)


def _bytes(option: str, text: str) -> int:
    """Bytes of an amount as 4GB or 500MB."""
    clean = text.strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (clean[:-1], clean[-1]) if clean[-1:] in tuple("KMGT") else (clean, "")
    try:
        return int(float(number) * 1000 ** (" KMGT".index(unit) if unit else 0))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} takes an amount as 4GB or 500MB, got {text!r}") from error


def _check_installed(engine: str) -> None:
    if engine in _NEEDS:
        require(engine, f"engine {engine}", _NEEDS[engine])


def _check_placed(working: Working, placement: Mapping[str, Placement]) -> None:
    """Raises UsageError for resources that the engine of a stage does not hand out."""
    plain = Placement()
    for name, placed in placement.items():
        if (placed.engine or working.engine) == "ray":
            continue
        for field in ("gpus", "cpus", "pool"):
            if getattr(placed, field) != getattr(plain, field):
                raise UsageError(
                    f"--place {name}.{field}: only Ray hands out {field}; "
                    f"add --place {name}.engine=ray, or --engine ray"
                )


def engine_of(
    working: Working, scratch: Store | None, placement: Mapping[str, Placement]
) -> MixedEngine:
    """The engine of a command. `scratch` is what it works on: unfinished files lie there."""
    stages = {name: placed.engine for name, placed in placement.items() if placed.engine}
    for name in stages.values():
        _check_installed(name)
    _check_placed(working, placement)
    limits = working.limits()

    def start(name: str) -> Closable:
        if name == "local":
            place = Path(scratch.path(TEMPORARY)) if scratch and scratch.is_local else None
            return LocalEngine(
                workers=working.workers, memory=working.memory, scratch=place, limits=limits
            )
        shared = f"{scratch.url.rstrip('/')}/{TEMPORARY}" if scratch else ""
        if name == "spark":
            spark = importlib.import_module("curation.engines.spark")
            made = spark.SparkEngine(
                master=working.spark_master or None, scratch=shared, limits=limits
            )
        else:
            ray = importlib.import_module("curation.engines.ray")
            made = ray.RayEngine(
                address=working.ray_address or None,
                placement=placement,
                scratch=shared,
                limits=limits,
                memory=working.memory,
            )
            try:
                made.check_placed()
            except UsageError:
                made.close()
                raise
        return cast(Closable, made)

    engine = MixedEngine(working.engine, stages, start)
    if any(placed.gpus for placed in placement.values()):  # which only Ray hands out
        engine.begin("ray")
    return engine
