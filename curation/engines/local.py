"""The embedded engine: worker processes over shards, DuckDB over the corpus."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from curation.core.engine import Item, Result
from curation.core.errors import RunError
from curation.core.limits import Limits, hold
from curation.core.operator import Operator
from curation.engines.sql import DuckSession

_AHEAD = 2
"""Items handed out for each worker beyond what it is doing."""

_PR_SET_PDEATHSIG = 1


_PRELOADED = ("pandas",)
"""Loaded once beside the first task's own module; pyarrow imports it to make an array of a list."""


_ending: list[Connection] = []
"""Of a worker: at its end when no more items are to be begun; none after one that failed."""


def _worker_start(limits: Limits, ending: Connection) -> None:
    """A worker leaves interrupts to the engine's process, and ends with it even when it is killed.

    Linux ends it with its parent, the fork server; but that stays while its workers hold its pipe,
    so each also watches the engine's process.
    """
    hold(limits)
    _ending[:] = [ending]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    engine = multiprocessing.parent_process()
    if engine is not None:
        threading.Thread(target=_end_with, args=(engine.sentinel,), daemon=True).start()


def _unless_ending(task: Callable[..., Any], *given: Any) -> Any:
    """The task, unless one has failed: what a pool has queued cannot be taken back.

    A server that was waited for in vain would be waited for again.
    """
    if not _ending or _ending[0].poll():
        raise CancelledError
    try:
        return task(*given)
    except Exception:
        _ending.clear()
        raise


def _start_server() -> None:
    """Starts what forks workers deaf to interrupts: a terminal's Ctrl-C reaches every process."""
    multiprocessing.resource_tracker.ensure_running()  # here, for it takes the block off
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _interrupts_after() -> Iterator[None]:
    """Puts an interrupt, or SIGTERM, off to the end of the block."""
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    found = {number: signal.getsignal(number) for number in numbers}
    before = {number: do for number, do in found.items() if callable(do)}
    if not before or threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[tuple[int, FrameType | None]] = []
    for number in before:
        signal.signal(number, lambda *given: told.append(given))
    try:
        yield
    finally:
        for number, do in before.items():
            signal.signal(number, do)
        for number, frame in told[:1]:
            before[number](number, frame)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def default_memory() -> str:
    """A quarter of this machine's memory, between 1 and 6 GB, for relational steps."""
    total = int(psutil.virtual_memory().total)
    return f"{max(1, min(6, total // 4 >> 30))}GB"


@dataclass
class LocalEngine:
    """Runs tasks in `workers` processes; 0 runs them here, for debugging."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory: str = field(default_factory=default_memory)
    """What DuckDB may hold before it spills."""
    scratch: Path | None = None
    """Folder for spilled tables; the system's temporary folder by default."""
    limits: Limits = field(default_factory=Limits)
    """What one record may cost."""
    _pool: ProcessPoolExecutor | None = None
    _ending: Connection | None = None
    """Closed to tell workers of the pool that they are to begin no more."""
    _threads: int = 0
    """That tasks of the pool compute with; 0 where they hold no model."""

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._kill()
        self.close()

    def close(self) -> None:
        """Ends the workers, each when it has done its item."""
        if self._ending is not None:
            self._ending.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _kill(self) -> None:
        """Ends the workers whatever they do, which may be to wait for a server for minutes.

        What they have written counts as after any other end: files appear whole or not at all.
        """
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()

    def _workers(self, task: Callable[..., Any]) -> ProcessPoolExecutor:
        if self._pool is None:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers share the cores already
            # A server of one thread that has loaded the libraries forks workers in milliseconds.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([task.__module__, *_PRELOADED])
            _start_server()
            told, self._ending = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self._processes,
                context,
                _worker_start,
                (self.limits.shared(self._processes), told),
            )
        return self._pool

    def _submit(self, task: Callable[..., Result], *given: Any) -> Future[Result]:
        """Hands a call out. Raises BrokenProcessPool where a worker has died before."""
        with _interrupts_after():  # a worker of which only half is known could not be ended
            return self._workers(task).submit(_unless_ending, task, *given)

    @property
    def _processes(self) -> int:
        return max(1, self.workers // max(1, self._threads))

    def at(self, stage: str) -> "LocalEngine":
        """One engine for all stages."""
        return self

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: Callable[[Item, Callable[..., bool]], Item] | None = None,
        threads: int = 0,
        operator: Operator | None = None,
    ) -> Iterator[Result]:
        """Results of `task` in the order they are ready; items are taken as workers get free.

        A task that computes with `threads` threads of its own runs in as many processes as that
        leaves room for among `workers`. Tasks that hold models (`threads` above 0) have a pool to
        themselves: the one before is ended, and its memory free.

        Where a worker dies, the items in flight are run again one by one. `on_crash(item,
        survives)` then gives a milder item for the one that kills: `survives(function, *args)`
        tells whether a call leaves its worker alive. Without it RunError is raised.
        """
        if self.workers == 0:
            yield from map(task, items)
            return
        if threads != self._threads:
            self.close()
            self._threads = threads
        todo = iter(items)
        suspects: deque[Item] = deque()
        flying: dict[Future[Result], Item] = {}
        while True:
            try:
                while not suspects and len(flying) < self._processes * (1 + _AHEAD):
                    item = next(todo, _END)
                    if item is _END:
                        break
                    try:
                        flying[self._submit(task, item)] = item
                    except BrokenProcessPool:  # one died since: the item is nobody's yet
                        suspects.append(item)
                        raise
                if not flying:
                    if not suspects:
                        return
                    yield self._alone(task, suspects.popleft(), on_crash)
                    continue
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in [ready for ready in flying if ready in done]:  # as handed out
                    result = future.result()
                    del flying[future]
                    yield result
            except BrokenProcessPool:
                suspects.extend(flying.values())
                flying.clear()
                self.close()
            except Exception:
                self.close()  # the worker of a task that failed begins no more
                raise

    def _alone(
        self,
        task: Callable[[Item], Result],
        item: Item,
        on_crash: Callable[[Item, Callable[..., bool]], Item] | None,
    ) -> Result:
        try:
            return self._submit(task, item).result()
        except BrokenProcessPool as error:
            self.close()
            if on_crash is None:
                raise RunError(
                    f"a worker died (crash, or killed for memory) on {item}; "
                    "run again with fewer --workers or smaller shards"
                ) from error
        milder = on_crash(item, self._survives)
        return self._submit(task, milder).result()

    def _survives(self, function: Callable[..., Any], *args: Any) -> bool:
        try:
            self._submit(function, *args).result()
        except BrokenProcessPool:
            self.close()
            return False
        return True

    @contextlib.contextmanager
    def session(self) -> Iterator[DuckSession]:
        """A scratch database for one relational step."""
        folder = self._temporary()
        session = DuckSession(folder, threads=max(1, self.workers), memory=self.memory)
        try:
            yield session
        finally:
            session.close()
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A scratch folder, for what workers hand to a relational step."""
        folder = self._temporary()
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _temporary(self) -> Path:
        if self.scratch is not None:
            try:
                self.scratch.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"{self.scratch}: {error.strerror}") from error
        return Path(tempfile.mkdtemp(prefix="curation-", dir=self.scratch))


_END: Any = object()
