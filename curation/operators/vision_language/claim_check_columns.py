"""What `claim_check` asks about a batch, and its columns, whoever answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.operators.text.caption_facts import LOOK
from curation.operators.text.facts_sentences import sentences

YES, NO = "yes", "no"

Spans = list[tuple[int, int]]
"""Characters of a caption's sentences, those that `caption_facts` looks at."""


def spans(batch: pa.RecordBatch, most: int) -> dict[int, Spans]:
    """Sentences of each row that has a new caption and an image, `most` of them."""
    there = pc.and_(batch["recaption"].is_valid(), batch["image"].is_valid())
    rows = np.flatnonzero(there.to_numpy(zero_copy_only=False)).tolist()
    captions = batch["recaption"].to_pylist()
    return {row: list(sentences(captions[row][:LOOK]))[:most] for row in rows}


def claim(span: tuple[int, int], yes: float, no: float) -> dict[str, Any]:
    """An entry of `claims_checked`."""
    return {"start": span[0], "end": span[1], "p_yes": yes, "p_no": no}


def columns(
    size: int, checked: Mapping[int, list[Any] | str], asked: Mapping[int, int]
) -> dict[str, list[Any]]:
    """The operator's columns: `checked` holds the claims or the error code of rows."""
    told = [checked.get(row) for row in range(size)]
    return {
        "claims_checked": [said if isinstance(said, list) else None for said in told],
        "claims_asked": [asked.get(row) for row in range(size)],
        "error": [said if isinstance(said, str) else None for said in told],
    }
