"""Concept balance: common concepts give up samples until they no longer drown the rare ones.

MetaCLIP (Xu et al., "Demystifying CLIP Data", 2023): an entry on more than t samples keeps each
of them with probability t / count, one on fewer keeps all. MetaCLIP 2 (2025) counts within each
language, and gives each the t that leaves its tail the same share of its counts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import uid_words, uniforms
from curation.core.errors import UsageError
from curation.core.step import VERDICT_COLUMNS, RelationalStep, Session

_VERDICTS = pa.schema([("shard", pa.int32()), ("row", pa.int32()), *VERDICT_COLUMNS])
_THRESHOLDS = pa.schema([("language", pa.string()), ("t", pa.int64())])

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Source:
    """Where a kind of entry stands in `survivors`."""

    requires: pa.Schema
    language: str
    entry: str
    entries: str
    unmatched: str


_SOURCES = {
    "concepts": _Source(
        requires=pa.schema([("concepts", pa.list_(pa.int32())), ("concept_language", pa.string())]),
        language="concept_language",
        entry="unnest(concepts)",
        entries="concepts",
        unmatched="concept_language IS NOT NULL AND coalesce(array_length(concepts), 0) < 1",
    ),
    "cluster": _Source(
        requires=pa.schema([("cluster", pa.int32())]),
        language="'cluster'",
        entry="cluster",
        entries="cluster",
        unmatched="cluster IS NULL",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Balance(RelationalStep):
    """Keeps a sample when, for any entry that it matches, a draw falls below the entry's p.

    p = t / max(count, t), counted over the survivors of this stage; a sample counts once for each
    of its entries. A draw is a hash of seed, uid and entry alone, so that a larger t keeps all
    that a smaller one keeps; twins, which share a uid, draw the same. `value` is the largest p
    among the sample's entries, `threshold` what that entry drew, `detail` the entry, as
    language:id or cluster:id.
    """

    by: Literal["concepts", "cluster"] = "concepts"
    """What is balanced: matched vocabulary entries, or the one visual cluster of a sample."""

    t: int | None = 20_000
    """Samples an entry keeps in expectation. MetaCLIP: 20,000 for 400M pairs, 170,000 for 2.5B."""

    t_language: str | None = None
    """Language that `t` is for; each other one gets the t with the same tail share (MetaCLIP 2:
    en). Null: t is for all."""

    tail_share: float | None = None
    """In place of t: the share of a language's counts that lies in its tail, 0 to 1. Entries from
    rare to common, t is the count of the one where the running sum of counts is nearest to the
    share, the rarer of two as near (MetaCLIP 2's p_to_t)."""

    unmatched: Literal["keep", "drop"] = "drop"
    """What becomes of a sample without an entry (MetaCLIP drops it). One in a language that has
    no vocabulary stays in any case."""

    seed: int = 0
    """Another seed is another choice."""

    def __post_init__(self) -> None:
        if self.by not in _SOURCES:
            raise ValueError(f"by must be one of {', '.join(_SOURCES)}, got {self.by!r}")
        if self.t is None and self.tail_share is None:
            raise ValueError("t and tail_share cannot both be null")
        if self.t is not None and self.t < 1:
            raise ValueError(f"t must be at least 1, got {self.t}")
        if self.tail_share is not None and not 0 <= self.tail_share <= 1:
            raise ValueError(f"tail_share must be 0 to 1, got {self.tail_share}")
        if self.by == "cluster" and self.t_language is not None:
            raise ValueError("clusters have no t_language")
        if self.unmatched not in ("keep", "drop"):
            raise ValueError(f"unmatched must be keep or drop, got {self.unmatched!r}")

    @property
    def requires(self) -> pa.Schema:
        return _SOURCES[self.by].requires

    def decide(self, session: Session) -> None:
        source = _SOURCES[self.by]
        session.create("matches", self._counted("survivors AS s", ""))
        session.load("thresholds", self._thresholds(session))
        session.create(
            "chances",
            """
            SELECT m.language, m.entry, m.samples,
                   CAST(h.t AS DOUBLE) / greatest(m.samples, h.t) AS p
            FROM matches AS m JOIN thresholds AS h ON h.language = m.language
            """,
        )
        chances = session.rows(
            "SELECT language, entry, p FROM chances "
            "ORDER BY language ASC NULLS LAST, entry ASC NULLS LAST"
        )
        session.map(
            "verdicts",
            f"SELECT shard, row, uid, {source.language} AS language, {source.entries} AS entries "
            f"FROM survivors WHERE {source.language} IS NOT NULL",
            _Draws(self, chances).verdicts,
            _VERDICTS,
        )
        gone = "LEFT JOIN verdicts AS v ON v.shard = s.shard AND v.row = s.row"
        session.create("stayed", self._counted(f"survivors AS s {gone}", " AND v.shard IS NULL"))
        session.create(
            "counts",
            """
            SELECT c.language, c.entry, c.samples, c.p, coalesce(k.samples, 0) AS kept
            FROM chances AS c
            LEFT JOIN stayed AS k ON k.language = c.language AND k.entry = c.entry
            """,
        )
        session.drop("matches", "chances", "stayed")

    def notes(self, session: Session) -> dict[str, int]:
        query = f"SELECT count(*) FROM survivors WHERE {_SOURCES[self.by].unmatched}"
        said = {"without a match": int(session.scalar(query))}
        if self.by == "concepts":
            query = "SELECT count(*) FROM survivors WHERE concept_language IS NULL"
            said["in a language without a vocabulary"] = int(session.scalar(query))
        return said

    def tables(self) -> dict[str, str]:
        """`counts`: of each entry the samples that came, p, and the samples that stayed.

        `thresholds`: t of each language.
        """
        return {
            "counts": "SELECT language, entry, samples, p, kept FROM counts "
            "ORDER BY language ASC NULLS LAST, entry ASC NULLS LAST",
            "thresholds": "SELECT language, t FROM thresholds ORDER BY language ASC NULLS LAST",
        }

    def _counted(self, rows: str, condition: str) -> str:
        """Samples by (language, entry)."""
        source = _SOURCES[self.by]
        return f"""
            SELECT language, entry, count(*) AS samples FROM (
                SELECT {source.language} AS language, {source.entry} AS entry
                FROM {rows} WHERE {source.entries} IS NOT NULL{condition}
            ) AS matched WHERE language IS NOT NULL GROUP BY language, entry
        """

    def _thresholds(self, session: Session) -> pa.Table:
        """t of each language, from its counts."""
        table = session.rows(
            "SELECT language, samples, count(*) AS entries FROM matches GROUP BY language, samples "
            "ORDER BY language ASC NULLS LAST, samples ASC NULLS LAST"
        )
        counts: dict[str, Counts] = {}
        for language in pc.unique(table["language"]).to_pylist():
            of = table.filter(pc.equal(table["language"], language))
            counts[language] = np.repeat(of["samples"].to_numpy(), of["entries"].to_numpy())
        chosen = self._chosen(counts)
        rows: list[dict[str, Any]] = [{"language": name, "t": t} for name, t in chosen.items()]
        return pa.Table.from_pylist(rows, _THRESHOLDS)

    def _chosen(self, counts: dict[str, Counts]) -> dict[str, int]:
        if self.tail_share is not None:
            return {name: tail_threshold(of, self.tail_share) for name, of in counts.items()}
        assert self.t is not None
        if self.t_language is None or not counts:
            return dict.fromkeys(counts, self.t)
        if self.t_language not in counts:
            raise UsageError(
                f"{self.name}: no survivor matches an entry in {self.t_language}; set "
                f"{self.name}.t_language to one of {', '.join(counts)}, or to none"
            )
        share = tail_share(counts[self.t_language], self.t)
        chosen = {name: tail_threshold(of, share) for name, of in counts.items()}
        return {**chosen, self.t_language: self.t}


def tail_share(counts: Counts, t: int) -> float:
    """The share of all counts that entries on fewer than t samples have (MetaCLIP 2's t_to_p)."""
    return float(counts[counts < t].sum() / counts.sum())


def tail_threshold(counts: Counts, share: float) -> int:
    """The t that leaves about this share in the tail (MetaCLIP 2's p_to_t).

    `counts` ascend, and none is 0.
    """
    running = np.cumsum(counts) / counts.sum()
    return int(counts[np.abs(running - share).argmin()])


class _Draws:
    """A draw for each (uid, entry) against the entry's p, for a batch of rows."""

    def __init__(self, step: Balance, chances: pa.Table) -> None:
        self._seed, self._purpose = step.seed, f"balance {step.by}"
        self._drop_unmatched = step.unmatched == "drop"
        self._languages = pc.unique(chances["language"])
        codes, entries = self._code(chances["language"]), _numbers(chances["entry"])
        widths = np.zeros(len(self._languages), np.int64)
        np.maximum.at(widths, codes, entries.astype(np.int64) + 1)
        self._starts = np.cumsum(widths) - widths
        self._p = np.zeros(int(widths.sum()))  # ids count from 0: a place for each
        self._p[self._starts[codes] + entries] = _numbers(chances["p"])

    def verdicts(self, rows: pa.Table) -> pa.Table:
        """Those that go. `rows` has shard, row, uid, language and entries (a list, or one)."""
        sizes, entries = _flat(rows["entries"].combine_chunks())
        owner = np.repeat(np.arange(len(sizes)), sizes)
        p = self._p[self._starts[self._code(rows["language"])[owner]] + entries]
        first, second = uid_words(rows["uid"])
        drawn = uniforms(self._seed, self._purpose, first[owner], second[owner], entries)
        stays = np.zeros(len(sizes), bool) if self._drop_unmatched else sizes == 0
        stays[owner[drawn < p]] = True
        lost = np.flatnonzero(~stays[owner])  # matches of samples that go
        best = lost[_first_largest(owner[lost], p[lost])]
        gone = np.flatnonzero(~stays)
        chosen, matched = rows.take(pa.array(gone)), sizes[gone] > 0
        places = pa.array(np.cumsum(matched) - 1, mask=~matched)
        named = pa.array(entries[best]).take(places).cast(pa.string())
        return pa.table(
            {
                "shard": chosen["shard"],
                "row": chosen["row"],
                "reason": pc.if_else(pa.array(matched), "balanced_out", "unmatched"),
                "value": pa.array(p[best]).take(places),
                "threshold": pa.array(drawn[best]).take(places),
                "detail": pc.binary_join_element_wise(chosen["language"], named, ":"),
                "kept_by": pa.nulls(len(gone), pa.string()),
                "kept_by_shard": pa.nulls(len(gone), pa.int32()),
                "kept_by_row": pa.nulls(len(gone), pa.int32()),
            }
        )

    def _code(self, languages: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
        """The place of each language in order; of none, 0."""
        return _numbers(pc.fill_null(pc.index_in(languages, self._languages), 0))


def _flat(entries: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """How many entries each row has, and all of them in a row."""
    if pa.types.is_list(entries.type):
        sizes = pc.fill_null(pc.list_value_length(entries), 0)
        return _numbers(sizes).astype(np.int64), _numbers(pc.list_flatten(entries))
    present = np.asarray(entries.is_valid())
    return present.astype(np.int64), _numbers(entries.drop_null())


def _numbers(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    numbers: npt.NDArray[Any] = np.asarray(values)
    return numbers


def _first_largest(owner: npt.NDArray[np.int64], p: npt.NDArray[np.float64]) -> Counts:
    """Of each run of equal `owner`, the position of its first largest p."""
    if not len(owner):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    largest = np.repeat(np.maximum.reduceat(p, starts), np.diff(starts, append=len(owner)))
    hits = np.flatnonzero(p == largest)
    return hits[np.flatnonzero(np.diff(owner[hits], prepend=-1))]
