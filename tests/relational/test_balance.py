"""balance against MetaCLIP's algorithm, written from its paper and with its own draws."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.draw import uniforms
from curation.core.errors import UsageError
from curation.relational.balance import Balance, tail_share, tail_threshold
from tests.relational.sessions import EMBEDDED, OPENED, SESSIONS, dropped, survivors


def draw(seed, uid, entry, by="concepts"):
    first, second = int(uid[:16], 16), int(uid[16:], 16)
    words = (np.array([word], np.uint64) for word in (first, second, entry))
    return float(uniforms(seed, f"balance {by}", *words)[0])


def counted(rows):
    counts = Counter()
    for row in rows:
        if row["concept_language"] is None:
            continue
        counts.update((row["concept_language"], entry) for entry in row["concepts"] or ())
    return counts


def metaclip(rows, t, seed=0, unmatched="drop"):
    """Algorithm 1, part 2: kept if for any entry random() < t / max(count, t); t by language."""
    counts = counted(rows)
    verdicts = []
    for row in rows:
        language = row["concept_language"]
        if language is None:
            continue
        if not row["concepts"]:
            if unmatched == "drop":
                verdicts.append(dropped(row, "unmatched"))
            continue
        limit = t[language] if isinstance(t, dict) else t
        p = {e: limit / max(counts[language, e], limit) for e in row["concepts"]}
        drawn = {e: draw(seed, row["uid"], e) for e in p}
        if not any(drawn[e] < p[e] for e in p):
            best = max(p, key=lambda e: (p[e], -e))
            verdicts.append(
                dropped(row, "balanced_out", value=p[best], threshold=drawn[best],
                        detail=f"{language}:{best}")
            )  # fmt: skip
    return verdicts


def p_to_t(entry_counts, share):
    """MetaCLIP 2, from its description: the count at which the running share is nearest."""
    total, running, nearest = sum(entry_counts), 0, None
    for count in sorted(entry_counts):
        running += count
        distance = abs(running / total - share)
        if nearest is None or distance < nearest[0]:
            nearest = (distance, count)
    return nearest[1]


def zipf(seed, count=5000, entries=400):
    """Rows in three languages and none, with about 3 entries each by a Zipf law, some twins."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, entries + 1)
    rows = []
    for n in range(count):
        language = [None, "en", "en", "en", "zh", "th"][rng.integers(6)]
        size = int(rng.poisson(3)) if language else 0
        ids = rng.choice(entries, size, p=weights / weights.sum())
        uid = (n - 1 if n % 50 == 1 else n) * 0x9E3779B97F4A7C15F39C % 2**128
        rows.append(
            {"shard": n // 700, "row": n % 700, "uid": f"{uid:032x}",
             "concepts": sorted(set(ids.tolist())) if language else None,
             "concept_language": language}
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("t", [1, 20, 100_000])
def test_keeps_what_metaclip_keeps(decide, t, seed):
    rows = zipf(seed)
    said = decide(Balance(name="b", t=t, seed=seed), rows)
    assert said == metaclip(rows, t, seed)
    gone = Counter(v["reason"] for v in said)
    assert (gone["balanced_out"] > 500) == (t < 1000)
    assert gone["unmatched"] > 100


@pytest.mark.parametrize("share", [0.0, 0.06, 0.3, 1.0])
def test_a_tail_share_gives_each_language_its_t(decide, share):
    rows = zipf(1)
    counts = counted(rows)
    t = {
        language: p_to_t([n for (of, _), n in counts.items() if of == language], share)
        for language in ("en", "zh", "th")
    }
    assert decide(Balance(name="b", tail_share=share), rows) == metaclip(rows, t)
    assert t["en"] >= t["zh"] and (0 < share < 1) <= (t["en"] != t["zh"])


def test_t_of_one_language_gives_the_others_its_tail_share(decide):
    rows = zipf(2)
    counts = counted(rows)
    of = {
        language: [n for (other, _), n in counts.items() if other == language]
        for language in ("en", "zh", "th")
    }
    share = sum(n for n in of["en"] if n < 40) / sum(of["en"])
    t = {"en": 40, "zh": p_to_t(of["zh"], share), "th": p_to_t(of["th"], share)}
    said = decide(Balance(name="b", t=40, t_language="en"), rows)
    assert said == metaclip(rows, t)
    assert t["zh"] < 40
    with pytest.raises(UsageError, match=r"no survivor matches an entry in fr; .* en, th, zh"):
        decide(Balance(name="b", t=40, t_language="fr"), rows)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.floats(0, 1), st.integers(1, 60))
def test_tail_shares_are_metaclip_2s(counts, share, t):
    ascending = np.sort(np.array(counts, np.int64))
    assert tail_threshold(ascending, share) == p_to_t(counts, share)
    assert tail_share(ascending, t) == sum(n for n in counts if n < t) / sum(counts)


ROWS = st.lists(
    st.tuples(
        st.none() | st.sampled_from(["en", "zh"]),
        st.none() | st.sets(st.integers(0, 5), max_size=4),
        st.integers(0, 30),
    ),
    max_size=40,
)


def small(given_):
    return [
        {"shard": n % 3, "row": n, "uid": f"{uid << 60:032x}", "concept_language": language,
         "concepts": None if concepts is None else sorted(concepts)}
        for n, (language, concepts, uid) in enumerate(given_)
    ]  # fmt: skip


@settings(max_examples=20)
@given(ROWS, st.integers(1, 20), st.integers(0, 3), st.sampled_from(["keep", "drop"]), st.randoms())
def test_small_crowded_corpora(decide, given_, t, seed, unmatched, shuffle):
    rows = small(given_)
    step = Balance(name="b", t=t, seed=seed, unmatched=unmatched)
    said = decide(step, shuffle.sample(rows, len(rows)))
    expected = metaclip(rows, t, seed, unmatched)
    assert said == sorted(expected, key=lambda v: (v["shard"], v["row"]))


def kept(rows, said):
    return {(r["shard"], r["row"]) for r in rows} - {(v["shard"], v["row"]) for v in said}


@settings(max_examples=12)
@given(ROWS, st.integers(1, 10), st.integers(0, 10))
def test_a_larger_t_keeps_a_superset(decide, given_, t, more):
    rows = small(given_)
    less, larger = (kept(rows, decide(Balance(name="b", t=limit), rows)) for limit in (t, t + more))
    assert less <= larger


@settings(max_examples=12)
@given(ROWS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_tail_share_keeps_a_superset(decide, given_, one, other):
    rows = small(given_)
    less, larger = (
        kept(rows, decide(Balance(name="b", tail_share=share), rows))
        for share in sorted([one, other])
    )
    assert less <= larger


@EMBEDDED
def test_the_number_kept_is_within_binomial_bounds(decide):
    """Over 20 seeds, of every sample the chance to stay is 1 - the product of (1 - p)."""
    rows = [row for row in zipf(3, 2000) if row["concepts"]]
    rows = list({row["uid"]: row for row in rows}.values())
    counts, t = counted(rows), 15
    chances = np.array([
        1 - np.prod([1 - t / max(counts[row["concept_language"], e], t) for e in row["concepts"]])
        for row in rows
    ])  # fmt: skip
    seeds = 20
    total = sum(
        len(rows) - len(decide(Balance(name="b", t=t, seed=seed), rows)) for seed in range(seeds)
    )
    deviation = np.sqrt(seeds * (chances * (1 - chances)).sum())
    assert abs(total - seeds * chances.sum()) < 4 * deviation
    assert chances.min() < 0.2


@pytest.mark.parametrize("opened", OPENED)
def test_counts_add_up_over_shards(opened):
    """The counts of a corpus are the sums of its parts', and say what stayed."""
    rows = zipf(4, 3000)
    step = Balance(name="b", t=20)

    def tables(part):
        with SESSIONS[opened](survivors(step, part)) as session:
            step.decide(session)
            verdicts = session.rows("SELECT shard, row FROM verdicts").to_pylist()
            found = {k: session.rows(query).to_pylist() for k, query in step.tables().items()}
            return found, {(v["shard"], v["row"]) for v in verdicts}, step.notes(session)

    whole, gone, notes = tables(rows)
    parts = Counter()
    for shard in range(5):
        found, _, _ = tables([row for row in rows if row["shard"] == shard])
        parts.update({(c["language"], c["entry"]): c["samples"] for c in found["counts"]})
    assert {(c["language"], c["entry"]): c["samples"] for c in whole["counts"]} == parts
    stayed = counted([row for row in rows if (row["shard"], row["row"]) not in gone])
    assert whole["counts"] == [
        {"language": language, "entry": entry, "samples": count, "p": 20 / max(count, 20),
         "kept": stayed[language, entry]}
        for (language, entry), count in sorted(counted(rows).items())
    ]  # fmt: skip
    assert whole["thresholds"] == [{"language": name, "t": 20} for name in ("en", "th", "zh")]
    assert notes == {
        "without a match": sum(
            r["concept_language"] is not None and not r["concepts"] for r in rows
        ),
        "in a language without a vocabulary": sum(r["concept_language"] is None for r in rows),
    }


def test_counts_of_a_rare_entry_all_stay(decide):
    rows = zipf(5)
    counts = counted(rows)
    said = decide(Balance(name="b", t=20), rows)
    gone = {(v["shard"], v["row"]) for v in said}
    for row in rows:
        if any(counts[row["concept_language"], e] <= 20 for e in row["concepts"] or ()):
            assert (row["shard"], row["row"]) not in gone


def test_clusters_follow_the_same_rule(decide):
    rng = np.random.default_rng(6)
    rows = [
        {"shard": n % 4, "row": n, "uid": f"{n * 977:032x}",
         "cluster": None if n % 40 == 0 else int(rng.zipf(1.5)) % 50}
        for n in range(3000)
    ]  # fmt: skip
    sizes = Counter(row["cluster"] for row in rows)
    expected = []
    for row in rows:
        if row["cluster"] is None:
            expected.append(dropped(row, "unmatched"))
            continue
        p = 30 / max(sizes[row["cluster"]], 30)
        drawn = draw(0, row["uid"], row["cluster"], "cluster")
        if drawn >= p:
            expected.append(
                dropped(row, "balanced_out", value=p, threshold=drawn,
                        detail=f"cluster:{row['cluster']}")
            )  # fmt: skip
    expected.sort(key=lambda v: (v["shard"], v["row"]))
    assert decide(Balance(name="b", by="cluster", t=30), rows) == expected
    stays = [v for v in expected if v["reason"] != "unmatched"]
    assert decide(Balance(name="b", by="cluster", t=30, unmatched="keep"), rows) == stays
    assert len(stays) > 1000


def test_a_language_without_a_vocabulary_stays_whole(decide):
    rows = small([(None, None, n) for n in range(20)] + [("en", set(), 40), ("en", None, 41)])
    said = decide(Balance(name="b", t=1), rows)
    assert said == sorted(
        [dropped(row, "unmatched") for row in rows[20:]], key=lambda v: (v["shard"], v["row"])
    )
    assert decide(Balance(name="b", t=1, unmatched="keep"), rows) == []


def test_languages_with_the_same_ids_do_not_share_counts(decide):
    rows = small([("en", {1}, n) for n in range(20)] + [("zh", {1}, n) for n in range(20, 25)])
    said = decide(Balance(name="b", t=5), rows)
    assert {v["detail"] for v in said} == {"en:1"}
    assert {v["value"] for v in said} == {0.25}


@EMBEDDED
def test_does_not_depend_on_row_order_or_threads(decide):
    rows = zipf(8, 3000)
    step = Balance(name="b", tail_share=0.2)
    said = [
        decide(step, random.Random(seed).sample(rows, len(rows)), threads=threads)
        for seed, threads in ((0, 1), (1, 2), (2, 4))
    ]
    assert said[0] == said[1] == said[2] != []


def test_does_not_depend_on_the_size_of_a_batch():
    """A draw is of its row alone."""
    rows = zipf(9, 1000)
    step = Balance(name="b", t=10)
    said = []
    for size in (1, 7, 65_536):
        with SESSIONS["duckdb"](survivors(step, rows)) as session:
            whole = session.stream
            session.stream = lambda query, whole=whole, size=size: whole(query, size)
            step.decide(session)
            said.append(session.rows("SELECT * FROM verdicts ORDER BY shard, row").to_pylist())
    assert said[0] == said[1] == said[2] != []


@pytest.mark.parametrize("by", ["concepts", "cluster"])
def test_an_empty_corpus_has_no_verdicts(decide, by):
    assert decide(Balance(name="b", by=by), []) == []
    assert decide(Balance(name="b", by=by, tail_share=0.1), []) == []
    if by == "concepts":
        assert decide(Balance(name="b", t_language="en"), []) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "domain"}, "by must be one of concepts, cluster"),
        ({"t": 0}, "t must be at least 1"),
        ({"t": None}, "t and tail_share cannot both be null"),
        ({"tail_share": 1.5}, "tail_share must be 0 to 1"),
        ({"tail_share": float("nan")}, "tail_share must be 0 to 1"),
        ({"by": "cluster", "t_language": "en"}, "clusters have no t_language"),
        ({"unmatched": "maybe"}, "unmatched must be keep or drop"),
    ],
)
def test_what_has_no_meaning_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Balance(name="b", **options)
