"""Runs tasks on a Ray cluster: Ray Data over shards, model operators streamed to pools of actors.

Relational steps run in DuckDB on the driver. Every node must reach the corpus, its scratch folder
and the files that operators read.
"""

import contextlib
import os
import pickle
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.exceptions

from curation.core.engine import Item, Result
from curation.core.errors import RunError, UsageError
from curation.core.limits import Limits
from curation.core.operator import Operator
from curation.core.placement import Placement
from curation.core.streamed import StreamedTask
from curation.engines.isolated import Isolated, unwrapped
from curation.engines.local import default_memory
from curation.engines.ray_cluster import (
    check_gpus,
    connect,
    cores_of_largest,
    room,
    settings,
)
from curation.engines.ray_stream import Pool, streamed
from curation.engines.sql import DuckSession
from curation.io.store import Store

_MOST_BLOCKS = 10_000
"""Blocks that the items of one map are dealt into; each costs the driver some milliseconds."""


@dataclass
class RayEngine:
    """Runs tasks on the workers of a Ray cluster."""

    scratch: str
    """Folder or URL that every node reaches, for what tasks hand to each other."""
    address: str | None = None
    """Of a cluster; null: the one a job was submitted to, else an own one on this machine."""
    placement: Mapping[str, Placement] = field(default_factory=dict)
    """By operator or stage; without one, a task takes a core."""
    cores: int = 0
    """Of an own cluster; 0: all of this machine's."""
    memory: str = field(default_factory=default_memory)
    """What DuckDB may hold before it spills."""
    limits: Limits = field(default_factory=Limits)
    """What one record may cost."""
    patience: float = 30.0
    """Seconds without a result after which a stream that has lost a node is started again."""
    _here: Placement = field(default_factory=Placement)
    _views: dict[Placement, "RayEngine"] = field(default_factory=dict)
    _mine: bool = False

    def __post_init__(self) -> None:
        self._views[self._here] = self
        self._mine = connect(self.address, self.cores)

    def check_placed(self) -> None:
        """Raises UsageError for GPUs that are not there, before hours of other stages."""
        for name, placed in self.placement.items():
            if placed.engine in ("", "ray"):
                check_gpus(name, placed.gpus)

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the cluster, or ends the own one."""
        if self._mine:
            ray.shutdown()
            self._mine = False

    @property
    def workers(self) -> int:
        """Cores of the cluster, now."""
        return max(1, room("CPU", 1.0))

    def at(self, stage: str) -> "RayEngine":
        """This engine, with the resources that the stage is placed on."""
        wanted = replace(self.placement.get(stage, Placement()), engine="")
        if wanted not in self._views:
            replace(self, _here=wanted)
        return self._views[wanted]

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: Callable[[Item, Callable[..., bool]], Item] | None = None,
        threads: int = 0,
        operator: Operator | None = None,
    ) -> Iterator[Result]:
        """Results of `task` in the order they are ready; a worker that is lost loses no item.

        Each runs in a child of a Ray worker, where a crash, a hang or a hunger for memory is found
        as on one machine (`Isolated`). A StreamedTask goes in two halves through a pool of actors;
        what fails on that way takes the other.
        """
        todo = list(items)
        check_gpus(operator.name if operator else "a stage", self._here.gpus)
        with _translated():
            if isinstance(task, StreamedTask):
                left: list[Item] = []
                with self.folder() as folder:
                    yield from streamed(task, todo, self._pool(threads), folder, left)
                todo = left
            if todo:
                yield from self._isolated(Isolated(task, on_crash, self.limits), todo, threads)

    def _isolated(
        self, task: Isolated[Item, Result], items: list[Item], threads: int
    ) -> Iterator[Result]:
        per = -(-len(items) // _MOST_BLOCKS)
        sent = [pickle.dumps(item) for item in items]
        blocks = [
            pa.table({"item": pa.array(sent[at : at + per], pa.binary())})
            for at in range(0, len(sent), per)
        ]

        def work(batch: pa.Table) -> pa.Table:
            outcomes = [_outcome(task, item) for item in batch["item"].to_pylist()]
            return pa.table({"outcome": pa.array(outcomes, pa.binary())})

        with ray.data.DataContext.current(settings(tolerant=False)):
            results = ray.data.from_arrow(blocks).map_batches(
                work,
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=self._cores(threads),
                num_gpus=self._here.gpus or None,
            )
        for row in results.iter_rows():
            yield unwrapped(row["outcome"])

    def _cores(self, threads: int) -> float:
        """Of a task; one that computes with many threads on a CPU takes as many."""
        wanted = self._here.cpus if self._here.gpus else max(self._here.cpus, float(threads))
        return min(wanted, cores_of_largest())

    def _pool(self, threads: int) -> Pool:
        """Actors with a GPU have cores to themselves; without, they share theirs with readers.

        The smaller share is theirs: on the nodes that are left there is room for those of a node
        that is lost. Equal ones would make Ray Data run both in one process, a whole item at once.
        """
        cores, gpus = self._cores(threads), self._here.gpus
        most = room("GPU", gpus) if gpus else room("CPU", cores * 0.4)
        size = self._here.pool or (room("GPU", gpus) if gpus else room("CPU", cores))
        if size > most > 0:
            raise UsageError(
                f"a pool of {size:,} actors, but the Ray cluster has room for {most:,}: they are "
                f"started all at once (--place STAGE.pool={most})"
            )
        return Pool(
            size=max(1, size),
            gpus=gpus,
            cores=cores if gpus else cores * 0.4,
            reading=min(1.0, cores) if gpus else cores * 0.6,
            limits=self.limits,
            patience=self.patience,
        )

    @contextlib.contextmanager
    def session(self) -> Iterator[DuckSession]:
        """A scratch database on this machine for one relational step."""
        with tempfile.TemporaryDirectory(prefix="curation-") as folder:
            session = DuckSession(Path(folder), threads=os.cpu_count() or 1, memory=self.memory)
            try:
                yield session
            finally:
                session.close()

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A scratch folder that all nodes reach."""
        name = uuid.uuid4().hex
        try:
            yield f"{self.scratch.rstrip('/')}/{name}"
        finally:
            Store(self.scratch).remove(name)


def _outcome(task: Isolated[Any, Any], item: bytes) -> bytes:
    """Also what a task raises that is no user's error comes back, and is raised by the driver."""
    try:
        return task(pickle.loads(item))  # noqa: S301 - the driver's own
    except Exception as error:  # noqa: BLE001 - raised again by `unwrapped`
        return pickle.dumps((None, error))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns what Ray itself raises into a line for the user."""
    try:
        yield
    except (ray.exceptions.RayError, ray.exceptions.UserCodeException) as error:
        said = str(error).strip().partition("\n")[0]
        raise RunError(f"the Ray cluster failed ({type(error).__name__}: {said})") from error
