"""How `recaption` works without a server: the small model that ships, computed in this worker."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.core.operator import append
from curation.io.image_header import ImageError
from curation.models.captioner import (
    DEMO_CAPTIONER,
    Answer,
    Captioner,
    Frame,
    LongRequestError,
    Request,
)
from curation.models.clip import computing
from curation.operators.vision_language.clip_scorer import Floor
from curation.operators.vision_language.recaption_request import picture, tidy
from recaption_prompts import Template

if TYPE_CHECKING:
    from curation.operators.vision_language.recaption import Recaption

_WINDOW = 256
"""Rows that are decoded before they are answered, so that those of one length share a batch."""

Outcome = Answer | str | None
"""An answer, an error code, or nothing for a row that was not asked about."""


class EmbeddedRecaptioner:
    """The operator's function for batches."""

    def __init__(
        self, operator: "Recaption", template: Template, folder: Path = DEMO_CAPTIONER
    ) -> None:
        self._operator, self._template = operator, template
        self._floor = Floor.parse(operator.floor)
        self._captioner = Captioner(folder)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        under = self._floor.under(batch)
        there = ~under & batch["image"].is_valid().to_numpy(zero_copy_only=False)
        outcomes: list[Outcome] = [None] * batch.num_rows
        with warnings.catch_warnings(), computing(1):
            warnings.simplefilter("ignore")  # Pillow's
            for window in _windows(np.flatnonzero(there).tolist()):
                self._answer(batch, window, outcomes)
        return append(batch, self._operator.provides, self._columns(outcomes, under.tolist()))

    def _answer(self, batch: pa.RecordBatch, rows: list[int], outcomes: list[Outcome]) -> None:
        requests: dict[int, Request] = {}
        for row in rows:
            try:
                requests[row] = self.request(batch, row)
            except ImageError as fault:
                outcomes[row] = fault.code
            except LongRequestError:
                outcomes[row] = "too_large"
        answers = self._captioner.answers(list(requests.values()), self._operator.max_tokens)
        for row, answer in zip(requests, answers, strict=True):
            outcomes[row] = answer
            if not answer.whole:
                outcomes[row] = "cut_answer"
            elif not tidy(answer.text):
                outcomes[row] = "bad_answer"

    def request(self, batch: pa.RecordBatch, row: int) -> Request:
        """Of the very picture that a server would be sent.

        Raises ImageError, and LongRequestError for texts that leave `max_tokens` no room.
        """
        operator = self._operator
        data = batch["image"][row].as_buffer().to_pybytes()
        jpeg = picture(data, operator.max_pixels, operator.image_side)
        with Image.open(io.BytesIO(jpeg)) as opened:
            frame: Frame = np.asarray(opened.convert("RGB"))
        values = {name: batch[column][row].as_py() for name, column in operator.columns.items()}
        try:
            return self._captioner.request(
                self._template, values, operator.max_chars, frame, operator.max_tokens
            )
        except ValueError as error:  # sides that differ more than 200 times
            raise ImageError("corrupt_image") from error

    def _columns(
        self, outcomes: list[Outcome], skipped: list[bool]
    ) -> dict[str, list[object] | pa.Array]:
        told = f"{self._template.name}@{self._template.version}:{self._operator.prompt.sha256[:16]}"
        answers = [outcome if isinstance(outcome, Answer) else None for outcome in outcomes]
        errors = [outcome if isinstance(outcome, str) else None for outcome in outcomes]
        return {
            "recaption": [answer and tidy(answer.text) for answer in answers],
            "recaption_prompt": [answer and told for answer in answers],
            "recaption_finish": [answer and "stop" for answer in answers],
            "recaption_tokens_in": [answer and answer.tokens_in for answer in answers],
            "recaption_tokens_out": [answer and answer.tokens_out for answer in answers],
            "recaption_attempts": [answer and 1 for answer in answers],
            "recaption_skipped": skipped,
            "error": errors,
        }


def _windows(rows: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(rows), _WINDOW):
        yield rows[start : start + _WINDOW]
