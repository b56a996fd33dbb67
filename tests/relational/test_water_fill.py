"""water_fill against pouring one sample at a time."""

import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.draw import order_keys
from curation.relational.water_fill import WaterFill
from tests.relational.sessions import (
    EMBEDDED,
    OPENED,
    SESSIONS,
    best_first,
    dropped,
    survivors,
    verdicts,
)


def key_order(value):
    return (value is None, value if value is not None else 0)


def grouped(rows, level):
    groups = defaultdict(list)
    for row in rows:
        groups[row[level]].append(row)
    return groups


def poured(sizes, target):
    """One each to every group that is not full, round by round; the last round, where it does not
    reach all, goes to the largest groups (then the last in key order)."""
    quotas = dict.fromkeys(sizes, 0)
    left = min(target, sum(sizes.values()))
    while left:
        thirsty = [key for key in sizes if quotas[key] < sizes[key]]
        thirsty.sort(key=lambda key: (sizes[key], key_order(key)), reverse=True)
        for key in thirsty[:left]:
            quotas[key] += 1
        left -= min(left, len(thirsty))
    return quotas


def by_draw(rows, seed):
    def key(row):
        words = (
            np.array([int(half, 16)], np.uint64) for half in (row["uid"][:16], row["uid"][16:])
        )
        return int(order_keys(seed, "water_fill", *words)[0]), row["uid"], row["shard"], row["row"]

    return sorted(rows, key=key)


def plainly(rows, target, levels, keep_best=(), seed=0, path=()):
    if not levels:
        ranked = best_first(rows, *keep_best) if keep_best else by_draw(rows, seed)
        label = ", ".join(f"{k}={'(none)' if v is None else v}" for k, v in path)
        return [
            dropped(row, "over_allotment", value=place, threshold=target, detail=label)
            for place, row in enumerate(ranked, 1)
            if place > target
        ]
    groups = grouped(rows, levels[0])
    quotas = poured({key: len(members) for key, members in groups.items()}, target)
    return [
        verdict
        for key, members in groups.items()
        for verdict in plainly(
            members, quotas[key], levels[1:], keep_best, seed, (*path, (levels[0], key))
        )
    ]


def expected(*args, **options):
    return sorted(plainly(*args, **options), key=lambda v: (v["shard"], v["row"]))


def corpus(seed, count=2000):
    rng = np.random.default_rng(seed)
    clusters = rng.zipf(1.4, count) % 40
    return [
        {"shard": n // 300, "row": n % 300, "uid": f"{n * 0x9E3779B97F4A7C15F39C % 2**128:032x}",
         "cluster": None if n % 31 == 0 else str(clusters[n]),
         "domain": None if n % 17 == 0 else f"site{rng.zipf(1.6) % 30}",
         "clip_score": float(rng.integers(10)) if n % 7 else None}
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("keep_best", [(), ("clip_score",)])
@pytest.mark.parametrize("levels", [("cluster",), ("domain", "cluster")])
@pytest.mark.parametrize("target", [1, 13, 500, 1999])
def test_is_pouring_one_sample_at_a_time(decide, target, levels, keep_best):
    rows = corpus(target)
    step = WaterFill(name="w", target=target, levels=levels, keep_best=keep_best, seed=3)
    said = decide(step, rows)
    assert said == expected(rows, target, levels, keep_best, 3)
    assert len(rows) - len(said) == target


def test_no_more_than_there_is(decide):
    rows = corpus(1, 300)
    for target in (300, 301, 10_000):
        assert decide(WaterFill(name="w", target=target, levels=("cluster", "domain")), rows) == []


@pytest.mark.parametrize("opened", OPENED)
def test_keys_may_be_numbers(opened):
    """They keep their own order: of equally large groups 10 comes after 9."""
    rows = [row | {"cluster": n % 12} for n, row in enumerate(corpus(8, 600))]
    step = WaterFill(name="w", target=101, levels=("cluster", "domain"))
    words = [row | {"cluster": str(row["cluster"])} for row in rows]
    table = survivors(step, words)
    place = table.column_names.index("cluster")
    table = table.set_column(place, "cluster", table["cluster"].cast(pa.int32()))
    with SESSIONS[opened](table) as session:
        step.decide(session)
        assert verdicts(session) == expected(rows, 101, ("cluster", "domain"))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.none() | st.sampled_from("xy"),
                       st.integers(0, 12)), max_size=30),
    st.integers(1, 35),
    st.randoms(),
)  # fmt: skip
def test_small_crowded_corpora(decide, given_, target, shuffle):
    rows = [
        {"shard": n % 2, "row": n, "uid": f"{uid:032x}", "cluster": cluster, "domain": domain}
        for n, (cluster, domain, uid) in enumerate(given_)
    ]
    levels = ("cluster", "domain")
    said = decide(
        WaterFill(name="w", target=target, levels=levels), shuffle.sample(rows, len(rows))
    )
    assert len(rows) - len(said) == min(target, len(rows))
    assert said == expected(rows, target, levels)


def test_groups_smaller_than_their_share_give_the_rest_back(decide):
    rows = [
        {"shard": 0, "row": n, "uid": f"{n:032x}", "cluster": "abc"[(n >= 2) + (n >= 10)]}
        for n in range(40)
    ]
    said = decide(WaterFill(name="w", target=21, levels=("cluster",)), rows)
    gone = {v["row"] for v in said}
    assert Counter(r["cluster"] for r in rows if r["row"] not in gone) == {"a": 2, "b": 8, "c": 11}


def test_another_seed_is_another_choice_of_the_same_sizes(decide):
    rows = corpus(5, 600)
    said = [
        decide(WaterFill(name="w", target=100, levels=("cluster",), seed=seed), rows)
        for seed in (0, 1)
    ]
    gone = [{(v["shard"], v["row"]) for v in verdicts} for verdicts in said]
    assert gone[0] != gone[1]
    sizes = [Counter(v["detail"] for v in verdicts) for verdicts in said]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("keep_best", [(), ("clip_score",)])
@EMBEDDED
def test_does_not_depend_on_row_order_or_threads(decide, keep_best):
    rows = corpus(6)
    step = WaterFill(name="w", target=700, levels=("cluster", "domain"), keep_best=keep_best)
    said = [
        decide(step, random.Random(seed).sample(rows, len(rows)), threads=threads)
        for seed, threads in ((0, 1), (1, 2), (2, 4))
    ]
    assert said[0] == said[1] == said[2] != []


@pytest.mark.parametrize("opened", OPENED)
def test_keeps_the_allotments_and_says_what_is_lacking(opened):
    rows = [
        {"shard": 0, "row": n, "uid": f"{n:032x}", "cluster": [None, "a", "b"][min(n, 2)]}
        for n in range(6)
    ]
    for target, quotas in ((3, (1, 1, 1)), (4, (1, 2, 1)), (9, (1, 4, 1))):
        step = WaterFill(name="w", target=target, levels=("cluster",))
        with SESSIONS[opened](survivors(step, rows)) as session:
            step.decide(session)
            (query,) = step.tables().values()
            assert session.rows(query).to_pylist() == [
                {"cluster": key, "samples": samples, "quota": quota}
                for key, samples, quota in zip(("a", "b", None), (1, 4, 1), quotas, strict=True)
            ]
            assert step.notes(session) == {"fewer than the target": max(0, target - 6)}


def test_an_empty_corpus_has_no_verdicts(decide):
    assert decide(WaterFill(name="w", target=5, levels=("cluster", "domain")), []) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": 0, "levels": ("cluster",)}, "target must be at least 1"),
        ({"target": 5, "levels": ()}, "levels must be different columns"),
        ({"target": 5, "levels": ("cluster", "cluster")}, "levels must be different columns"),
    ],
)
def test_what_has_no_meaning_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        WaterFill(name="w", **options)
