"""Images that look alike: pHashes within a Hamming distance of a better sample that stays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.core.step import RelationalStep, Session
from curation.relational.hamming import MAX_DISTANCE, near_pairs
from curation.relational.keep_best import keep_best_schema, priority

_ROUNDS = 24
"""Rounds of the loop in SQL; what a longer chain leaves is decided in one pass outside it."""

_FATE = pa.schema([("rank", pa.int64()), ("kept", pa.bool_())])


@dataclass(frozen=True, kw_only=True)
class NearDedup(RelationalStep):
    """In priority order, drops a sample that lies within `distance` of one already kept.

    A chain a-b-c of neighbours therefore loses b alone when a is best: c is unlike a and stays.
    Samples whose hash is null (degenerate: solid colour, plain gradients) are not compared; their
    number is noted.
    """

    distance: int = 3
    """Bits of 64 that may differ. Manku et al. (2007) use 3; re-encoded and resized copies stay
    within 2 on photographs."""

    keep_best: tuple[str, ...] = ("area",)
    """Measures, from high to low, that give the priority; then uid, shard, row."""

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {self.distance}")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("phash", pa.int64()), *keep_best_schema(self.keep_best)])

    def notes(self, session: Session) -> dict[str, int]:
        missing = session.scalar("SELECT count(*) FROM survivors WHERE phash IS NULL")
        return {"not compared: degenerate hash": int(missing)}

    def decide(self, session: Session) -> None:
        session.create(
            "hashes",
            "SELECT phash, count(*) AS members FROM survivors "
            "WHERE phash IS NOT NULL GROUP BY phash",
        )
        near_pairs(session, "pairs", "hashes", self.distance)
        self._rank_nodes(session)
        session.create(
            "edges",
            """
            SELECT least(x.rank, y.rank) AS high, greatest(x.rank, y.rank) AS low, p.distance
            FROM pairs AS p JOIN nodes AS x ON p.a = x.phash JOIN nodes AS y ON p.b = y.phash
            """,
        )
        _greedy(session)
        self._write_verdicts(session)
        session.drop("hashes", "pairs", "looked_at", "members", "nodes", "edges", "fates", "twins")

    def _rank_nodes(self, session: Session) -> None:
        """`members`: rows whose hash has company; `nodes`: the best row of each hash, ranked."""
        session.create(
            "looked_at",
            "SELECT phash FROM hashes WHERE members > 1 UNION SELECT a AS phash FROM pairs "
            "UNION SELECT b AS phash FROM pairs",
        )
        order = priority(self.keep_best, "s")
        listed = "".join(f", s.{name}" for name in self.keep_best)
        session.create(
            "members",
            f"""
            SELECT s.phash, s.shard, s.row, s.uid{listed},
                   row_number() OVER (PARTITION BY s.phash ORDER BY {order}) AS place
            FROM survivors AS s JOIN looked_at AS l ON s.phash = l.phash
            """,
        )
        session.create(
            "nodes",
            f"""
            SELECT m.phash, m.shard, m.row, m.uid,
                   row_number() OVER (ORDER BY {priority(self.keep_best, "m")}) AS rank
            FROM members AS m WHERE m.place = 1
            """,
        )

    def _write_verdicts(self, session: Session) -> None:
        session.create(
            "twins",
            """
            SELECT e.low AS rank, min(e.high) AS kept_rank FROM edges AS e
            JOIN fates AS f ON f.rank = e.low AND NOT f.kept
            JOIN fates AS k ON k.rank = e.high AND k.kept
            GROUP BY e.low
            """,
        )
        session.create(
            "verdicts",
            f"""
            SELECT m.shard, m.row, 'near_image' AS reason,
                   CAST(bit_count(xor(n.phash, k.phash)) AS DOUBLE) AS value,
                   CAST({self.distance} AS DOUBLE) AS threshold, CAST(NULL AS VARCHAR) AS detail,
                   k.uid AS kept_by, k.shard AS kept_by_shard, k.row AS kept_by_row
            FROM members AS m
            JOIN nodes AS n ON n.phash = m.phash
            LEFT JOIN twins AS t ON t.rank = n.rank
            JOIN nodes AS k ON k.rank = coalesce(t.kept_rank, n.rank)
            WHERE t.kept_rank IS NOT NULL OR m.place > 1
            """,
        )


def _greedy(session: Session) -> None:
    """`fates(rank, kept)` of every node with an edge: the greedy choice in rank order.

    Each round keeps the nodes that no undecided better node touches and drops their neighbours;
    that is the sequential greedy choice, whatever the order within a round.
    """
    session.create("open_edges", "SELECT high, low FROM edges")
    parts: list[str] = []
    for number in range(_ROUNDS):
        if not session.scalar("SELECT count(*) FROM open_edges"):
            break
        session.create(
            f"kept_{number}",
            "SELECT DISTINCT e.high AS rank FROM open_edges AS e "
            "LEFT JOIN open_edges AS b ON b.low = e.high WHERE b.low IS NULL",
        )
        session.create(
            f"dropped_{number}",
            f"SELECT DISTINCT e.low AS rank FROM open_edges AS e "
            f"JOIN kept_{number} AS k ON k.rank = e.high",
        )
        session.create(
            "next_edges",
            f"""
            SELECT e.high, e.low FROM open_edges AS e
            LEFT JOIN dropped_{number} AS x ON x.rank = e.high
            LEFT JOIN dropped_{number} AS y ON y.rank = e.low
            WHERE x.rank IS NULL AND y.rank IS NULL
            """,
        )
        session.create("open_edges", "SELECT high, low FROM next_edges")
        parts.append(f"SELECT rank, true AS kept FROM kept_{number}")
        parts.append(f"SELECT rank, false AS kept FROM dropped_{number}")
    in_order = "SELECT high, low FROM open_edges ORDER BY low ASC NULLS LAST, high ASC NULLS LAST"
    session.apply("kept_rest", in_order, _rest, _FATE)
    parts.append("SELECT rank, kept FROM kept_rest")
    session.create("decided", " UNION ALL ".join(parts))
    # A node whose last neighbours were dropped has no open edge left: it stays.
    session.create(
        "fates",
        """
        SELECT r.rank, coalesce(bool_and(d.kept), true) AS kept
        FROM (SELECT high AS rank FROM edges UNION SELECT low AS rank FROM edges) AS r
        LEFT JOIN decided AS d ON d.rank = r.rank GROUP BY r.rank
        """,
    )
    session.drop("decided", "kept_rest", "open_edges", "next_edges")


def _rest(edges: pa.Table) -> pa.Table:
    """The same choice, node by node, for edges sorted by `low`."""
    high, low = edges["high"].to_numpy(), edges["low"].to_numpy()
    ranks = np.unique(np.concatenate([high, low]))
    kept = np.ones(len(ranks), bool)
    for better, worse in zip(
        np.searchsorted(ranks, high).tolist(), np.searchsorted(ranks, low).tolist(), strict=True
    ):
        if kept[better]:
            kept[worse] = False
    return pa.table({"rank": ranks.astype(np.int64), "kept": kept}, schema=_FATE)
