"""How `recaption` works through a batch: rows are prepared as servers get free to take them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation.core.operator import append
from curation.io.chat_answer import BadAnswerError, named_string, string_schema
from curation.io.chat_batch import ChatBatch
from curation.io.chat_client import ChatClient, ChatRequest, Outcome
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

_NOTHING = Outcome()
"""Of a row that was not asked about."""


class Recaptioner:
    """The operator's function for batches."""

    def __init__(self, operator: "Recaption", template: Template) -> None:
        self._operator, self._template = operator, template
        client = ChatClient(operator.settings, operator.model, key())
        self._asking = ChatBatch(client, operator.decoders)
        self._floor = Floor.parse(operator.floor)
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
        found = self._asking.outcomes(rows, lambda row: self._prepared(batch, row), ImageError)
        outcomes: list[Outcome] = [_NOTHING] * batch.num_rows
        for row, said in found.items():
            outcomes[row] = Outcome(error=said.code) if isinstance(said, ImageError) else said[0]
        return append(batch, self._operator.provides, self._columns(outcomes, under.tolist()))

    def _askable(self, batch: pa.RecordBatch) -> Any:
        """Rows that have what the prompt cannot do without."""
        there = np.ones(batch.num_rows, bool)
        if self._template.image:
            return there & batch["image"].is_valid().to_numpy(zero_copy_only=False)
        for column in self._operator.columns.values():
            there &= batch[column].is_valid().to_numpy(zero_copy_only=False)
        return there

    def _prepared(self, batch: pa.RecordBatch, row: int) -> list[tuple[ChatRequest, bytes]]:
        """The one request of a row; in a thread. Raises ImageError."""
        operator = self._operator
        values = {name: batch[column][row].as_py() for name, column in operator.columns.items()}
        jpeg = None
        if self._template.image:
            image = batch["image"][row].as_buffer().to_pybytes()
            jpeg = picture(image, operator.max_pixels, operator.image_side)
        asked = payload(self._template, values, operator.max_chars, jpeg, self._sampling)
        request = ChatRequest(payload=asked, response_format=self._format, read=self._read)
        return [(request, request_name(request.body(guided=True)))]

    def _read(self, text: str) -> str:
        if self._template.output != "text":
            text = named_string(text, self._template.output)
        caption = tidy(text)
        if not caption:
            raise BadAnswerError("the answer is empty")
        return caption

    def _columns(
        self, found: list[Outcome], skipped: list[bool]
    ) -> dict[str, list[object] | pa.Array]:
        asked = [outcome.attempts > 0 for outcome in found]
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
