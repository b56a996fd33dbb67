"""Where an operator or stage runs, and on what. It never changes a byte, so nothing hashes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from curation.core.errors import UsageError

ENGINES = ("local", "spark", "ray")


@dataclass(frozen=True)
class Placement:
    """One operator or stage; the defaults are a CPU worker of the run's own engine."""

    engine: str = ""
    """local, spark or ray; empty: the engine of the run."""
    gpus: float = 0.0
    """GPUs of an actor that holds a model; 0.25 puts four of them onto one."""
    cpus: float = 1.0
    """Cores of an actor or task."""
    pool: int = 0
    """Actors, all started at once; 0: as many as the cluster has room for."""

    def __post_init__(self) -> None:
        if self.engine not in ("", *ENGINES):
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {self.engine}")
        if not 0 <= self.gpus < math.inf or not 0 < self.cpus < math.inf or self.pool < 0:
            raise ValueError("gpus and pool must be at least 0, and cpus above 0")


_KINDS = {"engine": str, "gpus": float, "cpus": float, "pool": int}


def placed(
    shipped: Mapping[str, Placement], settings: tuple[str, ...], names: tuple[str, ...]
) -> dict[str, Placement]:
    """`shipped` placements with settings as `clip.engine=ray` or `clip.gpus=0.5`.

    `names` are the operators and stages there are. Raises UsageError for a setting that means
    nothing.
    """
    found = dict(shipped)
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, dot, field = target.strip().rpartition(".")
        if not equals or not dot:
            raise UsageError(f"--place {setting}: write STAGE.FIELD=VALUE, as clip.engine=ray")
        if name not in names:
            raise UsageError(f"--place {setting}: no stage {name!r}; there are {', '.join(names)}")
        if field not in _KINDS:
            told = ", ".join(f.name for f in fields(Placement))
            raise UsageError(f"--place {setting}: no field {field!r}; there are {told}")
        try:
            there = found.get(name, Placement())
            given = _KINDS[field](value.strip())
        except ValueError as error:
            raise UsageError(f"--place {setting}: {field} takes a number") from error
        try:
            found[name] = replace(there, **{field: given})
        except ValueError as error:
            raise UsageError(f"--place {setting}: {error}") from error
    return found
