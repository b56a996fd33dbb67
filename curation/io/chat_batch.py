"""Works through many questions: prepared in threads as servers get free, equal ones asked once."""

import asyncio
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from curation.io.chat_client import ChatClient, ChatConnection, ChatRequest, Outcome

_ANSWERS = 8192
"""Answers that are remembered, so that twins in a shard, and rows tried twice, are asked once."""

_HELD = 16 << 20
"""Characters of all of them."""

_AHEAD = 8
"""Rows that are ready beyond those that servers may have in flight."""

Named = tuple[ChatRequest, bytes]
"""A request, and its name: requests of one name have one answer."""

Prepare = Callable[[int], list[Named]]
"""The requests of a row, in order; called in a thread."""

Fault = TypeVar("Fault", bound=Exception)


class ChatBatch:
    """Asks of one client; what it has learnt and what was answered outlive a batch of rows."""

    def __init__(self, client: ChatClient, threads: int) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(threads)
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()
        self._held = 0

    def outcomes(
        self, rows: list[int], prepare: Prepare, fault: type[Fault]
    ) -> dict[int, list[Outcome] | Fault]:
        """What became of each row's requests, or the `fault` that preparing it raised.

        A row's requests are asked one after the other, and none after the first without an
        answer. Memory is bounded by the requests that servers may have in flight, and a few more.
        """
        found: dict[int, list[Outcome] | Fault] = {}
        if rows:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's; its threads share them
                asyncio.run(self._all(rows, prepare, fault, found))
        return found

    async def _all(
        self,
        rows: list[int],
        prepare: Prepare,
        fault: type[Fault],
        found: dict[int, list[Outcome] | Fault],
    ) -> None:
        todo = iter(rows)
        flying: dict[bytes, asyncio.Future[Outcome]] = {}
        most = sum(server.most for server in self._client.servers) + _AHEAD
        async with self._client.connected() as connection:

            async def some(todo: Iterator[int]) -> None:
                """Takes one row after the other for as long as there are any."""
                for row in todo:
                    try:
                        requests = await asyncio.get_running_loop().run_in_executor(
                            self._pool, prepare, row
                        )
                    except fault as error:
                        found[row] = error
                        continue
                    found[row] = await self._each(connection, requests, flying)

            tasks = [asyncio.create_task(some(todo)) for _ in range(min(most, len(rows)))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _each(
        self,
        connection: ChatConnection,
        requests: list[Named],
        flying: dict[bytes, asyncio.Future[Outcome]],
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for request, name in requests:
            outcomes.append(await self._once(connection, request, name, flying))
            if outcomes[-1].error is not None:
                break
        return outcomes

    async def _once(
        self,
        connection: ChatConnection,
        request: ChatRequest,
        name: bytes,
        flying: dict[bytes, asyncio.Future[Outcome]],
    ) -> Outcome:
        """The outcome of a request that may be under way, or known, already."""
        if name in self._known:
            self._known.move_to_end(name)
            return self._known[name]
        if name in flying:
            return await asyncio.shield(flying[name])
        mine = flying[name] = asyncio.get_running_loop().create_future()
        try:
            outcome = await connection.ask(request)
        except BaseException as error:
            mine.cancel()  # who waits for it ends with this batch
            raise error
        mine.set_result(outcome)
        if outcome.error is None:
            self._known[name] = outcome
            self._held += len(outcome.text or "")
            while len(self._known) > _ANSWERS or self._held > _HELD:
                _, oldest = self._known.popitem(last=False)
                self._held -= len(oldest.text or "")
        return outcome
