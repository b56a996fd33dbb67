"""Feeds a rank its packs of every step, in the order of the plan.

Workers build packs ahead of the training. What they decode lies in memory that both processes see:
a worker passes the handle of an anonymous file and nothing else, so that no pixel is pickled or
copied, and nothing stays behind where a process is killed.

The same plan gives the same steps whatever the number of workers and ranks, from whichever step it
is resumed: state is the plan's hash and the next step.
"""

import json
import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pyarrow as pa

from curation.core.errors import RunError, UsageError
from curation.io.store import storage_error
from curation.models.glm4v.batch import PackedBatch
from curation.trainer.handover import receive
from curation.trainer.pack import Built, Failure, PackBuilder, Slot
from curation.trainer.worker import WorkerSetup, serve

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from curation.trainer.plan import Plan

_AHEAD = 2
"""Packs that a worker builds before they are asked for."""


class LoaderState(TypedDict):
    """All that resuming needs."""

    plan_hash: str
    step: int
    """The next step."""


@dataclass(frozen=True)
class Step:
    """One rank's part of a global step."""

    number: int
    packs: list[PackedBatch]
    failures: list[Failure] = field(default_factory=list)
    """Samples of these packs that could not be read; nothing of them is learnt."""
    waited: float = 0.0
    """Seconds that the training waited for the data."""


def resume_step(plan: "Plan", state: LoaderState) -> int:
    """The step to go on with. Raises UsageError where the state is of another plan."""
    if state["plan_hash"] != plan.plan_hash:
        raise UsageError(
            f"the checkpoint was trained by plan {state['plan_hash']}, this is {plan.plan_hash}: "
            "corpora, shares, seed, sequence length, batch or tokenizer differ; resume with what "
            "it was started with"
        )
    return state["step"]


class Loader:
    """Iterates over this rank's part of every step, once."""

    def __init__(
        self,
        plan: "Plan",
        *,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        start_step: int = 0,
        quarantine: str | None = None,
    ) -> None:
        """`workers` 0 builds packs here, one step at a time; with others call `close` at the end.

        Samples that cannot be read are appended to the file `quarantine` as JSON lines.
        """
        if not 0 <= rank < world or plan.global_batch % world:
            raise UsageError(
                f"rank {rank} of {world}: the global batch of {plan.global_batch} packs must be a "
                "multiple of the number of ranks"
            )
        self._plan, self._rank, self._world = plan, rank, world
        self._step = start_step
        self._quarantine = Path(quarantine) if quarantine else None
        self._builder = PackBuilder(plan.corpora, plan.processor, plan.seq_len)
        self._workers = [_Worker(plan) for _ in range(workers)]

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers."""
        self._builder.close()
        for worker in self._workers:
            worker.close()
        self._workers = []

    def state(self) -> LoaderState:
        """Where to go on once the steps given so far are trained."""
        return {"plan_hash": self._plan.plan_hash, "step": self._step}

    def __iter__(self) -> Iterator[Step]:
        """Steps from the first on. Raises RunError for a dead worker or a tar that is gone."""
        built = self._built()
        for number in range(self._step, self._plan.steps):
            start = time.monotonic()
            packs = [next(built) for _ in range(self._plan.global_batch // self._world)]
            waited = time.monotonic() - start
            failures = [failure for pack in packs for failure in pack.failures]
            self._file(number, failures)
            self._step = number + 1
            yield Step(number, [packed(pack) for pack in packs], failures, waited)

    def _built(self) -> Iterator[Built]:
        """This rank's packs in order, wherever they are built."""
        slots = (
            _slots(pack)
            for _, packs in self._plan.packs(self._step)
            for pack in packs[self._rank :: self._world]
        )
        if not self._workers:
            try:
                for rows in slots:
                    with one_thread():
                        built = self._builder.build(rows)
                    yield built
            finally:
                self._builder.close()
            return
        flying: deque[_Worker] = deque()
        for turn in range(len(self._workers) * _AHEAD):
            self._hand(self._workers[turn % len(self._workers)], slots, flying)
        while flying:
            worker = flying.popleft()
            pack = worker.receive()
            self._hand(worker, slots, flying)
            yield pack

    @staticmethod
    def _hand(worker: "_Worker", slots: Iterator[list[Slot]], flying: "deque[_Worker]") -> None:
        pack = next(slots, None)
        if pack is not None:
            worker.send(pack)
            flying.append(worker)

    def _file(self, step: int, failures: list[Failure]) -> None:
        """Notes what could not be read."""
        if not failures or self._quarantine is None:
            return
        lines = [
            json.dumps({"step": step, "sample": failure.sample, "error": failure.error}) + "\n"
            for failure in failures
        ]
        try:
            self._quarantine.parent.mkdir(parents=True, exist_ok=True)
            with self._quarantine.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            raise storage_error(str(self._quarantine), error) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread: pictures are small, and many threads only wait for each other
    on a busy machine. What comes out is the same."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def packed(built: Built) -> PackedBatch:
    """A pack as tensors, over the same memory."""
    import torch

    lengths = np.diff(built.arrays["cu_seqlens"])
    tensors = {name: torch.from_numpy(array) for name, array in built.arrays.items()}
    return PackedBatch(
        **tensors,
        max_seqlen=int(lengths.max()),
        sample_families=built.families,
        sample_ids=built.ids,
    )


def _slots(pack: pa.Table) -> list[Slot]:
    columns: Iterable[list[int]] = (pack[name].to_pylist() for name in Slot._fields)
    return [Slot(*row) for row in zip(*columns, strict=True)]


class _Worker:
    """A process that builds packs in the order asked."""

    def __init__(self, plan: "Plan") -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["curation.trainer.worker", "torch"])
        self._pipe: Connection
        self._pipe, theirs = context.Pipe(duplex=True)
        setup = WorkerSetup(tuple(plan.corpora), plan.processor, plan.seq_len)
        self._process: ForkServerProcess = context.Process(
            target=serve, args=(theirs, setup), daemon=True, name="curation-loader"
        )
        self._process.start()
        theirs.close()

    def send(self, slots: list[Slot]) -> None:
        try:
            self._pipe.send(slots)
        except OSError as error:
            raise self._dead() from error

    def receive(self) -> Built:
        """The next pack. Raises what the worker raised, RunError where it died."""
        try:
            return receive(self._pipe)
        except (EOFError, OSError) as error:
            raise self._dead() from error

    def ready(self, seconds: float) -> bool:
        """Whether a pack is there, or comes within that time."""
        return self._pipe.poll(seconds)

    def close(self) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _dead(self) -> RunError:
        self._process.join(timeout=5)
        return RunError(
            f"a loader worker ended (exit code {self._process.exitcode}); it may have run out of "
            "memory: resume with fewer workers"
        )
