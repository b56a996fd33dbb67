"""The engine contract: what runs tasks over shards, and relational steps over the corpus.

Pipelines are written against it alone. An engine decides where and in which order work is done,
never what comes of it: every file that a task or a step commits has the same bytes on all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import pyarrow as pa

from curation.core.operator import Operator
from curation.core.step import Session

Item = TypeVar("Item")
Result = TypeVar("Result")


class Numbered(Protocol):
    """A shard, by its number."""

    @property
    def shard(self) -> int: ...


Shard = TypeVar("Shard", bound=Numbered)


class StepSession(Session, Protocol):
    """A session with what the pipeline needs of it beside the steps."""

    def read_files(self, view: str, files: list[str]) -> None:
        """Makes a view over Parquet files of the engine's scratch folder."""

    def stream(self, query: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The result of a query in its order, a batch at a time; never whole in memory."""

    def each(
        self,
        query: str,
        schema: pa.Schema,
        shards: Sequence[Shard],
        task: Callable[[Shard, pa.Table], Result],
    ) -> Iterator[Result]:
        """Runs `task` once for each of `shards`, with the rows of `query` that have its number.

        `query` gives `schema`, which begins with int32 shard and row. A shard's rows come sorted
        by row; a shard without any gets an empty table. Results come in any order and are small:
        what is large, `task` commits itself, wherever it runs.
        """


class Engine(Protocol):
    """Runs tasks and steps."""

    @property
    def workers(self) -> int:
        """Tasks that run at one time; 0 where they run in this process."""

    def at(self, stage: str) -> "Engine":
        """The engine of one operator or stage, where a run mixes several; else this one."""

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: Callable[[Item, Callable[..., bool]], Item] | None = None,
        threads: int = 0,
        operator: Operator | None = None,
    ) -> Iterator[Result]:
        """Results of `task` in the order they are ready.

        Task, items and results can be pickled; results are small. A task computes with `threads`
        threads of its own. `operator` is the model operator that it runs, where it runs one: an
        engine may know how to place that on accelerators.

        Where an item kills the process that runs it, `on_crash(item, survives)` gives a milder
        one: `survives(function, *args)` tells whether a call leaves its process alive. Without it
        RunError is raised.
        """

    def session(self) -> AbstractContextManager[StepSession]:
        """Tables for one relational step."""

    def folder(self) -> AbstractContextManager[str]:
        """A scratch folder (path or URL) that tasks and sessions of this engine both reach."""
