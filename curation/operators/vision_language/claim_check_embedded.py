"""How `claim_check` works without a server: the small model that ships, computed in this worker."""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.core.operator import append
from curation.io.image_header import ImageError
from curation.models.captioner import DEMO_CAPTIONER, Captioner, Frame, LongRequestError
from curation.models.clip import computing
from curation.operators.vision_language.claim_check_columns import (
    NO,
    YES,
    Spans,
    claim,
    columns,
    spans,
)
from curation.operators.vision_language.recaption_request import picture
from recaption_prompts import Template

if TYPE_CHECKING:
    from curation.operators.vision_language.claim_check import ClaimCheck


class EmbeddedChecker:
    """The operator's function for batches; each sentence is computed by itself."""

    def __init__(
        self, operator: "ClaimCheck", template: Template, folder: Path = DEMO_CAPTIONER
    ) -> None:
        self._operator, self._template = operator, template
        self._captioner = Captioner(folder)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        asked = spans(batch, self._operator.max_sentences)
        captions = batch["recaption"].to_pylist()
        checked: dict[int, list[Any] | str] = {}
        with warnings.catch_warnings(), computing(1):
            warnings.simplefilter("ignore")  # Pillow's
            for row, mine in asked.items():
                image = batch["image"][row].as_buffer().to_pybytes()
                try:
                    checked[row] = self._claims(image, captions[row], mine)
                except ImageError as fault:
                    checked[row] = fault.code
                except LongRequestError:
                    checked[row] = "too_large"
        tries = {row: len(said) for row, said in checked.items() if isinstance(said, list)}
        made = columns(batch.num_rows, checked, tries)
        return append(batch, self._operator.provides, made)

    def _claims(self, image: bytes, caption: str, asked: Spans) -> list[dict[str, Any]]:
        """Of the very picture that a server would be sent. Raises ImageError, LongRequestError."""
        operator = self._operator
        jpeg = picture(image, operator.max_pixels, operator.image_side)
        with Image.open(io.BytesIO(jpeg)) as opened:
            frame: Frame = np.asarray(opened.convert("RGB"))
        found = []
        for start, end in asked:
            values = {"caption": caption[start:end]}
            try:
                request = self._captioner.request(self._template, values, operator.max_chars, frame)
            except ValueError as error:  # sides that differ more than 200 times
                raise ImageError("corrupt_image") from error
            yes, no = self._captioner.chances(request, (YES, NO))
            found.append(claim((start, end), yes, no))
        return found
