"""Whether a corpus has the source columns that an operator is to measure."""

from curation.core.corpus import index_path
from curation.core.operator import Operator
from curation.core.progress import Progress
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.operators.text.source_columns import SourceColumns, columns_in

_SHARDS = 16
"""Shards that are looked at, evenly over the corpus: each source that was added has its own."""


def warn_of_unknown(corpus: Corpus, operators: tuple[Operator, ...], progress: Progress) -> None:
    """Says which columns of `source_columns` no sample has that was looked at, and what there is.

    Not an error: a column may be rare.
    """
    wanted = {n for o in operators if isinstance(o, SourceColumns) for n in o.columns}
    if not wanted:
        return
    there: set[str] = set()
    for shard in corpus.shards[:: max(1, len(corpus.shards) // _SHARDS)]:
        for source in read_table(corpus.store, index_path(shard.shard), ["source"])["source"]:
            there.update(columns_in(source.as_py()))
    for name in sorted(wanted - there):
        progress.say(
            f"source_columns: no sample that was looked at has a column {name!r}"
            f" (there are: {', '.join(sorted(there)) or 'none'})"
        )
