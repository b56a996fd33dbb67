"""Ledgers: what became of each sample, and why."""

import pyarrow as pa

from schemas._field import documented
from schemas.index import SAMPLE

VERDICT = (
    documented("stage", pa.string(), "Stage that decided; null while the sample is kept."),
    documented("reason", pa.string(), "Rule of the stage that dropped the sample."),
    documented("value", pa.float64(), "What was measured, in the measure's own unit."),
    documented("threshold", pa.float64(), "What it was held against."),
    documented("detail", pa.string(), "What a number cannot say: a list's name, a language."),
    documented("kept_by", pa.string(), "uid of the twin that stayed."),
    documented("kept_by_shard", pa.int32(), "Shard of the twin that stayed."),
    documented("kept_by_row", pa.int32(), "Row of the twin that stayed."),
    documented("error", pa.string(), "Error code of a quarantined sample."),
)

LEDGER = pa.schema(
    [
        *SAMPLE,
        documented("status", pa.string(), "kept, dropped or quarantined.", nullable=False),
        *VERDICT,
    ]
)
"""A stage ledger holds only rows that are not kept; the final ledger has a row a sample."""

KEPT, DROPPED, QUARANTINED = "kept", "dropped", "quarantined"
