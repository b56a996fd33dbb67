"""Which caption of a sample goes on: the original, the new one, or what is left of the new one."""

import pyarrow as pa

from schemas._field import documented
from schemas.index import SAMPLE

ORIGINAL, NEW, REPAIRED = "original", "new", "repaired"

FAILED = pa.struct(
    [
        documented("sentence", pa.int32(), "Number of the sentence in the new caption, from 0."),
        documented("start", pa.int32(), "First character of it in the new caption."),
        documented("end", pa.int32(), "One past its last character."),
        documented("reason", pa.string(), "The first check that it failed."),
        documented("value", pa.float64(), "What was measured, in the measure's own unit."),
        documented("threshold", pa.float64(), "What it was held against."),
    ]
)

CHOICE = pa.schema(
    [
        *SAMPLE,
        documented(
            "choice",
            pa.string(),
            "original, new or repaired; null where the sample did not reach the stage.",
        ),
        documented(
            "reason",
            pa.string(),
            "Why it is not the new caption as it was written; null where it is.",
        ),
        documented("value", pa.float64(), "What was measured, in the measure's own unit."),
        documented("threshold", pa.float64(), "What it was held against."),
        documented("detail", pa.string(), "What a number cannot say: an error code, a language."),
        documented("sentences", pa.int32(), "Sentences of the new caption; null without one."),
        documented("failed", pa.list_(FAILED), "Sentences that failed; null without new caption."),
        documented(
            "verdicts",
            pa.list_(pa.string()),
            "Of each sentence whether the picture bears it out: supported, contradicted or "
            "unverifiable; null where nothing has looked.",
        ),
        documented("repaired", pa.string(), "The repaired caption; null but for that choice."),
    ]
)
"""A row a sample, row-aligned with the shard's index."""
