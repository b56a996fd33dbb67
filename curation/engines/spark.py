"""Runs tasks and relational steps on a Spark cluster: operators by mapInArrow, steps in Spark SQL.

Executors read and write the corpus themselves; the driver sees small results only. Every node must
reach the corpus, its scratch folder and the files that operators read.
"""

import contextlib
import itertools
import os
import pickle
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

from curation.core.engine import Item, Result
from curation.core.errors import RunError, UsageError
from curation.core.limits import Limits
from curation.core.operator import Operator
from curation.engines.isolated import Isolated, unwrapped
from curation.engines.reach import unreachable
from curation.engines.spark_failures import spark_failures
from curation.engines.spark_preamble import without_preamble
from curation.engines.spark_session import (
    SparkStepSession,
    answer,
    settle_worker,
)
from curation.io.store import Store

_CHUNK = 4
"""Tasks of a chunk for each that runs at one time."""
_CHUNKS_AT_ONCE = 2
"""While the last tasks of one chunk run, those of the next take the free cores."""

_DEFAULTS = {
    "spark.app.name": "curation",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.python.worker.reuse": "true",
    "spark.task.maxFailures": "8",  # lost executors count; what a row kills is no Spark task
}
"""Settings that stand where the user's own say nothing."""


@dataclass
class SparkEngine:
    """Runs tasks and steps on executors of a Spark cluster."""

    scratch: str
    """Folder or URL that every node reaches, for what tasks and steps hand to each other."""
    master: str | None = None
    """Of the cluster; null: what spark-submit or Spark's own settings say, else all cores here."""
    conf: Mapping[str, str] = field(default_factory=dict)
    """Further settings of Spark, before those of spark-submit."""
    limits: Limits = field(default_factory=Limits)
    """What one record may cost."""
    _running: SparkSession | None = None
    _mine: bool = False

    def __enter__(self) -> "SparkEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the Spark application, where this engine began it."""
        if self._running is not None and self._mine:
            with contextlib.suppress(Py4JError, OSError):  # the cluster or its driver may be gone
                self._running.stop()
        self._running = None

    @property
    def spark(self) -> SparkSession:
        """The Spark session, begun when it is first asked for."""
        if self._running is None:
            self._mine = SparkContext._active_spark_context is None
            with spark_failures():
                self._running = _begin(self.master, self.conf)
        return self._running

    @property
    def workers(self) -> int:
        """Cores of the executors there are now."""
        return max(1, int(self.spark.sparkContext.defaultParallelism))

    def at(self, stage: str) -> "SparkEngine":
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
        """Results of `task` in the order in which chunks of them are ready.

        Each item is one Spark task, which runs in a child of a Python worker (`Isolated`): what
        kills that, hangs or takes too much memory is found as on one machine. A task that computes
        with `threads` threads has as many cores. Executors that are lost are Spark's to replace.
        """
        work = Isolated(task, on_crash, self.limits)
        todo = iter(items)
        group = f"curation-{uuid.uuid4().hex}"
        flying: set[Future[list[bytes]]] = set()
        with ThreadPoolExecutor(_CHUNKS_AT_ONCE) as pool:
            try:
                while True:
                    while len(flying) < _CHUNKS_AT_ONCE:
                        width = _Width.of(self.spark, self.workers, threads)
                        chunk = list(itertools.islice(todo, width.items))
                        if not chunk:
                            break
                        sent = [pickle.dumps(item) for item in chunk]
                        flying.add(pool.submit(self._chunk, work, sent, width, group))
                    if not flying:
                        return
                    done, flying = wait(flying, return_when=FIRST_COMPLETED)
                    for future in done:
                        for outcome in future.result():
                            yield unwrapped(unwrapped(outcome))
            finally:
                if flying:  # the caller gave up, or a chunk failed
                    with contextlib.suppress(Py4JError, OSError):
                        self.spark.sparkContext.cancelJobGroup(group)

    def _chunk(
        self, work: Isolated[Item, Result], items: list[bytes], width: "_Width", group: str
    ) -> list[bytes]:
        """Outcomes of some items, at most `width.tasks` of them at one time."""
        spark = self.spark

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            settle_worker()
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    outcome = answer(work, items[number])
                    yield pa.record_batch({"outcome": pa.array([outcome], pa.binary())})

        with spark_failures():
            spark.sparkContext.setJobGroup(group, "shards", interruptOnCancel=False)
            numbers = spark.range(0, len(items), 1, min(len(items), width.tasks))
            made = numbers.mapInArrow(run, "outcome binary", profile=width.profile).toArrow()
        outcomes: list[bytes] = made["outcome"].to_pylist()
        if len(outcomes) != len(items):
            raise RunError(f"Spark gave {len(outcomes)} results of {len(items)} tasks")
        return outcomes

    @contextlib.contextmanager
    def session(self) -> Iterator[SparkStepSession]:
        """Tables of one relational step, in the scratch folder."""
        with self.folder() as folder:
            yield SparkStepSession(self.spark, folder, workers=self.workers, conf=self.conf)

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A scratch folder that all nodes reach."""
        if not self.scratch:
            if not _is_local(self.spark):
                raise UsageError("a Spark cluster needs a scratch folder that all nodes reach")
            with tempfile.TemporaryDirectory(prefix="curation-") as name:
                yield name
            return
        name = f"spark-{uuid.uuid4().hex}"
        try:
            yield f"{self.scratch.rstrip('/')}/{name}"
        finally:
            Store(self.scratch).remove(name)


@dataclass(frozen=True)
class _Width:
    """How a chunk is spread."""

    items: int
    tasks: int
    profile: ResourceProfile | None

    @staticmethod
    def of(spark: SparkSession, workers: int, threads: int) -> "_Width":
        """On a cluster a task with threads reserves cores; in one process fewer tasks run."""
        context = spark.sparkContext
        if threads <= 1:
            return _Width(workers * _CHUNK, workers * _CHUNK, None)
        if _is_local(spark):
            tasks = max(1, workers // threads // _CHUNKS_AT_ONCE)
            return _Width(tasks * _CHUNK, tasks, None)
        executors = int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # less the driver
        cores = min(threads, max(1, workers // max(1, executors)))
        request = TaskResourceRequests().cpus(cores)
        profile = ResourceProfileBuilder().require(request).build if cores > 1 else None
        many = max(1, workers // cores) * _CHUNK
        return _Width(many, many, profile)


def _is_local(spark: SparkSession) -> bool:
    """Whether there is no cluster: tasks run in this process."""
    return str(spark.sparkContext.master).startswith("local")


def _check(master: str) -> None:
    """Raises UsageError for what is no master, RunError where no standalone one answers."""
    if not master.startswith(("local", "spark://", "yarn", "k8s://")):
        raise UsageError(
            f"Spark master {master!r}: name spark://HOST:7077, yarn, k8s://URL or local[CORES]"
        )
    silent = unreachable(master.removeprefix("spark://")) if "spark://" in master else ""
    if silent:
        raise RunError(f"no Spark master at {master}: {silent}")


def _begin(master: str | None, conf: Mapping[str, str]) -> SparkSession:
    """A Spark session with our settings where nobody has said otherwise."""
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    first = SparkConf(loadDefaults=False)
    for name, value in {"spark.ui.showConsoleProgress": "false", **conf}.items():
        first.set(name, value)  # what a JVM is started with, as its memory
    with without_preamble():
        SparkContext._ensure_initialized(conf=first)
    given = SparkConf()
    address = master or given.get("spark.master", None)
    if address is None:
        address = f"local[*,{_DEFAULTS['spark.task.maxFailures']}]"
    _check(address)
    own = {**_DEFAULTS, "spark.master": address}
    if address.startswith("local"):
        own["spark.ui.enabled"] = "false"
    builder = SparkSession.builder
    for name, value in own.items():
        if name == "spark.master" or not given.contains(name):
            builder = builder.config(name, value)
    for name, value in conf.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel(_DEFAULTS["spark.log.level"])
    return spark
