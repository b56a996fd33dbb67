"""How `claim_check` works through a batch: a picture is encoded once, each sentence a request."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation.core.operator import append
from curation.io.chat_answer import word_probability
from curation.io.chat_batch import ChatBatch, Named
from curation.io.chat_client import ChatClient, ChatRequest, Outcome
from curation.io.chat_settings import key
from curation.io.image_header import ImageError
from curation.operators.vision_language.claim_check_columns import (
    NO,
    YES,
    Spans,
    claim,
    columns,
    spans,
)
from curation.operators.vision_language.recaption_request import (
    Sampling,
    payload,
    picture,
    request_name,
)
from recaption_prompts import Template

if TYPE_CHECKING:
    from curation.operators.vision_language.claim_check import ClaimCheck


class ClaimChecker:
    """The operator's function for batches."""

    def __init__(self, operator: "ClaimCheck", template: Template) -> None:
        self._operator, self._template = operator, template
        client = ChatClient(operator.settings, operator.model, key())
        self._asking = ChatBatch(client, operator.decoders)
        self._sampling = Sampling(
            model=operator.model, temperature=0.0, seed=0, max_tokens=operator.max_tokens
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        asked = spans(batch, self._operator.max_sentences)
        captions = batch["recaption"].to_pylist()

        def prepared(row: int) -> list[Named]:
            image = batch["image"][row].as_buffer().to_pybytes()
            return self._requests(image, captions[row], asked[row])

        found = self._asking.outcomes(list(asked), prepared, ImageError)
        checked: dict[int, list[Any] | str] = {}
        tries: dict[int, int] = {}
        for row, said in found.items():
            if isinstance(said, ImageError):
                checked[row] = said.code
                continue
            tries[row] = sum(outcome.attempts for outcome in said)
            error = next((outcome.error for outcome in said if outcome.error), None)
            checked[row] = error or _claims(asked[row], said)
        made = columns(batch.num_rows, checked, tries)
        return append(batch, self._operator.provides, made)

    def _requests(self, image: bytes, caption: str, spans: Spans) -> list[Named]:
        """A request a sentence; in a thread. Raises ImageError."""
        operator = self._operator
        jpeg = picture(image, operator.max_pixels, operator.image_side)
        made: list[Named] = []
        for start, end in spans:
            values = {"caption": caption[start:end]}
            asked = payload(self._template, values, operator.max_chars, jpeg, self._sampling)
            request = ChatRequest(
                payload=asked, response_format=None, read=str, rivals=operator.rivals
            )
            made.append((request, request_name(request.body(guided=True))))
        return made


def _claims(asked: Spans, outcomes: list[Outcome]) -> list[dict[str, Any]]:
    return [
        claim(span, word_probability(outcome.first, YES), word_probability(outcome.first, NO))
        for span, outcome in zip(asked, outcomes, strict=True)
    ]
