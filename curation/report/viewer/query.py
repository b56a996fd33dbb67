"""Which samples are looked at: filters over positions, and searches that DuckDB makes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curation.core.corpus import Layer, index_path
from curation.core.draw import order_keys
from curation.core.errors import UsageError
from curation.io.corpus import Corpus
from curation.report.viewer.fates import Bools, Fates, Positions
from curation.report.viewer.kept import Kept
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.nearest import Nearest
from curation.report.viewer.parquet import local_file, stream
from schemas.sample import FAMILIES

LANGUAGE = "language"
CLUSTER = "cluster"
_FOUND = 8
"""Results that are kept at hand, eight bytes a sample."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What samples have to be; an empty field asks for nothing."""

    family: str = ""
    status: str = ""
    stage: str = ""
    cause: str = ""
    """Reason of a drop, or error code."""
    text: str = ""
    """Stands in the caption, whatever its case."""
    uid: str = ""
    """First characters of a uid."""
    ranges: tuple[tuple[str, float, float], ...] = ()
    """Measure, lowest and highest value; infinite where a side is open."""
    language: str = ""
    concept: str = ""
    """Entry of the vocabulary, as `language:id`."""
    cluster: int | None = None
    near: str = ""
    """Only the nearest to `at:POSITION`, `text:WORDS` or `picture:NAME` (see Nearest), in order."""
    order: str = ""
    """Measure to sort by, `-` before it for the highest first; `?` mixes; empty: by position."""


class Search:
    """Answers filters over one corpus; safe to ask from many threads."""

    def __init__(self, corpus: Corpus, fates: Fates, store: MeasureStore, nearest: Nearest) -> None:
        self._corpus, self._fates, self._store, self._nearest = corpus, fates, store, nearest
        self._listed = fates.listed()
        self._found: Kept[Filter, Positions] = Kept(_FOUND)

    @property
    def listed(self) -> Bools:
        """Positions that may be listed at all."""
        return self._listed

    def positions(self, asked: Filter) -> Positions:
        """Those that pass, in the order asked for. Raises UsageError for what cannot be asked."""
        if not asked.order:
            return self._found.get(asked, lambda: self._plain(asked))
        plain = replace(asked, order="")
        return self._found.get(asked, lambda: self._ordered(self.positions(plain), asked.order))

    def _plain(self, asked: Filter) -> Positions:
        mask = self._mask(asked)
        return self._nearest.positions(asked.near, mask) if asked.near else np.flatnonzero(mask)

    def of_uids(self, uids: list[str]) -> list[int]:
        """The first position of each uid that is there and may be listed, in the order given."""
        query = "SELECT uid, shard, row FROM read_parquet($1) WHERE uid IN (SELECT unnest($2))"
        first: dict[str, int] = {}
        for batch in stream(query, [self._index_files(), uids]) if self._corpus.shards else ():
            for row in batch.to_pylist():
                at = int(self._fates.positions([row["shard"]], [row["row"]])[0])
                if self._listed[at]:
                    first[row["uid"]] = min(at, first.get(row["uid"], at))
        return [first[uid] for uid in uids if uid in first]

    def _mask(self, asked: Filter) -> Bools:
        mask = self._listed & self._of_fate(asked)
        if asked.family not in ("", self._corpus.manifest.family):
            if asked.family not in FAMILIES:
                raise UsageError(f"no family is called {asked.family[:60]}")
            mask[:] = False  # a corpus is of one family
        for name, low, high in asked.ranges:
            values = self._number(name).values
            mask &= (values >= low) & (values <= high)
        if asked.language:
            if LANGUAGE not in self._store.columns:
                raise UsageError("no language was measured here")
            mask &= self._store.word(LANGUAGE).among([asked.language])
        if asked.cluster is not None:
            mask &= self._number(CLUSTER).values == asked.cluster
        if asked.uid:
            condition = "starts_with(uid, $1)"
            mask &= self._matching(self._index_files(), condition, asked.uid.lower())
        if asked.text:
            condition = "contains(lower(text), lower($1))"
            mask &= self._matching(self._index_files(), condition, asked.text)
        if asked.concept:
            language, number = _entry(asked.concept)
            condition = f"concept_language = $1 AND list_contains(concepts, {number})"
            mask &= self._matching(self._concept_files(), condition, language)
        return mask

    def _of_fate(self, asked: Filter) -> Bools:
        wanted = [
            asked.status in ("", g.status)
            and asked.stage in ("", g.stage)
            and asked.cause in ("", g.cause)
            for g in self._fates.groups
        ]
        return self._fates.of_groups(np.array(wanted, bool))

    def _number(self, name: str) -> Any:
        try:
            return self._store.number(name)
        except KeyError as error:
            raise UsageError(f"no measure is called {name[:60]}") from error

    def _ordered(self, found: Positions, order: str) -> Positions:
        if order == "?":
            shards = np.searchsorted(self._fates.starts, found, side="right") - 1
            rows = found - self._fates.starts[shards]
            keys: Any = order_keys(0, "viewer", self._fates.shards[shards], rows)
            return found[np.argsort(keys, kind="stable")]
        keys = self._number(order.removeprefix("-")).values[found].astype(np.float64)
        return found[np.argsort(-keys if order.startswith("-") else keys, kind="stable")]

    def _index_files(self) -> list[str]:
        return [local_file(self._corpus.store, index_path(s.shard)) for s in self._corpus.shards]

    def _concept_files(self) -> list[str]:
        for ref in self._corpus.manifest.layers:
            if "concepts" in ref.columns:
                layer = Layer(ref.operator, ref.fingerprint)
                return [
                    local_file(self._corpus.store, layer.path(s.shard)) for s in self._corpus.shards
                ]
        raise UsageError("no concepts were measured here")

    def _matching(self, files: list[str], condition: str, value: str) -> Bools:
        found = np.zeros(self._fates.size, bool)
        if not files:
            return found
        query = f"SELECT shard, row FROM read_parquet($2) WHERE {condition}"
        for batch in stream(query, [value, files]):
            found[self._fates.positions(batch["shard"], batch["row"])] = True
        return found


def _entry(concept: str) -> tuple[str, int]:
    language, _, number = concept.rpartition(":")
    try:
        return language, int(number)
    except ValueError as error:
        raise UsageError(f"a concept is language:id, got {concept[:60]!r}") from error
