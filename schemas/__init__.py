"""Arrow schemas of every file of a corpus, with a doc for each field.

`index` (a row a sample), `ledger` (what became of it), `choice` (which caption it goes on with),
`sample` (what a trainer reads), `manifest` (what explains the corpus). Layer schemas belong to
their operators.
"""

from schemas.choice import CHOICE, NEW, ORIGINAL, REPAIRED
from schemas.export import EXPORT_INDEX, EXPORT_SHARDS
from schemas.index import INDEX, MEMBER, SAMPLE, SHARDS
from schemas.ledger import DROPPED, KEPT, LEDGER, QUARANTINED, VERDICT

__all__ = [
    "CHOICE",
    "DROPPED",
    "EXPORT_INDEX",
    "EXPORT_SHARDS",
    "INDEX",
    "KEPT",
    "LEDGER",
    "MEMBER",
    "NEW",
    "ORIGINAL",
    "QUARANTINED",
    "REPAIRED",
    "SAMPLE",
    "SHARDS",
    "VERDICT",
]
