"""concepts: equal to MetaCLIP's plain loop over any text, in every language; bad vocabularies."""

import string
import threading
import time
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.core.errors import UsageError
from curation.core.fingerprint import operator_fingerprint
from curation.core.vocabulary import MAX_ENTRY, Vocabulary
from curation.demo.palette import COLOURS
from curation.demo.things import THINGS
from curation.operators.text._ngrams import Matcher
from curation.operators.text.concepts import SHIPPED, Concepts
from curation.operators.text.matcher import EntryMatcher, spacing
from tests.operators.rows import real_captions

POINTS = ",.;:?!`"
ALNUM = frozenset(string.ascii_letters + string.digits)


def spaced(text):
    """MetaCLIP's rule, said otherwise: points stand between spaces, blanks are spaces."""
    wrapped = "".join(f" {c} " if c in POINTS else " " if c in "\t\n\r" else c for c in text)
    return f" {wrapped} "


def naive(entries, text):
    text = spaced(text)
    return [n for n, entry in enumerate(entries) if f" {entry} " in text]


def naive_unspaced(entries, text):
    """Substrings that neither start nor end inside a run of ASCII letters and digits."""
    text = text.translate({9: " ", 10: " ", 13: " "})
    found = []
    for number, entry in enumerate(entries):
        starts = [n for n in range(len(text)) if entry and text.startswith(entry, n)]
        cuts = (
            any(n > 0 and n < len(text) and {text[n - 1], text[n]} <= ALNUM for n in ends)
            for ends in ((start, start + len(entry)) for start in starts)
        )
        if not all(cuts):
            found.append(number)
    return found


def matches(entries, *texts, spaced=True):
    array = pa.array(texts, pa.string())
    return EntryMatcher(list(entries), spaced=spaced).match(array).to_pylist()


def test_spacing_is_metaclips():
    for text in ("", "a, b", "U.S.\t`x`?!", " a  b\r\n", *real_captions()[:500]):
        assert spacing(text) == spaced(text)


@pytest.mark.parametrize(
    ("entry", "text", "found"),
    [
        ("cat", "a cat, asleep", True),
        ("cat", "cat", True),
        ("cat", "cats", False),
        ("cat", "Cat", False),
        ("cat", "(cat)", False),
        ("cat", "cat's", False),
        ("cat", "cat-flap", False),
        ("cat", "a\tcat\nsleeps", True),
        ("cat", "a\xa0cat", False),
        ("red car", "a red car.", True),
        ("red car", "a red  car", False),
        ("red car", "red, car", False),
        ("red , car", "red, car", False),
        ("red ,  car", "red, car", True),
        ("St. Ives", "St. Ives", False),
        ("St .  Ives", "St. Ives", True),
        ("3 . 5", "3.5", True),
        (",", "a,b", True),
        ("é", "é", True),
        ("e\u0301", "é", False),
        ("a\x00b", "a\x00b c", True),
        ("a" * 17, "a" * 17, True),
        ("a" * 17, "a" * 16 + "b", False),
    ],
)
def test_quirks_of_metaclips_spacing(entry, text, found):
    assert matches([entry], text) == [[0] if found else []]
    assert bool(naive([entry], text)) is found


@pytest.mark.parametrize(
    ("entry", "text", "found"),
    [
        ("汽车", "红色的汽车停在街上", True),
        ("汽车", "汽 车", False),
        ("DNA", "DNA检测", True),
        ("DNA", "mRNADNA检测", False),
        ("3.5", "版本3.5", True),
        ("カメラ", "赤いカメラです", True),
        ("รถ", "รถยนต์สีแดง", True),
        ("iPhone 手机", "新iPhone\t手机", True),
        ("手", "x", False),
    ],
)
def test_languages_without_spaces_match_anywhere(entry, text, found):
    assert matches([entry], text, spaced=False) == [[0] if found else []]
    assert bool(naive_unspaced([entry], text)) is found


CROWDED = st.text(alphabet="ab ,.\t", max_size=30)
"""Few letters: matches, overlaps, repeated spaces and points are the rule."""
WORDS = st.lists(
    st.sampled_from(["red", "car", "a" * 8, "a" * 16, "a" * 17, "é", "東京", "😀", ",", " ", ""]),
    max_size=12,
).map(" ".join)
TEXTS = st.one_of(CROWDED, WORDS, st.text(max_size=40))


@settings(max_examples=400)
@given(st.lists(TEXTS, max_size=12, unique=True), st.lists(TEXTS, max_size=8))
@example([], ["", "a"])
@example([""], ["", "a", "a b", "a  b"])
@example(["a", "a a", "a a a", "a a a a"], ["a a a a a"])
def test_equals_the_plain_loop(entries, texts):
    assert matches(entries, *texts) == [naive(entries, text) for text in texts]


PIECES = st.text(alphabet="aZ9 汽车.é\t😀", max_size=12) | st.text(max_size=12)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=12, unique=True), st.lists(PIECES, max_size=8))
@example([], ["", "a"])
@example([""], ["", "a"])
def test_equals_the_plain_loop_without_spaces(entries, texts):
    expected = [naive_unspaced(entries, text) for text in texts]
    assert matches(entries, *texts, spaced=False) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(1, 300), st.data())
def test_texts_longer_than_a_block_equal_the_plain_loop(pieces, times, data):
    text = " ".join(pieces * times)
    tokens = text.split(" ")
    entries = []
    for _ in range(8):
        start = data.draw(st.integers(0, len(tokens) - 1))
        size = data.draw(st.integers(1, 40))
        entries.append(" ".join(tokens[start : start + size]))
    entries = list(dict.fromkeys(entries))
    assert matches(entries, "", text, "x", text) == [
        naive(entries, t) for t in ("", text, "x", text)
    ]


def test_many_empty_texts_and_nulls():
    texts = pa.array([None, "", "a"] * 5000, pa.string())
    for unspaced in (False, True):
        found = EntryMatcher(["a"], spaced=not unspaced).match(texts)
        assert found.to_pylist() == [None, [], [0]] * 5000


def test_slices_of_an_array_match_as_the_whole():
    texts = pa.array(["a b", None, "b", "", "a"] * 7, pa.string())
    matcher = EntryMatcher(["a", "b", "a b"])
    whole = matcher.match(texts).to_pylist()
    for start in range(0, 20, 3):
        assert matcher.match(texts.slice(start, 9)).to_pylist() == whole[start : start + 9]


def test_real_captions_equal_the_plain_loop():
    captions = real_captions()[:300]
    tokens = [spaced(text)[1:-1].split(" ") for text in real_captions()[:2000]]
    entries = list(
        dict.fromkeys(" ".join(t[n : n + 1 + n % 3]) for t in tokens for n in range(len(t)))
    )
    assert matches(entries, *captions) == [naive(entries, text) for text in captions]


def test_threads_share_a_matcher():
    matcher = EntryMatcher([f"w{n}" for n in range(5000)])
    texts = pa.array([f"w{n} x w{n + 1}, w{n * 7}" for n in range(4000)])
    expected = matcher.match(texts)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(matcher.match(texts))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.equals(expected) for one in found)
    assert len(found) == 4


@pytest.mark.parametrize(
    "text",
    [
        "a " * 500_000,
        "a" * 1_000_000,
        "," * 1_000_000,
        " " * 1_000_000,
        "w1 w2 w3 " * 111_111,
        "東京" * 500_000,
    ],
)
def test_a_caption_of_a_megabyte_takes_a_moment(text):
    entries = ["a", " ".join("a" * 100), ",", "w1 w2", "w2 w3 w1", "東", "京東京"]
    start = time.process_time()
    found = [matches(entries, text, spaced=spaced)[0] for spaced in (True, False)]
    assert time.process_time() - start < 3
    assert found[0] == naive(entries, text)


@pytest.mark.parametrize(
    ("offsets", "data", "first", "count"),
    [
        ([0, 5], b"abc", 0, 1),
        ([2, 1], b"abc", 0, 1),
        ([-1, 1], b"abc", 0, 1),
        ([0, 1], b"abc", 0, 2),
        ([0, 1], b"abc", 2, 0),
        ([0, 1], b"abc", -1, 1),
        ([0, 1], b"abc", 0, -1),
        ([], b"", 0, 0),
        ([0, 1], b"abc", 0, 2**62),
    ],
)
def test_offsets_that_lie_are_refused(offsets, data, first, count):
    raw = b"".join(o.to_bytes(4, "little", signed=True) for o in offsets)
    matcher = Matcher(b"\x00\x00\x00\x00\x01\x00\x00\x00", b"a", spaced=True)
    with pytest.raises(ValueError, match="offsets"):
        matcher.match(raw, data, first, count)
    if first == 0 and count == 1:
        with pytest.raises(ValueError, match="offsets"):
            Matcher(raw, data, spaced=True)


@given(st.lists(st.binary(max_size=12), max_size=8), st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_equal_the_plain_loop(entries, texts):
    def packed(parts):
        ends = [sum(map(len, parts[:n])) for n in range(len(parts) + 1)]
        return b"".join(end.to_bytes(4, "little") for end in ends), b"".join(parts)

    entries = list(dict.fromkeys(entries))
    offsets, ids = Matcher(*packed(entries), spaced=True).match(*packed(texts), 0, len(texts))
    ends = memoryview(offsets).cast("i").tolist()
    found = memoryview(ids).cast("i").tolist()
    latin = [entry.decode("latin-1") for entry in entries]
    assert [found[a:b] for a, b in pairwise(ends)] == [
        naive(latin, text.decode("latin-1")) for text in texts
    ]


# The operator


@pytest.fixture
def vocabulary(tmp_path):
    def write(text):
        path = tmp_path / "words.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def samples(*pairs):
    texts, languages = zip(*pairs, strict=True)
    return pa.table({"text": pa.array(texts, pa.string()), "language": pa.array(languages)})


MIXED = "car\nred car\n# lang: zh\n汽车\ncar\n# lang: de\nAuto\n"
ROWS = (
    ("a red car", "en"),
    ("红色汽车car", "zh"),
    ("ein Auto", "de"),
    ("nothing", "en"),
    ("une car", "fr"),
    ("123", None),
    (None, None),
    ("", "en"),
    ("car Auto", "de"),
)
FOUND = (
    ([0, 1], "en"),
    ([2, 3], "zh"),
    ([4], "de"),
    ([], "en"),
    (None, None),
    (None, None),
    (None, None),
    ([], "en"),
    ([4], "de"),
)


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 64])
def test_a_caption_is_matched_in_its_language_whatever_the_batch(run, vocabulary, batch_rows):
    operator = Concepts(vocabulary=Vocabulary.at(vocabulary(MIXED)))
    out = run(operator, samples(*ROWS), batch_rows=batch_rows)
    assert out.schema.field("concepts").type == pa.list_(pa.int32())
    pairs = zip(out["concepts"].to_pylist(), out["concept_language"].to_pylist(), strict=True)
    assert tuple(pairs) == FOUND
    assert out["error"].null_count == len(ROWS)


def test_sections_of_a_language_may_be_parted(run, vocabulary):
    path = vocabulary("car\r\n# lang: zh\r\n汽车\r\n#lang:en\r\n#1\r\nred car")
    operator = Concepts(vocabulary=Vocabulary.at(path))
    out = run(operator, samples(("#1 red car", "en"), ("汽车", "zh")))
    assert out["concepts"].to_pylist() == [[0, 2, 3], [1]]


def test_the_shipped_vocabulary_names_what_the_demo_draws(run):
    entries = Concepts().entries()["en"]
    assert {*THINGS, *COLOURS} <= set(entries)
    assert 1000 < len(entries) < 5000
    assert list(entries) == sorted(entries)
    out = run(Concepts(), samples(("Two red apples and a police car, on a beach", "en")))
    named = {entry for entry, number in entries.items() if number in out["concepts"].to_pylist()[0]}
    assert named == {"red", "apples", "police car", "car", "beach"}


def test_a_recorded_recipe_finds_the_shipped_vocabulary_again():
    known = Concepts().vocabulary
    resumed = Concepts(vocabulary=Vocabulary(name=known.name, sha256=known.sha256, path=""))
    assert resumed.entries() == Concepts().entries()
    other = Concepts(vocabulary=Vocabulary(name="mine", sha256="0" * 64, path=""))
    with pytest.raises(UsageError, match="vocabulary mine is known by its hash alone"):
        other.open()


def test_the_fingerprint_is_of_the_content_and_not_of_its_place(vocabulary, tmp_path):
    first = Concepts(vocabulary=Vocabulary.at(vocabulary("car\n")))
    moved = tmp_path / "elsewhere" / "words.txt"
    moved.parent.mkdir()
    moved.write_text("car\n")
    same = Concepts(vocabulary=Vocabulary.at(str(moved)))
    moved.write_text("cat\n")
    other = Concepts(vocabulary=Vocabulary.at(str(moved)))
    prints = [operator_fingerprint(operator, {}) for operator in (first, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_vocabulary_that_changes_under_a_run_stops_it(vocabulary):
    operator = Concepts(vocabulary=Vocabulary.at(vocabulary("car\n")))
    vocabulary("cat\n")
    with pytest.raises(UsageError, match="changed during the run"):
        operator.open()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car\n\nbus\n", ":2: an empty entry"),
        ("car\n \t\n", ":2: an empty entry"),
        ("car\n\n", ":2: an empty entry"),
        ("", ":1: an empty entry"),
        ("car\nbus\n car \n", ":3: 'car' is already there, on line 1"),
        ("# lang: zh\ncar\n# lang: en\nbus\ncar\nbus\n", ":6: 'bus' is already there, on line 4"),
        ("# lang: 中文\n汽车\n", ":1: '中文' is no language code"),
        ("# lang:\ncar\n", ":1: '' is no language code"),
        ("# lang: zh\n", ": a vocabulary without an entry"),
        (f"car\n{'x' * (MAX_ENTRY + 1)}\n", ":2: an entry of over 256 characters"),
        (b"car\nb\xffs\n", ":2: not UTF-8 text"),
    ],
)
def test_a_bad_vocabulary_is_one_clear_line(vocabulary, text, message):
    path = vocabulary(text)
    with pytest.raises(UsageError) as said:
        Vocabulary.at(path)
    assert str(said.value).startswith(f"{path}{message}")
    assert "\n" not in str(said.value)


def test_a_missing_vocabulary_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match="vocabulary cannot be read"):
        Vocabulary.at(str(tmp_path / "none.txt"))


def test_an_entry_in_two_languages_is_two_entries(vocabulary):
    entries = Vocabulary.at(vocabulary("\ufeffcar\n# lang: fr\ncar\n")).entries()
    assert entries == {"en": {"car": 0}, "fr": {"car": 1}}


def test_the_shipped_file_is_a_whole_vocabulary():
    data = SHIPPED.read_bytes()
    assert data.startswith(b"# lang: en\n")
    assert data.endswith(b"\n")
