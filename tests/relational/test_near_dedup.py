"""near_dedup against a greedy choice over all pairs, in priority order."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.relational import near_dedup
from curation.relational.near_dedup import NearDedup
from tests.relational.sessions import (
    EMBEDDED,
    OPENED,
    SESSIONS,
    best_first,
    dropped,
    kept_by,
    survivors,
)
from tests.relational.test_hamming import apart, flipped


def sample(number, phash, area=None):
    return {
        "shard": number // 1000,
        "row": number % 1000,
        "uid": f"{number * 7919 % 100_003:032x}",
        "phash": phash,
        "area": area,
    }


def plainly(rows, distance, *measures):
    """In priority order, a sample stays unless it is within `distance` of one that stayed.

    It names the best sample of its own hash if that one stays, else the best one near it.
    """
    ranked = best_first([row for row in rows if row["phash"] is not None], *measures)
    kept, heads, found = [], {}, []
    hashes = np.zeros(len(ranked), np.int64)
    for row in ranked:
        head = heads.setdefault(row["phash"], row)
        if head is not row:
            continue
        differing = (hashes[: len(kept)] ^ np.int64(row["phash"])).view(np.uint64)
        near = np.bitwise_count(differing) <= distance
        if near.any():
            heads[row["phash"]] = kept[int(np.flatnonzero(near)[0])]
        else:
            hashes[len(kept)] = row["phash"]
            kept.append(row)
    standing = {(row["shard"], row["row"]) for row in kept}
    for row in ranked:
        if (row["shard"], row["row"]) in standing:
            continue
        best = heads[row["phash"]]
        found.append(
            dropped(row, "near_image", value=apart(row["phash"], best["phash"]),
                    threshold=distance, **kept_by(best))
        )  # fmt: skip
    return sorted(found, key=lambda v: (v["shard"], v["row"]))


def planted(seed, count=5000):
    """Random hashes of which many are copies, neighbours at 0 to 5 bits, or links of a chain."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(-(1 << 63), (1 << 63) - 1, count // 2).tolist()
    while len(hashes) < count:
        origin = hashes[rng.integers(len(hashes))]
        if rng.random() < 0.1:  # a chain: each link near the one before, far from the first
            for _ in range(rng.integers(3, 40)):
                origin = flipped(origin, rng.choice(64, 2, replace=False).tolist())
                hashes.append(origin)
        else:
            bits = rng.choice(64, rng.integers(6), replace=False).tolist()
            hashes.append(flipped(origin, bits))
    areas = rng.choice([1.0, 2.0, 3.0, None], count).tolist()
    nulls = set(rng.choice(count, 20, replace=False).tolist())
    order = rng.permutation(count).tolist()
    return [
        sample(n, None if n in nulls else hashes[place], areas[n])
        for n, place in enumerate(order)
    ]  # fmt: skip


@pytest.mark.parametrize("distance", [0, 3, 5])
def test_is_the_greedy_choice_over_all_pairs(decide, distance):
    rows = planted(distance)
    said = decide(NearDedup(name="near", distance=distance), rows)
    expected = plainly(rows, distance, "area")
    assert said == expected
    assert len(said) > 100


@EMBEDDED
def test_does_not_depend_on_row_order_or_threads(decide):
    rows = planted(11, 2000)
    step = NearDedup(name="near")
    said = [
        decide(step, random.Random(seed).sample(rows, len(rows)), threads=threads)
        for seed, threads in ((0, 1), (1, 2), (2, 4))
    ]
    assert said[0] == said[1] == said[2] != []


SMALL = st.lists(
    st.tuples(
        st.none() | st.integers(0, 63).map(lambda n: n | (n & 7) << 30 | (n & 3) << 62),
        st.none() | st.sampled_from([1.0, 2.0]),
    ),
    max_size=40,
)


@settings(max_examples=25)
@given(SMALL, st.integers(0, 4), st.sampled_from([(), ("area",)]), st.randoms())
def test_small_crowded_corpora(decide, given_, distance, measures, shuffle):
    rows = [
        sample(n, None if value is None else flipped(value, ()), area)
        for n, (value, area) in enumerate(given_)
    ]
    step = NearDedup(name="near", distance=distance, keep_best=measures)
    assert decide(step, shuffle.sample(rows, len(rows))) == plainly(rows, distance, *measures)


@pytest.mark.parametrize("rounds", [0, 1, 2])
@EMBEDDED
def test_what_the_rounds_leave_is_decided_the_same(decide, monkeypatch, rounds):
    rows = planted(21, 1500)
    expected = decide(NearDedup(name="near"), rows)
    monkeypatch.setattr(near_dedup, "_ROUNDS", rounds)
    assert decide(NearDedup(name="near"), rows) == expected


def test_a_chain_loses_every_other_link_and_unlike_ends_stay(decide):
    hashes = [0]
    for link in range(39):
        hashes.append(flipped(hashes[-1], [(3 * link) % 64, (3 * link + 1) % 64]))
    rows = [sample(n, value, 1000.0 - n) for n, value in enumerate(hashes)]
    said = decide(NearDedup(name="near", distance=3), rows)
    assert said == plainly(rows, 3, "area")
    assert 18 <= len(said) <= 30


def test_equal_hashes_are_collapsed_into_one(decide):
    """A thousand copies of one hash make no pairs; the best of them stays, and names the rest."""
    rows = [sample(n, 5 if n < 1000 else 31 << 40, float(n % 7)) for n in range(1003)]
    said = decide(NearDedup(name="near"), rows)
    assert len(said) == 999 + 2
    assert Counter((v["kept_by"], v["value"]) for v in said).most_common() == [
        ((best_first(rows[:1000], "area")[0]["uid"], 0.0), 999),
        ((best_first(rows[1000:], "area")[0]["uid"], 0.0), 2),
    ]


def test_copies_of_a_hash_that_goes_name_what_stays(decide):
    rows = [
        sample(0, 0b0011, 1.0),
        sample(1, 0b0011, 2.0),
        sample(2, 0b0000, 9.0),
    ]
    said = decide(NearDedup(name="near"), rows)
    assert said == [
        dropped(row, "near_image", value=2, threshold=3, **kept_by(rows[2])) for row in rows[:2]
    ]


@pytest.mark.parametrize("opened", OPENED)
def test_samples_without_a_hash_are_not_compared_and_are_counted(opened):
    rows = [sample(n, None) for n in range(5)] + [sample(5, 1)]
    step = NearDedup(name="near")
    with SESSIONS[opened](survivors(step, rows)) as session:
        step.decide(session)
        assert session.scalar("SELECT count(*) FROM verdicts") == 0
        assert step.notes(session) == {"not compared: degenerate hash": 5}


@pytest.mark.parametrize("seed", range(3))
def test_one_of_every_equal_hash_stays_or_a_kept_one_is_near(decide, seed):
    rows = planted(seed + 30, 1500)
    said = {(v["shard"], v["row"]): v for v in decide(NearDedup(name="near"), rows)}
    by_place = {(row["shard"], row["row"]): row for row in rows}
    kept = Counter(row["phash"] for place, row in by_place.items() if place not in said)
    del kept[None]
    assert set(kept.values()) == {1}
    for place, verdict in said.items():
        twin = (verdict["kept_by_shard"], verdict["kept_by_row"])
        assert twin not in said
        assert by_place[twin]["uid"] == verdict["kept_by"]
        bits = apart(by_place[place]["phash"], by_place[twin]["phash"])
        assert bits == verdict["value"] <= 3


@pytest.mark.parametrize("distance", [-1, 13])
def test_a_distance_out_of_range_is_refused(distance):
    with pytest.raises(ValueError, match="distance must be 0 to 12"):
        NearDedup(name="near", distance=distance)


def test_an_empty_corpus_has_no_verdicts(decide):
    assert decide(NearDedup(name="near"), []) == []
