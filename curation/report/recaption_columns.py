"""New captions with what was measured of them, one shard at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer, StageLedger, index_path
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from curation.report.columns import INGESTED, statuses
from schemas import KEPT

NEW = "recaption"
"""The operator that must have run; all others are optional."""

_READ = {
    NEW: ("recaption", "recaption_prompt", "recaption_skipped"),
    "caption_facts": (
        "facts",
        "facts_original",
        "facts_precision",
        "facts_retention",
        "recaption_sentences",
        "recaption_residue",
        "recaption_truncated",
        "recaption_language_differs",
        "recaption_length_ratio",
    ),
    "claim_check": ("claims_checked",),
    "caption_clip": ("recaption_clip",),
}
"""Columns that are read, by operator."""

CHOSEN = "choose_caption"
"""The stage that says which caption goes on."""
_CHOICE = ("choice", "reason", "value", "threshold", "detail", "failed", "repaired")


@dataclass(frozen=True)
class Part:
    """The samples of one shard that are kept, or undecided, row by row with their captions."""

    rows: pa.Table
    """shard, row, uid, text, recaption_error, what `_READ` names as far as it was measured, and
    the columns of the choice where one was made."""
    others: int
    """Samples of the shard that have a new caption and were dropped or quarantined."""

    def has(self, column: str) -> bool:
        return column in self.rows.column_names

    def captioned(self) -> "Part":
        """Only those with a new caption."""
        return Part(self.rows.filter(self.rows["recaption"].is_valid()), self.others)


def recaptioned(corpus: Corpus) -> bool:
    """Whether a corpus has new captions."""
    return any(ref.operator == NEW for ref in corpus.manifest.layers)


def parts(corpus: Corpus) -> Iterator[Part]:
    """The shards of a corpus that has new captions, in order; one is in memory at a time."""
    said = statuses(corpus, ["shard", "row", "uid", "status"])
    chosen = _chosen(corpus)
    for shard, ledger in zip(corpus.shards, said, strict=True):
        columns = {name: ledger[name] for name in ("shard", "row", "uid")}
        columns["text"] = read_table(corpus.store, index_path(shard.shard), ["text"])["text"]
        for ref in corpus.manifest.layers:
            names = [name for name in _READ.get(ref.operator, ()) if name in ref.columns]
            error = ["error"] if ref.operator == NEW else []
            if names:
                path = Layer(ref.operator, ref.fingerprint).path(shard.shard)
                table = read_table(corpus.store, path, [*names, *error])
                columns |= {name: table[name] for name in names}
                if error:
                    columns["recaption_error"] = table["error"]
        if chosen is not None:
            choice = read_table(corpus.store, chosen.choices(shard.shard), _CHOICE)
            columns |= {name: choice[name] for name in _CHOICE}
        lengths = {len(column) for column in columns.values()}
        if lengths != {shard.samples}:
            raise CorpusError(
                f"{corpus.store.path('')}: layers of shard {shard.shard} have other rows than its "
                "index; curate verify says which"
            )
        here = pc.is_in(ledger["status"], value_set=pa.array([KEPT, INGESTED]))
        new = columns["recaption"].is_valid()
        others = pc.sum(pc.and_(new, pc.invert(here))).as_py() or 0
        yield Part(pa.table(columns).filter(here), others)


def _chosen(corpus: Corpus) -> StageLedger | None:
    """The stage that chose captions; null where it did not run."""
    for stage in corpus.manifest.stages:
        if stage.stage == CHOSEN and not stage.off:
            return StageLedger(stage.stage, stage.fingerprint)
    return None
