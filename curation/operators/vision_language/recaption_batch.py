"""How `recaption` works through a batch: rows are prepared as servers get free to take them."""

import asyncio
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation.core.operator import append
from curation.io.chat_answer import BadAnswerError, named_string, string_schema
from curation.io.chat_client import ChatClient, ChatConnection, ChatRequest, Outcome
from curation.io.chat_settings import key
from curation.io.image_header import ImageError
from curation.operators.vision_language.clip_scorer import Floor
from curation.operators.vision_language.recaption_request import (
    Sampling,
    payload,
    picture,
    request_name,
    tidy,
)
from recaption_prompts import Template

if TYPE_CHECKING:
    from curation.operators.vision_language.recaption import Recaption

_ANSWERS = 8192
"""Answers that are remembered, so that twins in a shard, and rows tried twice, are asked once."""

_AHEAD = 8
"""Requests that are ready beyond those that servers may have in flight."""

_NOTHING = Outcome()
"""Of a row that was not asked about."""


class Recaptioner:
    """The operator's function for batches."""

    def __init__(self, operator: "Recaption", template: Template) -> None:
        self._operator, self._template = operator, template
        self._client = ChatClient(operator.settings, operator.model, key())
        self._floor = Floor.parse(operator.floor)
        self._pool = ThreadPoolExecutor(operator.decoders)
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()
        self._sampling = Sampling(
            model=operator.model,
            temperature=operator.temperature,
            seed=operator.seed,
            max_tokens=operator.max_tokens,
        )
        plain = template.output == "text"
        self._format = None if plain or not operator.guided else string_schema(template.output)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        under = self._floor.under(batch)
        rows = np.flatnonzero(~under & self._askable(batch)).tolist()
        outcomes: list[Outcome | None] = [None] * batch.num_rows
        if rows:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's; its threads share them
                asyncio.run(self._all(batch, rows, outcomes))
        return append(batch, self._operator.provides, self._columns(outcomes, under.tolist()))

    def _askable(self, batch: pa.RecordBatch) -> Any:
        """Rows that have what the prompt cannot do without."""
        there = np.ones(batch.num_rows, bool)
        if self._template.image:
            return there & batch["image"].is_valid().to_numpy(zero_copy_only=False)
        for column in self._operator.columns.values():
            there &= batch[column].is_valid().to_numpy(zero_copy_only=False)
        return there

    async def _all(
        self, batch: pa.RecordBatch, rows: list[int], outcomes: list[Outcome | None]
    ) -> None:
        todo = iter(rows)
        flying: dict[bytes, asyncio.Future[Outcome]] = {}
        most = sum(server.most for server in self._client.servers) + _AHEAD
        async with self._client.connected() as connection:
            tasks = [
                asyncio.create_task(self._some(batch, todo, connection, flying, outcomes))
                for _ in range(min(most, len(rows)))
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _some(
        self,
        batch: pa.RecordBatch,
        todo: Iterator[int],
        connection: ChatConnection,
        flying: dict[bytes, asyncio.Future[Outcome]],
        outcomes: list[Outcome | None],
    ) -> None:
        """Takes one row after the other for as long as there are any."""
        loop = asyncio.get_running_loop()
        for row in todo:
            values = {name: batch[column][row].as_py() for name, column in self._columns_read}
            image = batch["image"][row].as_buffer() if self._template.image else None
            try:
                request, name = await loop.run_in_executor(
                    self._pool, self._prepared, values, image
                )
            except ImageError as fault:
                outcomes[row] = Outcome(error=fault.code)
                continue
            outcomes[row] = await self._once(connection, request, name, flying)

    @property
    def _columns_read(self) -> list[tuple[str, str]]:
        return list(self._operator.columns.items())

    def _prepared(
        self, values: Mapping[str, str | None], image: pa.Buffer | None
    ) -> tuple[ChatRequest, bytes]:
        """In a thread of the pool. Raises ImageError."""
        operator = self._operator
        jpeg = None
        if image is not None:
            jpeg = picture(image.to_pybytes(), operator.max_pixels, operator.image_side)
        asked = payload(self._template, values, operator.max_chars, jpeg, self._sampling)
        request = ChatRequest(payload=asked, response_format=self._format, read=self._read)
        return request, request_name(request.body(guided=True))

    def _read(self, text: str) -> str:
        if self._template.output != "text":
            text = named_string(text, self._template.output)
        caption = tidy(text)
        if not caption:
            raise BadAnswerError("the answer is empty")
        return caption

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
            if len(self._known) > _ANSWERS:
                self._known.popitem(last=False)
        return outcome

    def _columns(
        self, outcomes: list[Outcome | None], skipped: list[bool]
    ) -> dict[str, list[object] | pa.Array]:
        asked = [outcome is not None and outcome.attempts > 0 for outcome in outcomes]
        found = [outcome or _NOTHING for outcome in outcomes]
        told = f"{self._template.name}@{self._template.version}:{self._operator.prompt.sha256[:16]}"
        return {
            "recaption": [outcome.text for outcome in found],
            "recaption_prompt": [told if there else None for there in asked],
            "recaption_finish": [outcome.finish for outcome in found],
            "recaption_tokens_in": [outcome.tokens_in for outcome in found],
            "recaption_tokens_out": [outcome.tokens_out for outcome in found],
            "recaption_attempts": [
                outcome.attempts if there else None
                for outcome, there in zip(found, asked, strict=True)
            ],
            "recaption_skipped": skipped,
            "error": [outcome.error for outcome in found],
        }
