"""decontaminate: each kind of match against plain loops, at its edges, and listed by benchmark."""

import functools
import math
import pickle
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from curation.core.errors import CorpusError, UsageError
from curation.io.store import Store
from curation.io.tables import write_table
from curation.relational import decontaminate as module
from curation.relational import nearest
from curation.relational.benchmark_features import FEATURES, FeatureFile
from curation.relational.decontaminate import Decontaminate
from curation.relational.nearest import Entry, ImageIndex
from curation.relational.ngrams import GramIndex
from tests.relational.sessions import dropped, duckdb_session, survivors, verdicts
from tests.relational.test_hamming import apart, flipped
from tests.relational.test_portable_sql import IN_BOTH, Through, function_name, there_and_back

ALPHABET = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november"
WORDS = ALPHABET.split()
QUESTION = " ".join(WORDS[:13])


def sample(number, **columns):
    plain = {"text": None, "phash": None, "clip_image": None}
    place = {"shard": number // 3, "row": number % 3, "uid": f"{number + 1000:032x}"}
    return {**place, **plain, **columns}


def vector(*numbers):
    return np.array(numbers, "<f2").tobytes()


def image(phash=None, clip_image=None):
    return {"image": "00" * 32, "phash": phash, "clip_image": clip_image}


def benchmark(folder, name, *features):
    """A benchmark of texts (strings) and other features; items are called by their number."""
    rows = [
        {"item": f"{name}/{n}", **({"text": feature} if isinstance(feature, str) else feature)}
        for n, feature in enumerate(features)
    ]
    table = pa.Table.from_pylist([{f: r.get(f) for f in FEATURES.names} for r in rows], FEATURES)
    Path(folder).mkdir(exist_ok=True)
    path = f"{folder}/{name}.parquet"
    sha256 = write_table(Store(str(folder)), f"{name}.parquet", table, FEATURES, {})
    return FeatureFile(name=name, sha256=sha256, path=path)


def told(step, rows, threads=2):
    """Verdicts, notes and the table of matches."""
    with duckdb_session(survivors(step, rows), threads=threads) as session:
        step.decide(session)
        matches = session.rows(step.tables()["matches"]).to_pylist()
        return verdicts(session), step.notes(session), matches


# Each kind of match, at its edges.


def test_each_kind_of_match_drops_and_names_the_benchmark(decide, tmp_path):
    own = benchmark(tmp_path, "vqa", QUESTION, image(phash=-2), image(clip_image=vector(1, 0)))
    rows = [
        sample(0, phash=-2),
        sample(1, text=f"They asked: {QUESTION}?"),
        sample(2, clip_image=vector(0.8, 0.6)),
        sample(3, text="nothing of the kind", phash=7, clip_image=vector(0, 1)),
        sample(4),
    ]
    step = Decontaminate(name="d", benchmarks=(own,), clip_similarity=0.79)
    said = decide(step, rows)
    similarity = said[2].pop("value")
    assert similarity == pytest.approx(0.8, abs=1e-3)
    expected = [
        dropped(rows[0], "benchmark_phash", value=0, threshold=3, detail="vqa"),
        dropped(rows[1], "benchmark_ngram", value=1, threshold=1, detail="vqa"),
        dropped(rows[2], "benchmark_clip", threshold=0.79, detail="vqa"),
    ]
    expected[2].pop("value")
    assert said == expected


@pytest.mark.parametrize("bits", [0, 3, 12])
def test_the_distance_itself_is_a_match(decide, tmp_path, bits):
    origin = 0x0123456789ABCDEF
    own = benchmark(tmp_path, "b", image(phash=origin))
    rows = [sample(n, phash=flipped(origin, range(5, 5 + n))) for n in range(14)]
    said = decide(Decontaminate(name="d", benchmarks=(own,), distance=bits), rows)
    assert [v["value"] for v in said] == list(range(bits + 1))


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        (" ".join(WORDS[:12]), 0),
        (" ".join(WORDS[1:13]) + " other", 0),
        (" ".join([*WORDS[:6], "other", *WORDS[6:13]]), 0),
        (f"before {QUESTION} after", 1),
        (f"{QUESTION} and {QUESTION}", 2),
        (QUESTION.upper().replace(" ", ", "), 1),
        (QUESTION.replace("alpha", "&#97;lpha").replace("bravo", "ｂｒａｖｏ"), 1),  # noqa: RUF001
    ],
)
def test_thirteen_words_in_common_are_a_match_and_twelve_are_none(decide, tmp_path, text, matches):
    own = benchmark(tmp_path, "b", f"Q: {QUESTION}! What is it?")
    said = decide(Decontaminate(name="d", benchmarks=(own,)), [sample(0, text=text)])
    assert [v["value"] for v in said] == [matches] * bool(matches)


@pytest.mark.parametrize(
    ("text", "drops"),
    [
        (" ".join(WORDS[:8]), True),
        (" ".join(WORDS[:8]).title() + ".", True),
        (" ".join(WORDS[:7]), False),
        (" ".join(WORDS[:8]) + " more", False),
        (" ".join(WORDS[:7]) + " more", False),
    ],
)
def test_a_short_text_is_a_match_as_a_whole_only(decide, tmp_path, text, drops):
    own = benchmark(tmp_path, "b", " ".join(WORDS[:8]), " ".join(WORDS[:7]))
    said = decide(Decontaminate(name="d", benchmarks=(own,)), [sample(0, text=text)])
    assert [v["reason"] for v in said] == ["benchmark_ngram"] * drops


def test_a_line_of_a_text_counts_as_a_text(decide, tmp_path):
    lines = [" ".join(WORDS[:9]), " ".join(WORDS[3:13])]
    own = benchmark(tmp_path, "b", "\n".join(lines))
    across = " ".join(lines).split()[2:15]
    rows = [sample(0, text=lines[1]), sample(1, text=" ".join(across)), sample(2, text=WORDS[0])]
    said = decide(Decontaminate(name="d", benchmarks=(own,)), rows)
    assert [(v["shard"], v["row"]) for v in said] == [(0, 0), (0, 1)]


def test_texts_without_spaces_are_compared_by_ideographs(decide, tmp_path):
    asked = "图中左边的红色汽车是什么牌子的"
    own = benchmark(tmp_path, "b", f"请问{asked}？")  # noqa: RUF001
    rows = [sample(0, text=f"他说：{asked[:13]}。"), sample(1, text=f"他说{asked[:12]}吗")]  # noqa: RUF001
    said = decide(Decontaminate(name="d", benchmarks=(own,)), rows)
    assert [(v["row"], v["value"]) for v in said] == [(0, 1.0)]


def test_the_similarity_itself_is_a_match(decide, tmp_path):
    rng = np.random.default_rng(3)
    mine, theirs = (vector(*rng.standard_normal(64)) for _ in range(2))
    own = benchmark(tmp_path, "b", image(clip_image=theirs))
    exact = nearest.cosine(np.frombuffer(mine, "<f2"), np.frombuffer(theirs, "<f2"))
    for limit, drops in ((exact, 1), (math.nextafter(exact, 1), 0)):
        step = Decontaminate(name="d", benchmarks=(own,), clip_similarity=limit)
        said = decide(step, [sample(0, clip_image=mine)])
        assert [v["value"] for v in said] == [exact] * drops


def test_vectors_without_direction_are_near_to_nothing(decide, tmp_path):
    bad = [vector(math.nan, 1), vector(0, 0), vector(math.inf, 1)]
    own = benchmark(tmp_path, "b", *(image(clip_image=v) for v in [*bad, vector(0, 1)]))
    rows = [sample(n, clip_image=v) for n, v in enumerate([*bad, vector(0, 2)])]
    step = Decontaminate(name="d", benchmarks=(own,), clip_similarity=-1)
    said = decide(step, rows)
    assert said == [dropped(rows[3], "benchmark_clip", value=1, threshold=-1, detail="b")]


def test_embeddings_of_another_model_are_refused(tmp_path):
    own = benchmark(tmp_path, "b", image(clip_image=vector(1, 0)))
    step = Decontaminate(name="d", benchmarks=(own,), clip_similarity=0.9)
    with pytest.raises(UsageError, match="of 3 numbers, the benchmarks of 2: another CLIP"):
        told(step, [sample(0, clip_image=vector(1, 0, 0))])
    two = benchmark(tmp_path, "c", image(clip_image=vector(1, 0, 0)))
    step = Decontaminate(name="d", benchmarks=(own, two), clip_similarity=0.9)
    with pytest.raises(UsageError, match="several CLIP models"):
        told(step, [])


def test_without_similarity_embeddings_are_not_asked_for(decide, tmp_path):
    own = benchmark(tmp_path, "b", image(clip_image=vector(1, 0)))
    step = Decontaminate(name="d", benchmarks=(own,))
    assert step.requires.names == ["text", "phash"]
    assert decide(step, [sample(0)]) == []


def test_without_benchmarks_nothing_is_dropped_nor_noted():
    rows = [sample(0, text=QUESTION, phash=0)]
    assert told(Decontaminate(name="d"), rows) == ([], {}, [])


# What is told of each benchmark.


def test_matches_are_listed_per_benchmark_and_a_sample_is_dropped_once(tmp_path):
    first = benchmark(tmp_path, "coco", QUESTION, image(phash=0), image(phash=1), image())
    second = benchmark(
        tmp_path, "aokvqa", f"{QUESTION} november", image(phash=-1), "yes", {"error": "no_media"}
    )
    rows = [
        sample(0, text=QUESTION),
        sample(1, text=f"{QUESTION} november", phash=3),
        sample(2, phash=0),
        sample(3, phash=-2),
        sample(4, phash=0),
    ]
    said, notes, matches = told(Decontaminate(name="d", benchmarks=(first, second)), rows)
    assert said == [
        dropped(rows[0], "benchmark_ngram", value=1, threshold=1, detail="aokvqa"),
        dropped(rows[1], "benchmark_phash", value=1, threshold=3, detail="coco"),
        dropped(rows[2], "benchmark_phash", value=0, threshold=3, detail="coco"),
        dropped(rows[3], "benchmark_phash", value=1, threshold=3, detail="aokvqa"),
        dropped(rows[4], "benchmark_phash", value=0, threshold=3, detail="coco"),
    ]
    assert matches == [
        {"benchmark": b, "item": f"{b}/{item}", "reason": f"benchmark_{kind}", "samples": samples}
        for b, item, kind, samples in [
            ("aokvqa", 0, "ngram", 2),
            ("aokvqa", 1, "phash", 1),
            ("coco", 0, "ngram", 2),
            ("coco", 1, "phash", 2),
            ("coco", 2, "phash", 1),
        ]
    ]
    assert notes == {
        "aokvqa: images": 1,
        "aokvqa: items that could not be read": 1,
        "aokvqa: samples that match": 3,
        "aokvqa: texts": 2,
        "aokvqa: texts too short to compare": 1,
        "coco: images": 3,
        "coco: images without a pHash": 1,
        "coco: samples that match": 4,
        "coco: texts": 1,
    }


def test_features_that_are_gone_or_changed_say_what_to_do(tmp_path):
    own = benchmark(tmp_path, "b", QUESTION)
    step = Decontaminate(name="d", benchmarks=(own,))
    path = tmp_path / "b.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorpusError, match=r"not the features of benchmark b .*--benchmark b=FOL"):
        told(step, [])
    path.unlink()
    with pytest.raises(CorpusError, match=r"are not there; name its folder again"):
        told(step, [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distance": 13}, "distance must be 0 to 12, got 13"),
        ({"ngram": 0}, "ngram must be at least 1, got 0"),
        ({"shortest": 0}, "shortest must be at least 1, got 0"),
        ({"clip_similarity": 1.1}, r"clip_similarity must be -1 to 1, got 1\.1"),
        ({"benchmarks": ("folder",)}, "named with --benchmark NAME=FOLDER"),
        ({"benchmarks": (FeatureFile(name="b", sha256=""),) * 2}, "two benchmarks share a name: b"),
    ],
)
def test_settings_without_meaning_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Decontaminate(name="d", **fields)


# Against plain loops.


def plain_grams(text, n, shortest):
    words = re.findall(r"\w+", text.lower())
    if shortest <= len(words) < n:
        return [tuple(words)]
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


@functools.cache
def decoded(data):
    return [Fraction(v) if math.isfinite(v) else v for v in np.frombuffer(data, "<f2").tolist()]


@functools.cache
def plain_cosine(a, b):
    """With exact sums; null where a vector has no direction."""
    x, y = decoded(a), decoded(b)
    if not all(map(math.isfinite, x + y)) or not any(x) or not any(y):
        return None
    pairs = ((x, y), (x, x), (y, y))
    sums = (sum(p * q for p, q in zip(*pair, strict=True)) for pair in pairs)
    product, left, right = map(float, sums)
    return product / math.sqrt(left * right)


def plain_hits(step, row, features):
    """(item, value) of the best match of each kind with one benchmark."""
    if row["phash"] is not None:
        near = [
            (apart(row["phash"], f["phash"]), n)
            for n, f in enumerate(features)
            if not isinstance(f, str) and f["phash"] is not None
        ]
        near = [found for found in near if found[0] <= step.distance]
        if near:
            yield "phash", min(near)[1], min(near)[0], step.distance
    owners = {}
    for n, feature in enumerate(features):
        if isinstance(feature, str):
            for gram in plain_grams(feature, step.ngram, step.shortest):
                owners.setdefault(gram, n)
    shared = [owners[g] for g in plain_grams(row["text"] or "", step.ngram, step.shortest)
              if g in owners]  # fmt: skip
    if shared:
        counts = Counter(shared)
        yield "ngram", min(counts, key=lambda n: (-counts[n], n)), len(shared), 1
    near = [
        (-similarity, n)
        for n, f in enumerate(features)
        if not isinstance(f, str) and f["clip_image"] and row["clip_image"]
        if (similarity := plain_cosine(row["clip_image"], f["clip_image"])) is not None
        if similarity >= step.clip_similarity
    ]
    if near:
        yield "clip", min(near)[1], -min(near)[0], step.clip_similarity


def plainly(step, rows, features):
    """Verdicts and matches by looking at every pair."""
    said, matches = [], Counter()
    for row in rows:
        found = []
        for name in sorted(features):
            for kind, item, value, threshold in plain_hits(step, row, features[name]):
                found.append((("phash", "ngram", "clip").index(kind), name, value, threshold))
                matches[name, f"{name}/{item}", f"benchmark_{kind}"] += 1
        if found:
            place, name, value, threshold = min(found)
            reason = f"benchmark_{('phash', 'ngram', 'clip')[place]}"
            said.append(dropped(row, reason, value=value, threshold=threshold, detail=name))
    return said, [
        {"benchmark": b, "item": i, "reason": r, "samples": n}
        for (b, i, r), n in sorted(matches.items())
    ]


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)
PHASH = st.none() | st.integers(-20, 20) | st.integers(-(1 << 63), (1 << 63) - 1)
NUMBER = st.sampled_from([-1.0, -0.3, 0.0, 0.1, 0.7, 2.0, math.nan])
VECTOR = st.none() | st.tuples(NUMBER, NUMBER, NUMBER).map(lambda v: vector(*v))
IMAGE = st.builds(image, phash=PHASH, clip_image=VECTOR)
ROW = st.fixed_dictionaries({"text": st.none() | TEXT, "phash": PHASH, "clip_image": VECTOR})


@settings(max_examples=25)
@given(
    rows=st.lists(ROW, max_size=8),
    features=st.dictionaries(
        st.sampled_from(["x", "y", "Z"]), st.lists(TEXT | IMAGE, max_size=5), max_size=3
    ),
    fields=st.fixed_dictionaries(
        {
            "distance": st.integers(0, 4),
            "ngram": st.integers(1, 4),
            "shortest": st.integers(1, 3),
            "clip_similarity": st.sampled_from([-1.0, 0.2, 0.9, 1.0]),
        }
    ),
    random=st.randoms(),
)
def test_any_corpus_against_plain_loops(tmp_path_factory, rows, features, fields, random):
    folder = tmp_path_factory.mktemp("features")
    files = [benchmark(folder, name, *found) for name, found in features.items()]
    step = Decontaminate(name="d", benchmarks=tuple(random.sample(files, len(files))), **fields)
    rows = [sample(n, **row) for n, row in enumerate(rows)]
    said, _, matches = told(step, random.sample(rows, len(rows)))
    assert (said, matches) == plainly(step, rows, features)


def many(count, seed=5):
    """Rows and a benchmark among which every kind of match occurs, some in several ways."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{n}" for n in range(40)])
    texts = [" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(count)]
    hashes = rng.integers(-(1 << 63), 1 << 63, count).tolist()
    vectors = rng.standard_normal((count, 12)).astype("<f2")
    rows = [
        sample(n, text=texts[n], phash=hashes[n], clip_image=vectors[n].tobytes())
        for n in range(count)
    ]
    features = {"one": [], "two": []}
    for n in range(0, count, 7):
        found = features["one" if n % 2 else "two"]
        found.append(texts[n] if n % 3 else f"so {texts[n]} it goes")
        close = (vectors[n] + rng.normal(0, 0.4, 12)).astype("<f2").tobytes()
        found.append(image(flipped(hashes[n], range(n % 5)), close))
    return rows, features


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    rows, features = many(300)
    folder = tmp_path_factory.mktemp("crowd")
    files = tuple(benchmark(folder, name, *found) for name, found in features.items())
    fields = {"ngram": 5, "shortest": 3, "clip_similarity": 0.85}
    step = Decontaminate(name="d", benchmarks=files, **fields)
    return step, rows, plainly(step, rows, features)


def test_a_crowd_against_plain_loops(crowd):
    step, rows, (expected, listed) = crowd
    assert {v["reason"] for v in expected} == {f"benchmark_{k}" for k in ("phash", "ngram", "clip")}
    said, _, matches = told(step, rows)
    assert (said, matches) == (expected, listed)


def test_order_batches_and_threads_decide_nothing(crowd, monkeypatch):
    step, rows, (expected, listed) = crowd
    shuffled = [rows[n] for n in np.random.default_rng(1).permutation(len(rows))]
    monkeypatch.setattr(nearest, "_ROWS", 7)
    monkeypatch.setattr(nearest, "_COLUMNS", 3)
    said, _, matches = told(step, shuffled, threads=1)
    assert (said, matches) == (expected, listed)


def test_grams_that_collide_in_half_of_their_hash_are_told_apart():
    real = GramIndex.of([(0, 4, "a b c")], 3, 1)
    first, other = np.repeat(real.first, 2), np.array([real.second[0] ^ np.uint64(1)])
    items = np.array([7, 4])
    benchmarks = np.zeros(2, np.int64)
    index = GramIndex(3, 1, first, np.concatenate([other, real.second]), benchmarks, items)
    assert [(m.item, m.shared) for m in index.matches(["x", "a b c", "b c d"])] == [(4, 1)]


def test_the_nearest_of_equal_images_is_the_first_and_block_edges_lose_none():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((9000, 8)).astype("<f2")
    entries = [Entry(n % 2, n, vectors[n].tobytes()) for n in range(9000)]
    index = ImageIndex.of([*entries, Entry(0, 9001, vectors[4].tobytes())], 0.99999)
    found = index.matches([v.tobytes() for v in vectors])
    own = {(n.row, n.benchmark): (n.item, n.similarity) for n in found}
    assert [own[n, n % 2] for n in range(9000)] == [(n, 1.0) for n in range(9000)]


# The engine's border.


class Carried(Through):
    """Through, with the queries whose rows go to functions."""

    def rows(self, query):
        return self._inner.rows(self._change(query))

    def map(self, table, query, function, schema):
        self._inner.map(table, self._change(query), pickle.loads(pickle.dumps(function)), schema)


def carried(step, rows, change):
    with duckdb_session(survivors(step, rows)) as inner:
        session = Carried(inner, change)
        step.decide(session)
        matches = session.rows(step.tables()["matches"]).to_pylist()
        return verdicts(inner), step.notes(session), matches


def test_what_spark_is_given_means_the_same(crowd):
    step, rows, (expected, listed) = crowd
    said, notes, matches = carried(step, rows, there_and_back)
    assert (said, matches) == (expected, listed)
    assert notes == told(step, rows)[1]


def test_statements_keep_the_rules(crowd):
    step, rows, _ = crowd
    queries = []
    carried(step, rows, lambda query: queries.append(query) or query)
    assert len(queries) == 11
    for query in queries:
        tree = sqlglot.parse_one(query, read="duckdb")
        ordered = list(tree.find_all(exp.Ordered))
        assert len(re.findall(r"\b(?:ASC|DESC) NULLS LAST\b", query)) == len(ordered), query
        assert not list(tree.find_all(exp.Qualify, exp.Sum, exp.Avg, exp.Rand, exp.Limit)), query
        stars = [s for s in tree.find_all(exp.Star) if not isinstance(s.parent, exp.Count)]
        assert not stars, query
        functions = set(map(function_name, tree.find_all(exp.Func)))
        assert functions <= IN_BOTH, (functions - IN_BOTH, query)


def test_nothing_is_left_in_the_session_but_what_is_asked_for_later(crowd):
    step, rows, _ = crowd
    with duckdb_session(survivors(step, rows)) as session:
        step.decide(session)
        left = session.rows("SELECT table_name FROM duckdb_tables()")["table_name"].to_pylist()
    assert sorted(left) == ["benchmark_counts", "hits", "verdicts"]


def test_a_benchmark_is_known_by_name_and_content_and_not_by_place(tmp_path):
    from curation.core.fingerprint import digest

    near, far = (benchmark(tmp_path / place, "b", QUESTION) for place in ("near", "far"))
    assert near.path != far.path
    steps = [Decontaminate(name="d", benchmarks=(file,)) for file in (near, far)]
    assert digest(steps[0]) == digest(steps[1])
    assert module.Decontaminate(name="d", benchmarks=(benchmark(tmp_path, "b", "x"),)) != steps[0]
