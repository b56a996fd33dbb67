"""Images that say the same thing: SemDeDup within visual clusters.

Abbas et al., "SemDeDup: Data-efficient learning at web-scale through semantic deduplication"
(2023); facebookresearch/SemDeDup, semdedup.py. Cosines come from exact products (core/embedding):
what is dropped depends on no block size, thread or processor.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.draw import words
from curation.core.embedding import Doubles, Halves, Mask, squared_norms, vectors
from curation.core.step import RelationalStep, Session
from curation.relational.keep_best import keep_best_schema, priority

Places = npt.NDArray[np.int64]

_TWINS = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("value", pa.float64()),
        ("detail", pa.string()),
        ("kept_by", pa.string()),
        ("kept_by_shard", pa.int32()),
        ("kept_by_row", pa.int32()),
    ]
)

_PROJECTED = pa.schema([("shard", pa.int32()), ("row", pa.int32()), ("along", pa.float64())])

_BLOCK = 1024
"""Rows compared at once with `_EARLIER` before them: 16 MB of cosines."""
_EARLIER = 2048

_PARTS = 1 << 20
"""More than the parts that a cluster can be cut into."""

_LARGEST_GROUPS = 1000


@dataclass(frozen=True, kw_only=True)
class SemanticDedup(RelationalStep):
    """In order of priority, drops what has a cosine above 1 - epsilon to one before, by cluster.

    `reference` compares with every sample before it, dropped or not, as SemDeDup's code does: of a
    chain a-b-c of neighbours b and c go, although c is unlike a. `greedy` compares with those that
    stay: c stays. `value` is the cosine to the nearest of these (the best of several); under
    `reference` that one may be dropped itself: `detail` then names it and `kept_by` the sample that
    stays at the end of the chain. Of equal embeddings the later ones share the fate of the first.

    A cluster above `max_cluster` is cut into parts of equal size along a random direction, and
    samples of different parts are not compared: twins lie near each other on it, but those that a
    cut separates both stay (of twins at a cosine of 0.97 in one round cluster of 512 numbers, 2
    parts find 9 of 10, 4 parts 7). Samples of cut clusters and those without one are noted.
    """

    mode: Literal["greedy", "reference"] = "greedy"
    """What a sample is compared with: those that stay, or all before it."""

    epsilon: float = 0.05
    """1 - cosine below which two are twins, 0 to 1. SemDeDup chooses it by the share to keep."""

    keep_best: tuple[str, ...] = ("clip_score", "area")
    """Measures, from high to low, that give the order; then uid, shard, row. (SemDeDup: the
    distance to the centroid, from high to low.)"""

    max_cluster: int = 100_000
    """Samples compared with each other at most; 100,000 of 512 numbers take about 1 GB and, on 2
    cores, some minutes."""

    def __post_init__(self) -> None:
        if self.mode not in ("greedy", "reference"):
            raise ValueError(f"mode must be greedy or reference, got {self.mode!r}")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be between 0 and 1, got {self.epsilon}")
        if self.max_cluster < 2:
            raise ValueError(f"max_cluster must be at least 2, got {self.max_cluster}")

    @property
    def requires(self) -> pa.Schema:
        columns = [("cluster", pa.int32()), ("clip_image", pa.binary())]
        return pa.schema(columns + keep_best_schema(self.keep_best))

    def notes(self, session: Session) -> dict[str, int]:
        without = session.scalar("SELECT count(*) FROM survivors WHERE cluster IS NULL")
        sizes = session.rows(f"SELECT members FROM sizes WHERE members > {self.max_cluster}")
        cut = sum(sizes["members"].to_pylist())
        said = {"not compared: no cluster": int(without)}
        return {**said, "compared within parts of their cluster": cut} if cut else said

    def tables(self) -> dict[str, str]:
        """`clusters`: samples that came and that stay. `groups`: the most twins of one sample."""
        return {
            "clusters": "SELECT s.cluster, s.members, s.members - coalesce(d.dropped, 0) AS kept "
            "FROM sizes AS s LEFT JOIN dropped AS d ON d.cluster = s.cluster "
            "ORDER BY s.cluster ASC NULLS LAST",
            "groups": "SELECT uid, shard, row, twins, least_value FROM twin_groups "
            "ORDER BY place ASC NULLS LAST",
        }

    def decide(self, session: Session) -> None:
        session.create(
            "sizes",
            "SELECT cluster, count(*) AS members FROM survivors "
            "WHERE cluster IS NOT NULL GROUP BY cluster",
        )
        session.map(
            "projected",
            "SELECT s.shard, s.row, s.clip_image FROM survivors AS s "
            f"JOIN sizes AS z ON z.cluster = s.cluster WHERE z.members > {self.max_cluster}",
            _project,
            _PROJECTED,
        )
        order = priority(self.keep_best, "s")
        parts = f"((z.members + {self.max_cluster - 1}) // {self.max_cluster})"
        session.create(
            "places",
            f"""
            SELECT s.shard, s.row, s.cluster, z.members, {parts} AS parts,
                   row_number() OVER (PARTITION BY s.cluster ORDER BY {order}) AS place,
                   row_number() OVER (
                       PARTITION BY s.cluster
                       ORDER BY j.along ASC NULLS LAST, {priority((), "s")}
                   ) - 1 AS along_place
            FROM survivors AS s JOIN sizes AS z ON z.cluster = s.cluster
            LEFT JOIN projected AS j ON j.shard = s.shard AND j.row = s.row
            WHERE z.members > 1
            """,
        )
        session.groups(
            "twins",
            f"""
            SELECT CAST(p.cluster AS BIGINT) * {_PARTS}
                       + (p.along_place * p.parts) // p.members AS part,
                   p.place, s.shard, s.row, s.uid, s.clip_image
            FROM places AS p JOIN survivors AS s ON s.shard = p.shard AND s.row = p.row
            """,
            "part",
            partial(_twins, 1 - self.epsilon, self.mode == "greedy"),
            _TWINS,
        )
        session.create(
            "verdicts",
            f"""
            SELECT shard, row, 'semantic_twin' AS reason, value,
                   CAST('{1 - self.epsilon!r}' AS DOUBLE) AS threshold, detail,
                   kept_by, kept_by_shard, kept_by_row
            FROM twins
            """,
        )
        _count(session)
        session.drop("projected", "places", "twins")


def _count(session: Session) -> None:
    """`dropped`: by cluster. `twin_groups`: samples that stay with the most twins."""
    session.create(
        "dropped",
        "SELECT p.cluster, count(*) AS dropped FROM twins AS t "
        "JOIN places AS p ON p.shard = t.shard AND p.row = t.row GROUP BY p.cluster",
    )
    session.create(
        "all_groups",
        "SELECT kept_by AS uid, kept_by_shard AS shard, kept_by_row AS row, count(*) AS twins, "
        "min(value) AS least_value FROM twins GROUP BY kept_by, kept_by_shard, kept_by_row",
    )
    session.create(
        "ranked_groups",
        f"SELECT uid, shard, row, twins, least_value, "
        f"row_number() OVER (ORDER BY twins DESC NULLS LAST, {priority(())}) AS place "
        "FROM all_groups",
    )
    session.create(
        "twin_groups",
        "SELECT uid, shard, row, twins, least_value, place FROM ranked_groups "
        f"WHERE place <= {_LARGEST_GROUPS}",
    )
    session.drop("all_groups", "ranked_groups")


def _project(rows: pa.Table) -> pa.Table:
    """Where embeddings lie along the direction in which large clusters are cut."""
    halves, usable = vectors(rows["clip_image"])
    odd = words(0, "semantic_dedup", np.arange(halves.shape[1])) & np.uint64(1)
    along = halves.astype(np.float64) @ np.where(odd, 1.0, -1.0)  # exact, as other products
    columns = [rows["shard"], rows["row"], pa.array(along, mask=~usable)]
    return pa.Table.from_arrays(columns, schema=_PROJECTED)


def _twins(threshold: float, greedy: bool, group: pa.Table) -> pa.Table:
    """What is dropped of a cluster or a part of one (`_TWINS`)."""
    group = group.sort_by("place")
    halves, usable = vectors(group["clip_image"])
    group = group.filter(pa.array(usable))
    twin, value = nearest_before(halves[usable], threshold, greedy)
    gone = np.flatnonzero(twin >= 0)
    stays = _end_of_chain(twin)[gone]
    uids = group["uid"].combine_chunks()
    through = pa.array(twin[gone], mask=twin[gone] == stays)
    named = pc.binary_join_element_wise("nearest: ", uids.take(through), "")
    rows, best = group.take(pa.array(gone)), group.take(pa.array(stays))
    columns = [rows["shard"], rows["row"], pa.array(value[gone]), named]
    columns += [best["uid"], best["shard"], best["row"]]
    return pa.Table.from_arrays(columns, schema=_TWINS)


def _end_of_chain(twin: Places) -> Places:
    """Of each row the one that stays when twins are followed; the row itself if it stays."""
    end = np.where(twin < 0, np.arange(len(twin)), twin)
    while (end != end[end]).any():
        end = end[end]
    return end


def nearest_before(rows: Halves, threshold: float, greedy: bool) -> tuple[Places, Doubles]:
    """Of each row, in order of priority, its nearest twin before it, and the cosine to it.

    A twin's cosine is above `threshold`; -1 where there is none. `greedy` looks only at rows that
    have no twin themselves. The twin of a copy is the first of its kind; under `greedy`, where
    that has a twin, the same one.
    """
    first, kind = _distinct(rows)
    twin, value = _compare(rows[first], threshold, greedy)
    twin = np.where(twin < 0, -1, first[twin])[kind]
    value = value[kind]
    copy = first[kind] != np.arange(len(rows))
    nearest = copy & (twin < 0) if greedy else copy
    twin[nearest] = first[kind][nearest]
    value[nearest] = 1.0
    return twin, value


def _distinct(rows: Halves) -> tuple[Places, Places]:
    """First places of distinct rows, in order, and of each row the number of its like."""
    if not rows.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    whole = np.ascontiguousarray(rows)
    keys = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1]))).ravel()
    _, first, kind = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return first[order], number[kind]


def _compare(rows: Halves, threshold: float, greedy: bool) -> tuple[Places, Doubles]:
    """`nearest_before` of distinct rows, a block of them after the other."""
    wide = rows.astype(np.float32)  # half the memory of float64, and as exact
    norms = np.sqrt(squared_norms(rows))
    twin = np.full(len(rows), -1, np.int64)
    value = np.full(len(rows), threshold)
    for start in range(0, len(rows), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rows)))
        given = wide[block].astype(np.float64)
        before = np.flatnonzero(twin[:start] < 0) if greedy else np.arange(start)
        for low in range(0, len(before), _EARLIER):
            some = before[low : low + _EARLIER]
            _look(given @ wide[some].astype(np.float64).T, norms, block, some, twin, value)
        inner = given @ given.T
        inner[np.triu_indices(len(block))] = -np.inf
        if greedy:
            cosines = inner / np.outer(norms[block], norms[block])
            inner[:, ~_stays(cosines, twin[block] < 0, threshold)] = -np.inf
        _look(inner, norms, block, block, twin, value)
    return twin, np.minimum(value, 1.0)


def _look(
    products: Doubles, norms: Doubles, block: Places, some: Places, twin: Places, value: Doubles
) -> None:
    """Takes for each row of `block` the best of `some`, the first of several, if it is nearer."""
    bound = value[block] * norms[block] * norms[some].min() * (1 - 1e-12)
    near = np.flatnonzero(products.max(axis=1) > bound)  # few: the rest needs no division
    cosines = products[near] / (norms[block[near], None] * norms[some])
    best = cosines.argmax(axis=1)
    found = cosines[np.arange(len(near)), best]
    nearer = found > value[block[near]]
    value[block[near[nearer]]] = found[nearer]
    twin[block[near[nearer]]] = some[best[nearer]]


def _stays(cosines: Doubles, undecided: Mask, threshold: float) -> Mask:
    """Of rows in order the greedy choice: the undecided that are unlike any chosen before."""
    stays = undecided.copy()
    for row in np.flatnonzero(undecided & (cosines.max(axis=1) > threshold)):
        stays[row] = not (cosines[row, :row][stays[:row]] > threshold).any()
    return stays
