"""A corpus of a given size, spread evenly over groups, groups of groups, and so on.

Hierarchical balanced sampling as in Vo et al., "Automatic Data Curation for Self-Supervised
Learning" (2024): from the top, water is poured evenly over the groups of a level until each is
full or has as much as its open neighbours.
"""

from dataclasses import dataclass

import pyarrow as pa

from curation.core.draw import order_keys, uid_words
from curation.core.step import RelationalStep, Session
from curation.relational.keep_best import TIES, keep_best_schema, priority

_PURPOSE = "water_fill"

_CANDIDATE = [
    ("shard", pa.int32()),
    ("row", pa.int32()),
    ("uid", pa.string()),
    ("leaf", pa.int64()),
]


@dataclass(frozen=True, kw_only=True)
class WaterFill(RelationalStep):
    """Keeps exactly `target` samples (all, if there are no more), evenly over groups.

    The target is shared out equally among the groups of the first level; a group with fewer
    samples than its share is kept whole and gives the rest back to the others. What does not
    divide goes one each to the largest groups, of equally large ones to the last in key order.
    A group's allotment is shared out in the same way among its groups of the next level. Samples
    without a key make a group of their own. `value` is a sample's place in its innermost group,
    `threshold` what that group was allotted, `detail` its keys.
    """

    target: int
    """Samples to keep."""

    levels: tuple[str, ...]
    """Columns of whole numbers or words, from the outer group to the inner: cluster, domain."""

    keep_best: tuple[str, ...] = ()
    """Measures, from high to low, that choose within the innermost group, then uid, shard, row.
    Empty: a draw from seed and uid chooses."""

    seed: int = 0
    """Another seed is another choice."""

    def __post_init__(self) -> None:
        if self.target < 1:
            raise ValueError(f"target must be at least 1, got {self.target}")
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels must be different columns, at least one, got {self.levels}")

    @property
    def requires(self) -> pa.Schema:
        keys = [(name, pa.string()) for name in self.levels]
        measures = [m for m in keep_best_schema(self.keep_best) if m[0] not in self.levels]
        return pa.schema(keys + measures)

    def decide(self, session: Session) -> None:
        depth = len(self.levels)
        keys = ", ".join(self.levels)
        session.create(
            f"groups_{depth}",
            f"SELECT {keys}, count(*) AS samples FROM survivors GROUP BY {keys}",
        )
        for level in range(depth - 1, 0, -1):
            keys = ", ".join(self.levels[:level])
            session.create(
                f"groups_{level}",
                f"SELECT {keys}, CAST(sum(samples) AS BIGINT) AS samples "
                f"FROM groups_{level + 1} GROUP BY {keys}",
            )
        session.create("fill_0", f"SELECT CAST({self.target} AS BIGINT) AS quota")
        for level in range(1, depth + 1):
            _pour(session, self.levels[:level])
        self._rank(session)
        session.create(
            "verdicts",
            """
            SELECT shard, row, 'over_allotment' AS reason, CAST(place AS DOUBLE) AS value,
                   CAST(quota AS DOUBLE) AS threshold, label AS detail,
                   CAST(NULL AS VARCHAR) AS kept_by, CAST(NULL AS INTEGER) AS kept_by_shard,
                   CAST(NULL AS INTEGER) AS kept_by_row
            FROM (
                SELECT r.shard, r.row, r.place, l.quota, l.label
                FROM ranked AS r JOIN leaves AS l ON l.leaf = r.leaf
            ) AS placed WHERE place > quota
            """,
        )
        for level in range(1, depth + 1):
            session.drop(f"groups_{level}", *([f"fill_{level}"] if level > 1 else []))
        session.drop("fill_0", "leaves", "candidates", "ranked")

    def notes(self, session: Session) -> dict[str, int]:
        kept = int(session.scalar("SELECT coalesce(sum(quota), 0) FROM fill_1"))
        return {"fewer than the target": self.target - kept}

    def tables(self) -> dict[str, str]:
        """`groups`: samples and allotment of each group of the first level."""
        key = self.levels[0]
        return {"groups": f"SELECT {key}, samples, quota FROM fill_1 ORDER BY {key} ASC NULLS LAST"}

    def _rank(self, session: Session) -> None:
        """`leaves`: innermost groups that are not kept whole; `ranked`: their samples in order."""
        label = " || ', ' || ".join(
            f"'{key}=' || coalesce(CAST({key} AS VARCHAR), '(none)')" for key in self.levels
        )
        keys = ", ".join(self.levels)
        order = ", ".join(f"{key} ASC NULLS LAST" for key in self.levels)
        session.create(
            "leaves",
            f"SELECT {keys}, quota, {label} AS label, row_number() OVER (ORDER BY {order}) AS leaf "
            f"FROM fill_{len(self.levels)} WHERE quota < samples",
        )
        measures = "".join(f", s.{name}" for name in self.keep_best)
        query = (
            f"SELECT s.shard, s.row, s.uid, l.leaf{measures} FROM survivors AS s "
            f"JOIN leaves AS l ON {_same(self.levels, 's', 'l')}"
        )
        order = priority(self.keep_best)
        if self.keep_best:
            session.create("candidates", query)
        else:
            order = ", ".join(f"{name} ASC NULLS LAST" for name in ("draw", *TIES))
            schema = pa.schema([*_CANDIDATE, ("draw", pa.int64())])
            session.map("candidates", query, _Draw(self.seed), schema)
        session.create(
            "ranked",
            "SELECT shard, row, leaf, "
            f"row_number() OVER (PARTITION BY leaf ORDER BY {order}) AS place FROM candidates",
        )


@dataclass(frozen=True)
class _Draw:
    """Adds to each row a number that puts rows into a random order."""

    seed: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        draws = order_keys(self.seed, _PURPOSE, *uid_words(rows["uid"]))
        return rows.append_column("draw", pa.array(draws))


def _pour(session: Session, keys: tuple[str, ...]) -> None:
    """`fill_N(keys, samples, quota)` out of `groups_N` and the quotas of the level above.

    In order of size, a group is kept whole when it and all larger ones could be that large.
    """
    level, above = len(keys), keys[:-1]
    outer = "".join(f"g.{key}, " for key in above)
    within = f"PARTITION BY {outer[:-2]} " if above else ""
    order = f"{within}ORDER BY g.samples ASC NULLS LAST, g.{keys[-1]} ASC NULLS LAST"
    listed = ", ".join(f"g.{key}" for key in keys)
    session.create(
        "poured",
        f"""
        SELECT {listed}, g.samples, f.quota,
               row_number() OVER ({order}) AS place,
               count(*) OVER ({within.strip()}) AS siblings,
               sum(g.samples) OVER (
                   {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
               ) AS through
        FROM groups_{level} AS g JOIN fill_{level - 1} AS f ON {_same(above, "g", "f")}
        """,
    )
    whole = "g.samples * (g.siblings - g.place + 1) <= g.quota - g.through + g.samples"
    session.create(
        "water",
        f"""
        SELECT {outer}
               max(g.quota) - sum(CASE WHEN {whole} THEN g.samples ELSE 0 END) AS rest,
               sum(CASE WHEN {whole} THEN 0 ELSE 1 END) AS parts
        FROM poured AS g{f" GROUP BY {outer[:-2]}" if above else ""}
        """,
    )
    session.create(
        f"fill_{level}",
        f"""
        SELECT {listed}, g.samples,
               CAST(CASE WHEN {whole} THEN g.samples
                    ELSE w.rest // w.parts
                         + CASE WHEN g.siblings - g.place < w.rest % w.parts THEN 1 ELSE 0 END
               END AS BIGINT) AS quota
        FROM poured AS g JOIN water AS w ON {_same(above, "g", "w")}
        """,
    )
    session.drop("poured", "water")


def _same(keys: tuple[str, ...], left: str, right: str) -> str:
    """A join on keys, of which any may be null; without keys everything is joined."""
    return " AND ".join(f"{left}.{k} IS NOT DISTINCT FROM {right}.{k}" for k in keys) or "TRUE"
