"""Which concepts of a vocabulary a caption names: what balance counts."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.operator import BatchFn, Operator, append
from curation.core.vocabulary import Vocabulary
from curation.operators.text.matcher import UNSPACED, EntryMatcher

SHIPPED = Path(__file__).parent / "vocabulary" / "en.txt"
"""Common English names of what can be seen; a corpus of one's own deserves one of its own
(`curate concepts build`)."""


@cache
def shipped_vocabulary() -> Vocabulary:
    return Vocabulary.at(str(SHIPPED))


@dataclass(frozen=True, kw_only=True)
class Concepts(Operator):
    """Ids of the vocabulary's entries that occur in the whole caption, however long it is.

    `concepts` holds ascending distinct ids among the entries of the caption's language,
    `concept_language` that language. Both are null where the vocabulary has no entries for the
    caption's language, or the caption none that is known; a caption that names nothing has an
    empty list. How a caption is matched: see `matcher`.
    """

    name = "concepts"

    vocabulary: Vocabulary = field(default_factory=shipped_vocabulary)
    """File of entries."""

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string()), ("language", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("concepts", pa.list_(pa.int32())), ("concept_language", pa.string())])

    def entries(self) -> dict[str, dict[str, int]]:
        """Id of each entry, by language. The shipped file needs no path to be found."""
        shipped = shipped_vocabulary()
        known = self.vocabulary if self.vocabulary.sha256 != shipped.sha256 else shipped
        return known.entries()

    def open(self) -> BatchFn:
        sections = [
            (language, _ids(entries), EntryMatcher(list(entries), spaced=language not in UNSPACED))
            for language, entries in self.entries().items()
        ]
        known = pa.array([language for language, _, _ in sections], pa.string())

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            matchable = pc.and_(
                pc.is_in(batch["language"], value_set=known), pc.is_valid(batch["text"])
            )
            languages = pc.if_else(matchable, batch["language"], pa.scalar(None, pa.string()))
            found, places = [], []
            for language, ids, matcher in sections:
                mask = pc.equal(languages, language).fill_null(False)
                matched = matcher.match(batch["text"].filter(mask))
                local = matched.values.to_numpy(zero_copy_only=False)
                values = pa.array(ids[local], pa.int32())
                found.append(pa.ListArray.from_arrays(matched.offsets, values))
                places.append(np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
            columns = {"concepts": _placed(found, places, batch.num_rows)}
            return append(batch, self.provides, {**columns, "concept_language": languages})

        return measure


def _ids(entries: dict[str, int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Ids of a language's entries by their position in it; they ascend with it."""
    return np.fromiter(entries.values(), np.int32, len(entries))


def _placed(
    found: list[pa.ListArray], places: list[np.ndarray[tuple[int], np.dtype[np.intp]]], rows: int
) -> pa.ListArray:
    """The lists at the rows that they belong to, null elsewhere."""
    if len(found) == 1 and len(found[0]) == rows:
        return found[0]
    positions = np.full(rows, -1, np.int64)
    order = np.concatenate(places)
    positions[order] = np.arange(len(order))
    indices = pa.array(positions, mask=positions < 0)
    return pa.concat_arrays(found).take(indices)
