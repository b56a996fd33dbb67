"""Every sample of a corpus by its place in it, what became of it, and who may be shown.

A sample's *position* counts over the shards in order: shard 0's rows, then shard 1's. Everything
that the viewer filters and counts is an array over positions.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.blocklist import BlockFile
from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import Group
from curation.report.columns import INGESTED, statuses
from curation.report.exported import index_of
from curation.report.pictures import Picked
from curation.report.tiles import Curtain, Exported, curtain, export_lists, list_names
from curation.report.viewer.listed import CLEAR, NAMED, UNKNOWN, States, held_against
from schemas import DROPPED, KEPT

Positions = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint16]

HIDDEN, WITHHELD, SHOWN = 0, 1, 2
"""Not listed at all; listed without its picture; listed with it (see curation.report.tiles)."""

WITHHELD_BY = "withheld: {} was not held against it"

_LOOKED_UP = {CLEAR: SHOWN, UNKNOWN: WITHHELD, NAMED: HIDDEN}
_MANY = 60_000


@dataclass(frozen=True, kw_only=True)
class Fates:
    """What became of each sample."""

    shards: npt.NDArray[np.int64]
    """Shard numbers in order."""
    starts: Positions
    """Position of each shard's first row, and one past the last position."""
    codes: Codes
    """Group of each position."""
    groups: list[Group]
    counts: Positions
    """Samples of each group."""
    sight: npt.NDArray[np.uint8]
    """HIDDEN, WITHHELD or SHOWN of each group."""
    exported: Bools | None
    """Positions that an export with lists of its own holds; null where it had none."""
    looked_up: States | None = None
    """What lists whose files are at hand say of each position; null where there are none."""
    exported_looked_up: bool = False
    """Whether the lists of the export are among those."""
    unheld: tuple[str, ...] = ()
    """Names of lists whose files are not at hand."""

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    def place(self, position: int) -> tuple[int, int]:
        """Shard and row."""
        nth = int(np.searchsorted(self.starts, position, side="right")) - 1
        return int(self.shards[nth]), int(position - self.starts[nth])

    def position(self, shard: int, row: int) -> int | None:
        """Null where the corpus has no such sample."""
        nth = int(np.searchsorted(self.shards, shard))
        if nth >= len(self.shards) or self.shards[nth] != shard or row < 0:
            return None
        found = int(self.starts[nth]) + row
        return found if found < self.starts[nth + 1] else None

    def positions(self, shards: Any, rows: Any) -> Positions:
        """Of many samples that are known to be there."""
        nth = np.searchsorted(self.shards, np.asarray(shards))
        found: Positions = self.starts[nth] + np.asarray(rows, np.int64)
        return found

    def places(self, shards: Any, rows: Any) -> tuple[Positions, Bools]:
        """Of many samples by what another file says, and which of them are there at all."""
        shards, rows = np.asarray(shards, np.int64), np.asarray(rows, np.int64)
        nth = np.minimum(np.searchsorted(self.shards, shards), len(self.shards) - 1)
        found = self.starts[nth] + rows
        there = (self.shards[nth] == shards) & (rows >= 0) & (found < self.starts[nth + 1])
        return found, there

    def group(self, position: int) -> Group:
        return self.groups[int(self.codes[position])]

    def seen(self, position: int) -> int:
        """Whether the sample may be shown: HIDDEN, WITHHELD or SHOWN."""
        sight = int(self.sight[self.codes[position]])
        if self.looked_up is not None:
            sight = min(sight, _LOOKED_UP[int(self.looked_up[position])])
        if self.exported is None or self.exported[position]:
            return sight
        if self.group(position).status == KEPT:
            return HIDDEN
        return sight if self.exported_looked_up else min(sight, WITHHELD)

    def why_withheld(self, position: int) -> str:
        """Of a sample that is listed without its picture."""
        if self.looked_up is not None and self.looked_up[position] == UNKNOWN:
            return "withheld: no pHash to hold against a blocklist"
        return WITHHELD_BY.format(", ".join(self.unheld) or "a blocklist")

    def withheld(self) -> int:
        """How many are listed without their pictures for a list that was not held against them."""
        found = self.of_groups(self.sight == WITHHELD)
        if self.looked_up is not None:
            found |= self.of_groups(self.sight != HIDDEN) & (self.looked_up == UNKNOWN)
            found &= self.looked_up != NAMED
        if self.exported is not None and not self.exported_looked_up:
            found |= ~self.exported & ~self.kept() & self.of_groups(self.sight != HIDDEN)
        return int(np.count_nonzero(found))

    def listed(self) -> Bools:
        """Positions that are not hidden."""
        found: Bools = self.of_groups(self.sight != HIDDEN)
        if self.exported is not None:
            found &= self.exported | ~self.kept()
        if self.looked_up is not None:
            found &= self.looked_up != NAMED
        return found

    def kept(self) -> Bools:
        """Positions that are kept, or readable where nothing is decided."""
        return self.of_groups(np.array([g.status in (KEPT, INGESTED) for g in self.groups], bool))

    def of_groups(self, wanted: npt.NDArray[np.bool_]) -> Bools:
        """Positions whose group is wanted."""
        found: Bools = wanted[self.codes]
        return found


def fates_of(corpus: Corpus, export: Exported | None, lists: tuple[BlockFile, ...] = ()) -> Fates:
    """Reads the final ledger once, a shard at a time; memory is two bytes a sample.

    `lists` are blocklists whose files are at hand: every sample is held against them.
    """
    sizes = [shard.samples for shard in corpus.shards]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    codes = np.zeros(int(starts[-1]), np.uint16)
    known: dict[Group, int] = {}
    for nth, table in enumerate(statuses(corpus, ["status", "stage", "reason", "error"])):
        here, groups = _groups(table)
        numbers = [known.setdefault(group, min(len(known), _MANY)) for group in groups]
        codes[starts[nth] : starts[nth + 1]] = np.array(numbers, np.uint16)[here]
    groups = list(known) or [Group(KEPT, "", "")]
    listed = export is not None and bool(export_lists(export[1]))
    given = frozenset(one.sha256 for one in lists)
    drawn = curtain(corpus.manifest, None, None, given)
    names = list_names(corpus.manifest, export[1] if export else None)
    made = Fates(
        shards=np.array([shard.shard for shard in corpus.shards], np.int64),
        starts=starts,
        codes=codes,
        groups=groups,
        counts=np.bincount(codes, minlength=len(groups)).astype(np.int64),
        sight=np.array([_sight(drawn, group) for group in groups], np.uint8),
        exported=None,
        looked_up=held_against(corpus, lists) if lists else None,
        unheld=tuple(sorted({name for sha, name in names.items() if sha not in given})),
    )
    if export is None or not listed:
        return made
    held = _exported(made, export[0], read_table(export[0], export[1].tables["shards"].path))
    covered = all(one["sha256"] in given for one in export_lists(export[1]))
    return replace(made, exported=held, exported_looked_up=covered)


def _groups(table: pa.Table) -> tuple[Positions, list[Group]]:
    """A number for each row of a ledger, and the group that each number stands for."""
    cause = pc.if_else(pc.equal(table["status"], DROPPED), table["reason"], table["error"])
    named = pc.binary_join_element_wise(
        table["status"], pc.fill_null(table["stage"], ""), pc.fill_null(cause, ""), "\x1f"
    )
    encoded = named.combine_chunks().dictionary_encode()
    groups = [Group(*text.split("\x1f", 2)) for text in encoded.dictionary.to_pylist()]
    return encoded.indices.to_numpy().astype(np.int64), groups


def _sight(drawn: Curtain, group: Group) -> int:
    """By the rule of the report: all that it looks at of a sample is its group."""
    if drawn.blocked(group):
        return HIDDEN
    row = {"status": group.status, "stage": group.stage or None, "reason": group.cause}
    nobody = Picked(ledger=row, text=None, length=0, width=None, height=None, member=None)
    return SHOWN if drawn.cleared(nobody) else WITHHELD


def _exported(made: Fates, store: Store, shards: pa.Table) -> Bools:
    held = np.zeros(made.size, bool)
    for path in shards["path"].to_pylist():
        table = read_table(store, index_of(path), ["source_shard", "source_row"])
        at, there = made.places(*table.columns)
        held[at[there]] = True
    return held
