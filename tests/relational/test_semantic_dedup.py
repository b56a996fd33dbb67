"""semantic_dedup against SemDeDup's rule and a greedy choice, pair by pair."""

import random
import re

import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from curation.core.draw import words
from curation.relational import semantic_dedup
from curation.relational.semantic_dedup import SemanticDedup
from tests.relational.sessions import (
    EMBEDDED,
    SESSIONS,
    best_first,
    dropped,
    kept_by,
    survivors,
    verdicts,
)
from tests.relational.test_portable_selection import Whole
from tests.relational.test_portable_sql import IN_BOTH, function_name, there_and_back

WIDTH = 48


def sample(number, embedding, cluster, **measures):
    stored = None if embedding is None else np.asarray(embedding, "<f2").tobytes()
    return {
        "shard": number // 1000,
        "row": number % 1000,
        "uid": f"{number * 7919 % 100_003:032x}",
        "clip_image": stored,
        "cluster": cluster,
        **measures,
    }


def planted(seed, count=5000, clusters=40):
    """Unit vectors of which many are copies, twins at various distances, or links of a chain."""
    rng = np.random.default_rng(seed)
    found = list(rng.standard_normal((count // 2, WIDTH)))
    places = rng.integers(0, clusters, count // 2).tolist()
    while len(found) < count:
        at = int(rng.integers(len(found)))
        links = 12 if rng.random() < 0.05 else 1  # a chain: each link near the one before
        origin = found[at] / np.linalg.norm(found[at])
        for _ in range(links):
            step = rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
            origin = origin + step * rng.choice([0, 0.05, 0.2, 0.3, 0.5])
            found.append(origin)
            places.append(places[at])
    order = rng.permutation(count)
    scores = rng.choice([0.2, 0.25, 0.31, None], count).tolist()
    areas = rng.choice([1.0, 2.0], count).tolist()
    return [
        sample(
            n,
            found[at] / np.linalg.norm(found[at]),
            places[at],
            clip_score=scores[n],
            area=areas[n],
        )
        for n, at in enumerate(order)
    ]


def cosine(a, b):
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))


def by_cluster(rows, *measures):
    """Rows of each cluster in order of priority, with their embeddings."""
    ranked = best_first([row for row in rows if row["cluster"] is not None], *measures)
    groups = {}
    for row in ranked:
        groups.setdefault(row["cluster"], []).append(row)
    for group in groups.values():
        stored = b"".join(row["clip_image"] for row in group)
        vectors = np.frombuffer(stored, "<f2").reshape(len(group), -1).astype(np.float64)
        yield group, vectors


def plainly(rows, threshold, greedy, *measures):
    """Each sample is held against every one before it (that stays), one by one."""
    found = []
    for group, vectors in by_cluster(rows, *measures):
        norms = np.sqrt((vectors**2).sum(axis=1))
        first, nearest = {}, {}
        for n, row in enumerate(group):
            original = first.setdefault(row["clip_image"], n)
            if original != n:
                again = nearest.get(original) if greedy else None
                nearest[n] = again or (original, 1.0)
                continue
            before = [m for m in range(n) if not (greedy and m in nearest)]
            near = [float(vectors[n] @ vectors[m] / (norms[n] * norms[m])) for m in before]
            if near and max(near) > threshold:
                best = int(np.argmax(near))
                nearest[n] = (before[best], min(near[best], 1.0))
        for n, (twin, value) in nearest.items():
            end = twin
            while end in nearest:
                end = nearest[end][0]
            detail = None if end == twin else f"nearest: {group[twin]['uid']}"
            found.append(
                dropped(group[n], "semantic_twin", value=value, threshold=threshold,
                        detail=detail, **kept_by(group[end]))
            )  # fmt: skip
    return sorted(found, key=lambda v: (v["shard"], v["row"]))


def places(said):
    return {(v["shard"], v["row"]) for v in said}


@pytest.mark.parametrize("mode", ["reference", "greedy"])
def test_is_the_choice_over_all_pairs(decide, mode):
    rows = planted(1)
    said = decide(SemanticDedup(name="s", mode=mode), rows)
    assert said == plainly(rows, 0.95, mode == "greedy", "clip_score", "area")
    assert len(said) > 500
    assert any(v["detail"] for v in said) == (mode == "reference")


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.1])
def test_reference_drops_what_semdedup_drops(decide, epsilon):
    """semdedup.py: float32 similarities of sorted items, upper triangle, maximum by column."""
    rows = planted(2)
    expected, margin = set(), 1.0
    for group, vectors in by_cluster(rows, "area"):
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        similar = np.triu(unit @ unit.T, k=1)
        margin = min(margin, abs(similar - (1 - epsilon)).min())
        remove = similar.max(axis=0) > 1 - epsilon
        expected |= {(r["shard"], r["row"]) for r, gone in zip(group, remove, strict=True) if gone}
    assert margin > 5e-7  # no pair so near to the threshold that float32 decides it
    step = SemanticDedup(name="s", mode="reference", epsilon=epsilon, keep_best=("area",))
    assert places(decide(step, rows)) == expected
    assert len(expected) > 300


def test_greedy_keeps_what_reference_drops_for_a_sample_that_goes(decide):
    angles = np.deg2rad([0, 15, 30, 45])  # cosine 0.966 to the neighbour, 0.866 to the next
    rows = [sample(n, [np.cos(a), np.sin(a)], 3, area=float(9 - n)) for n, a in enumerate(angles)]
    greedy = decide(SemanticDedup(name="s"), rows)
    reference = decide(SemanticDedup(name="s", mode="reference"), rows)
    assert [(v["row"], v["kept_by_row"], v["detail"]) for v in greedy] == [
        (1, 0, None),
        (3, 2, None),
    ]
    assert [(v["row"], v["kept_by_row"], v["detail"]) for v in reference] == [
        (1, 0, None),
        (2, 0, f"nearest: {rows[1]['uid']}"),
        (3, 0, f"nearest: {rows[2]['uid']}"),
    ]


@pytest.mark.parametrize("mode", ["reference", "greedy"])
@EMBEDDED
def test_does_not_depend_on_row_order_threads_or_blocks(decide, mode, monkeypatch):
    rows = planted(3, 2000, 2)
    step = SemanticDedup(name="s", mode=mode)
    said = []
    for seed, threads, block, earlier in ((0, 1, 1024, 2048), (1, 2, 64, 100), (2, 4, 7, 33)):
        monkeypatch.setattr(semantic_dedup, "_BLOCK", block)
        monkeypatch.setattr(semantic_dedup, "_EARLIER", earlier)
        shuffled = random.Random(seed).sample(rows, len(rows))
        said.append(decide(step, shuffled, threads=threads))
    assert said[0] == said[1] == said[2] != []


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_of_several_as_near_the_first_in_order(decide, block, monkeypatch):
    monkeypatch.setattr(semantic_dedup, "_BLOCK", block)
    monkeypatch.setattr(semantic_dedup, "_EARLIER", block)
    vectors = [[0.5, 0], [1, 0], [0.25, 0], [1, -0.3]]
    rows = [sample(n, vector, 0, area=float(-n)) for n, vector in enumerate(vectors)]
    step = SemanticDedup(name="s", mode="reference", keep_best=("area",))
    assert [v["detail"] for v in decide(step, rows)] == [None, None, None]


FEW, OTHERS = st.sampled_from([0, 0.5, 1]), st.sampled_from([-0.3, 0, 0.5, 1])
VECTORS = st.none() | st.tuples(FEW, OTHERS).filter(any)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(VECTORS, st.sampled_from([1.0, None])), max_size=30),
    st.sampled_from([0.01, 0.05, 0.3]),
    st.booleans(),
    st.sampled_from([1, 3, 1024]),
    st.randoms(),
)
def test_small_crowded_clusters(decide, given_, epsilon, greedy, block, shuffle):
    """Among few directions: copies, parallel vectors of other lengths, ties."""
    rows = [
        sample(n, vector, None if vector is None else n % 2, area=area)
        for n, (vector, area) in enumerate(given_)
    ]
    shuffle.shuffle(rows)
    mode = "greedy" if greedy else "reference"
    step = SemanticDedup(name="s", mode=mode, epsilon=epsilon, keep_best=("area",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_dedup, "_BLOCK", block)
        patch.setattr(semantic_dedup, "_EARLIER", block)
        said = decide(step, rows)
    assert said == plainly(rows, 1 - epsilon, greedy, "area")


def test_one_cluster_of_twins_holding_everything(decide):
    """All alike: the best stays, whichever way, and the first of the order names it."""
    rng = np.random.default_rng(5)
    base = rng.standard_normal(WIDTH)
    rows = [
        sample(n, (v := base + 0.02 * rng.standard_normal(WIDTH)) / np.linalg.norm(v), 0,
               area=float(n % 97))
        for n in range(3000)
    ]  # fmt: skip
    best = best_first(rows, "area")[0]
    for mode in ("greedy", "reference"):
        said = decide(SemanticDedup(name="s", mode=mode, keep_best=("area",)), rows)
        assert len(said) == len(rows) - 1
        assert {v["kept_by"] for v in said} == {best["uid"]}


def test_a_cluster_above_the_maximum_is_compared_part_by_part(decide):
    """1,000 samples at 300 a part are 4 parts of 250, along a direction of draws of 1 and -1."""
    rows = planted(7, 1000, 1)
    said = decide(SemanticDedup(name="s", max_cluster=300), rows)
    signs = [1 if int(word) % 2 else -1 for word in words(0, "semantic_dedup", np.arange(WIDTH))]

    def along(row):
        halves = np.frombuffer(row["clip_image"], "<f2").tolist()
        return sum(sign * x for sign, x in zip(signs, halves, strict=True))

    ordered = sorted(rows, key=lambda r: (along(r), r["uid"], r["shard"], r["row"]))
    parts = [{**row, "cluster": place // 250} for place, row in enumerate(ordered)]
    assert said == plainly(parts, 0.95, True, "clip_score", "area") != []
    whole = decide(SemanticDedup(name="s", max_cluster=1000), rows)
    assert whole == plainly(rows, 0.95, True, "clip_score", "area")
    assert len(whole) / 2 < len(said) < len(whole)


def open_session(step, rows):
    return next(iter(SESSIONS.values()))(survivors(step, rows))


def test_says_what_it_could_not_compare():
    rows = planted(8, 200, 2)
    for row in rows[:30]:
        row["cluster"] = None
    largest = max(sum(r["cluster"] == c for r in rows) for c in (0, 1))
    for step, more in (
        (SemanticDedup(name="s"), {}),
        (SemanticDedup(name="s", max_cluster=largest - 1),
         {"compared within parts of their cluster": largest}),
    ):  # fmt: skip
        with open_session(step, rows) as session:
            step.decide(session)
            assert step.notes(session) == {"not compared: no cluster": 30, **more}
            assert not places(verdicts(session)) & {(r["shard"], r["row"]) for r in rows[:30]}


def test_tables_tell_clusters_and_groups():
    rows = [
        sample(n, [1, n * 0.01, 0] if n < 4 else [0, n == 4, n > 4], n // 4, area=float(-n))
        for n in range(8)
    ]
    step = SemanticDedup(name="s", keep_best=("area",))
    with open_session(step, rows) as session:
        step.decide(session)
        tables = {n: session.rows(q).to_pylist() for n, q in step.tables().items()}
    assert tables["clusters"] == [
        {"cluster": 0, "members": 4, "kept": 1},
        {"cluster": 1, "members": 4, "kept": 2},
    ]
    groups = [(g["uid"], g["row"], g["twins"], g["least_value"]) for g in tables["groups"]]
    third = np.frombuffer(rows[3]["clip_image"], "<f2").astype(np.float64)
    first = np.array([1.0, 0, 0])
    assert groups == [
        (rows[0]["uid"], 0, 3, cosine(third, first)),
        (rows[5]["uid"], 5, 2, 1.0),
    ]


def test_no_survivor_and_no_cluster_drop_nothing(decide):
    assert decide(SemanticDedup(name="s"), []) == []
    rows = [sample(n, None, None) for n in range(5)]
    assert decide(SemanticDedup(name="s"), rows) == []


def test_an_embedding_that_is_missing_from_its_cluster_stays(decide):
    rows = [
        sample(0, [1, 0], 0),
        sample(1, None, 0),
        sample(2, [np.nan, 0], 0),
        sample(3, [1, 0], 0),
    ]
    assert len(decide(SemanticDedup(name="s"), rows)) == 1
    assert decide(SemanticDedup(name="s"), rows[1:3]) == []


class Carried(Whole):
    """Every query through Spark's dialect and back; notes them."""

    def __init__(self, inner):
        self.queries = []
        super().__init__(inner, self._carry)

    def _carry(self, query):
        self.queries.append(query)
        return there_and_back(query)

    def groups(self, table, query, key, function, schema):
        self._inner.groups(table, self._carry(query), key, function, schema)


def test_what_spark_is_given_means_the_same_and_keeps_the_rules(decide):
    rows = planted(9, 600, 3)
    step = SemanticDedup(name="s", max_cluster=150)
    with open_session(step, rows) as inner:
        session = Carried(inner)
        step.decide(session)
        assert verdicts(inner) == decide(step, rows) != []
        assert step.notes(session)
    for query in session.queries:
        tree = sqlglot.parse_one(query, read="duckdb")
        ordered = list(tree.find_all(exp.Ordered))
        assert len(re.findall(r"\b(?:ASC|DESC) NULLS LAST\b", query)) == len(ordered), query
        assert not list(tree.find_all(exp.Qualify, exp.Sum, exp.Avg, exp.Rand, exp.Limit)), query
        assert set(map(function_name, tree.find_all(exp.Func))) <= IN_BOTH, query
        for window in tree.find_all(exp.Window):
            keys = [key.this.name for key in window.args["order"].expressions]
            assert keys[-3:] == ["uid", "shard", "row"], query


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epsilon": 0.0}, "epsilon must be between 0 and 1"),
        ({"epsilon": 1.0}, "epsilon must be between 0 and 1"),
        ({"mode": "fast"}, "mode must be greedy or reference"),
        ({"max_cluster": 1}, "max_cluster must be at least 2"),
    ],
)
def test_settings_without_meaning_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        SemanticDedup(name="s", **wrong)


def test_requires_what_it_reads():
    assert SemanticDedup(name="s", keep_best=("blur",)).requires == pa.schema(
        [
            ("cluster", pa.int32()),
            ("clip_image", pa.binary()),
            ("blur", pa.float64()),
        ]
    )
