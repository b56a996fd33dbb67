"""Answers that are kept at hand, each made once however many ask for it at the same time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The lately used answers, as many as `room` allows."""

    def __init__(self, room: int, weight: Callable[[Value], int] = lambda _: 1) -> None:
        """`weight` says how much of `room` an answer takes; the last one always stays."""
        self._room, self._weight = room, weight
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, Lock] = {}
        self._lock = Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The answer to `key`; `make` is called where there is none, and may raise."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            gate = self._making.setdefault(key, Lock())
        with gate:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            try:
                made = make()
                with self._lock:
                    self._values[key] = made
                    while len(self._values) > 1 and self._taken() > self._room:
                        self._values.popitem(last=False)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return made

    def _taken(self) -> int:
        return sum(map(self._weight, self._values.values()))
