"""One run on several engines: CPU stages on Spark, say, and model stages on Ray.

The corpus is all that they hand to each other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from curation.core.engine import Engine, Item, Result, StepSession
from curation.core.operator import Operator


class Closable(Engine, Protocol):
    """An engine that holds processes or a connection."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets them go; at once where an interrupt ends the run."""

    def close(self) -> None:
        """Lets them go."""


class MixedEngine:
    """The run's own engine, and others for the stages that are placed on them.

    An engine is started when its first stage is.
    """

    def __init__(
        self, own: str, stages: Mapping[str, str], start: Callable[[str], Closable]
    ) -> None:
        """`own` names the run's engine, `stages` that of each stage that has another."""
        self._own, self._stages, self._start = own, dict(stages), start
        self._running: dict[str, Closable] = {}

    def __enter__(self) -> "MixedEngine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._running:
            _, engine = self._running.popitem()
            engine.__exit__(kind, error, trace)

    def close(self) -> None:
        """Ends every engine that was started."""
        while self._running:
            _, engine = self._running.popitem()
            engine.close()

    def begin(self, name: str) -> None:
        """Starts an engine now: what it lacks is said before other stages take their hours."""
        try:
            self._named(name)
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        return self._named(self._own).workers

    def at(self, stage: str) -> Engine:
        return self._named(self._stages.get(stage, self._own)).at(stage)

    def _named(self, name: str) -> Closable:
        if name not in self._running:
            self._running[name] = self._start(name)
        return self._running[name]

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_crash: Callable[[Item, Callable[..., bool]], Item] | None = None,
        threads: int = 0,
        operator: Operator | None = None,
    ) -> Iterator[Result]:
        own = self._named(self._own)
        return own.map(task, items, on_crash=on_crash, threads=threads, operator=operator)

    def session(self) -> AbstractContextManager[StepSession]:
        return self._named(self._own).session()

    def folder(self) -> AbstractContextManager[str]:
        return self._named(self._own).folder()
