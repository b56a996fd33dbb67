"""Streams a task in two halves through Ray Data: readers on CPUs, a pool of actors with the model.

Pieces of an item travel as Arrow bytes, a few at a time: a reader waits while the actors have
enough. An actor writes the rows of some pieces as a part file in scratch space, and tells the
driver no more than its name; when all parts of an item are there, a task commits them.
"""

import logging
import os
import pickle
import queue
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
import pyarrow as pa
import ray
import ray.data

from curation.core.engine import Item, Result
from curation.core.errors import CurationError
from curation.core.limits import DeadlineError, Limits, hold
from curation.core.streamed import StreamedTask
from curation.engines.isolated import stand_in, unwrapped
from curation.engines.ray_cluster import nodes, settings
from curation.io.store import Store

_log = logging.getLogger(__name__)

_PASSES = 2
"""Times that an item is streamed whose parts were lost with a worker, before it is run whole."""

_TRIES = 2
"""Of one read or batch whose worker died; what kills both is left to be run whole."""

_SENT = pa.schema(
    [
        ("item", pa.int64()),
        ("piece", pa.int64()),
        ("last", pa.bool_()),
        ("data", pa.large_binary()),
        ("outcome", pa.binary()),
        ("failed", pa.string()),
    ]
)
"""A piece in `data`; or the `outcome` of a whole item, pickled; or why reading it `failed`."""

_PART = pa.schema(
    [
        ("item", pa.int64()),
        ("piece", pa.int64()),
        ("pieces", pa.int64()),
        ("last", pa.bool_()),
        ("part", pa.string()),
        ("outcome", pa.binary()),
        ("failed", pa.string()),
    ]
)
"""Some pieces in a file `part`; or an `outcome`, or why the item `failed`."""


@dataclass(frozen=True)
class Pool:
    """The actors that hold a model, and what reads for them."""

    size: int
    gpus: float
    cores: float
    """Of an actor."""
    reading: float
    """Cores of a reader."""
    limits: Limits
    patience: float
    """Seconds without a result after which a stream that has lost a node is given up."""


def streamed(
    task: StreamedTask[Item, Result],
    items: list[Item],
    pool: Pool,
    folder: str,
    left: list[Item],
) -> Iterator[Result]:
    """Results in the order they are ready; items that have to be run whole are put into `left`."""
    waiting = dict(enumerate(items))
    failed: dict[int, Item] = {}
    for number in range(_PASSES):
        if waiting:
            once = _Pass(task, pool, f"{folder}/{number}", waiting, failed)
            yield from once.results()
            deadly = [n for n in waiting if not _tries(once.store, f"{n:09d}", new=False)]
            failed.update((number, waiting.pop(number)) for number in deadly)
    left.extend(item for _, item in sorted({**waiting, **failed}.items()))


@dataclass
class _Pass(Generic[Item, Result]):
    """One stream over items."""

    task: StreamedTask[Item, Result]
    pool: Pool
    folder: str
    waiting: dict[int, Item]
    """Items by number; taken out as they are done or failed."""
    failed: dict[int, Item]
    _parts: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _commits: dict[Any, int] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.folder)

    def results(self) -> Iterator[Result]:
        rows = _Rows(self._dataset(), self.pool.patience)
        try:
            for row in rows.read():
                if row is not None:
                    yield from self._taken(row)
                yield from self._committed(wait=False)
            yield from self._committed(wait=True)
        finally:
            rows.close()

    def _dataset(self) -> ray.data.Dataset:
        blocks = [
            pa.table({"number": [number], "item": pa.array([pickle.dumps(item)], pa.binary())})
            for number, item in self.waiting.items()
        ]
        pool, task, store = self.pool, self.task, self.store

        def read(batch: pa.Table) -> Iterator[pa.Table]:
            for row in batch.to_pylist():
                item = pickle.loads(row["item"])  # noqa: S301 - the driver's own
                if not _tries(store, f"{row['number']:09d}"):
                    raise RuntimeError(f"reading {item} killed {_TRIES} workers")
                yield from _read(task, row["number"], item, pool.limits)

        with ray.data.DataContext.current(settings(tolerant=True)):
            return (
                ray.data.from_arrow(blocks)
                .map_batches(
                    read,
                    batch_size=1,
                    batch_format="pyarrow",
                    num_cpus=pool.reading,
                )
                .map_batches(
                    _Model,
                    fn_constructor_args=(
                        task,
                        self.folder,
                        pool.limits,
                        bool(pool.gpus),
                        str(Path.cwd()),
                    ),
                    batch_size=None,
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(
                        size=pool.size,
                        # A CPU has no need of the next batch before its time: who is free takes it.
                        max_tasks_in_flight_per_actor=None if pool.gpus else 1,
                    ),
                    num_cpus=pool.cores,
                    num_gpus=pool.gpus or None,
                )
            )

    def _taken(self, row: dict[str, Any]) -> Iterator[Result]:
        """What one row of the stream brings to an end."""
        number = row["item"]
        item = self.waiting.get(number)
        if item is None:  # it has failed already
            return
        if row["outcome"] is not None:
            del self.waiting[number]
            yield unwrapped(row["outcome"])
            return
        if row["failed"] is not None:
            _log.info("%s is run whole: %s", item, row["failed"])
            self.failed[number] = self.waiting.pop(number)
            self._parts.pop(number, None)
            return
        parts = self._parts[number]
        parts.append(row)
        last = next((p["piece"] + p["pieces"] for p in parts if p["last"]), None)
        if last == sum(part["pieces"] for part in parts):
            parts.sort(key=lambda part: part["piece"])
            names = [part["part"] for part in self._parts.pop(number)]
            commit = ray.remote(_commit).options(
                num_cpus=0, max_retries=-1, scheduling_strategy="SPREAD"
            )
            self._commits[commit.remote(self.task, item, self.folder, names)] = number

    def _committed(self, *, wait: bool) -> Iterator[Result]:
        """Results of commits that are done, or of all."""
        while self._commits:
            count = 1 if wait else len(self._commits)
            done, _ = ray.wait(list(self._commits), num_returns=count, timeout=None if wait else 0)
            for ref in done:
                self.waiting.pop(self._commits.pop(ref))
                yield unwrapped(ray.get(ref))
            if not wait:
                return


def _tries(store: Store, name: str, *, new: bool = True) -> bool:
    """Whether one more try is due; a `new` one is noted where the next one sees it."""
    for number in range(_TRIES):
        noted = f"{name}.try{number}"
        if not store.exists(noted):
            if new:
                store.write(noted, b"")
            return True
    return False


def _read(
    task: StreamedTask[Any, Any], number: int, item: Any, limits: Limits
) -> Iterator[pa.Table]:
    """Rows of _SENT for one item, a table each."""
    hold(limits.shared(os.cpu_count() or 1))
    count = 0
    try:
        done = task.done(item)
        if done is not None:
            yield _sent(number, outcome=pickle.dumps((done, None)))
            return
        before: pa.RecordBatch | None = None
        for piece in task.prepared(item):
            if before is not None:
                yield _sent(number, count, data=before)
                count += 1
            before = piece
        if before is not None:
            yield _sent(number, count, data=before, last=True)
    except CurationError as error:
        yield _sent(number, outcome=pickle.dumps((None, error)))
    except (Exception, DeadlineError) as error:  # noqa: BLE001 - run whole, which tells the row
        yield _sent(number, failed=f"{type(error).__name__}: {error}")


def _sent(
    number: int,
    piece: int = 0,
    *,
    data: pa.RecordBatch | None = None,
    last: bool = False,
    outcome: bytes | None = None,
    failed: str | None = None,
) -> pa.Table:
    columns = [[number], [piece], [last], [None], [outcome], [failed]]
    arrays = [pa.array(values, f.type) for values, f in zip(columns, _SENT, strict=True)]
    if data is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as stream:
            stream.write_batch(data)
        told = sink.getvalue()
        ends = pa.py_buffer(np.array([0, told.size], np.int64))
        arrays[_SENT.get_field_index("data")] = pa.Array.from_buffers(
            pa.large_binary(), 1, [None, ends, told]
        )
    return pa.Table.from_arrays(arrays, schema=_SENT)


class _Model:
    """An actor: computes pieces with the model, which its task keeps open."""

    def __init__(
        self, task: StreamedTask[Any, Any], folder: str, limits: Limits, gpu: bool, given_in: str
    ) -> None:
        stand_in(given_in)
        self._task, self._store = task, Store(folder)
        shared = limits.shared(os.cpu_count() or 1)
        # CUDA maps more than it takes.
        hold(Limits(shared.deadline, 0) if gpu else shared)

    def __call__(self, batch: pa.Table) -> pa.Table:
        told: list[dict[str, Any]] = []
        pieces: dict[int, list[int]] = defaultdict(list)
        numbers = batch["item"].to_pylist()
        for at, number in enumerate(numbers):
            if batch["data"][at].is_valid:
                pieces[number].append(at)
            else:
                said = {name: batch[name][at].as_py() for name in ("outcome", "failed")}
                told.append({"item": number, **said})
        for number, places in pieces.items():
            told.append({"item": number, **self._part(batch, number, places)})
        return pa.Table.from_pylist(told, _PART)

    def _part(self, batch: pa.Table, number: int, places: list[int]) -> dict[str, Any]:
        first = batch["piece"][places[0]].as_py()
        name = f"{number:09d}-{first:06d}"
        try:
            if not _tries(self._store, name):
                return {"failed": f"it killed {_TRIES} workers"}
            given = [
                pa.ipc.open_stream(batch["data"][at].as_buffer()).read_next_batch() for at in places
            ]
            rows = pa.Table.from_batches(self._task.computed(given))
            with self._store.writer(name) as file, pa.ipc.new_stream(file, rows.schema) as stream:
                stream.write_table(rows)
        except CurationError as error:
            return {"outcome": pickle.dumps((None, error))}
        except Exception as error:  # noqa: BLE001 - the item is run whole, which tells the row
            return {"failed": f"{type(error).__name__}: {error}"}
        last = batch["last"][places[-1]].as_py()
        return {"piece": first, "pieces": len(places), "last": last, "part": name}


def _commit(task: StreamedTask[Any, Any], item: Any, folder: str, names: list[str]) -> bytes:
    """Puts the parts of an item together. The result or what was raised, pickled."""
    store = Store(folder)
    try:
        tables = []
        for name in names:
            with store.open(name) as file:
                tables.append(pa.ipc.open_stream(file).read_all())
        result = task.commit(item, pa.concat_tables(tables).combine_chunks())
        for name in names:
            store.remove(name)
    except Exception as error:  # noqa: BLE001 - raised again by `unwrapped`
        return pickle.dumps((None, error))
    return pickle.dumps((result, None))


class _Rows:
    """Rows of a dataset, read in a thread: Ray Data waits for ever for an actor that was on a node
    which is lost, where no other node has room for it."""

    def __init__(self, dataset: ray.data.Dataset, patience: float) -> None:
        self._dataset, self._patience = dataset, patience
        self._rows: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._given_up = False

    def read(self) -> Iterator[dict[str, Any] | None]:
        """Rows, and null where none came for a moment."""
        there, silent = nodes().keys(), 0.0
        self._thread.start()
        while True:
            try:
                row = self._rows.get(timeout=_MOMENT)
            except queue.Empty:
                silent += _MOMENT
                if silent >= self._patience and there - nodes().keys():
                    self.close()
                yield None
                continue
            silent = 0.0
            if isinstance(row, BaseException):
                if self._given_up:
                    return
                raise row
            if row is None:
                return
            yield row

    def close(self) -> None:
        """Ends the dataset's execution, with its actors."""
        executor = self._dataset._current_executor
        if self._thread.is_alive() and executor is not None:
            self._given_up = True
            executor.shutdown(force=True)  # nothing public ends one that another thread waits for

    def _run(self) -> None:
        try:
            batches: Iterable[Any] = self._dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            )
            for batch in batches:
                for row in batch.to_pylist():
                    self._rows.put(row)
        except BaseException as error:  # noqa: BLE001 - raised again by `read`
            self._rows.put(error)
        else:
            self._rows.put(None)


_MOMENT = 0.5
"""Seconds."""
