"""Vocabularies out of texts: counts, mutual information, names, given lists, the same bytes."""

import json
import math
import random
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest

from curation.core.errors import CurationError, UsageError
from curation.core.progress import SILENT
from curation.core.vocabulary import Vocabulary
from curation.engines.local import LocalEngine
from curation.operators.text.matcher import UNSPACED, EntryMatcher
from curation.operators.text.phrases import as_matched, names, phrases, sentences
from curation.pipeline import concept_counts
from curation.pipeline.concepts import Built, VocabularyOptions, build_vocabulary
from curation.pipeline.ingest import IngestRequest, ingest
from tests.operators.rows import real_captions
from tests.pipeline.corpora import WORDS, caption, write_pairs


def build(source, *, workers=0, **options) -> Built:
    with LocalEngine(workers=workers, memory="500MB") as engine:
        return build_vocabulary(str(source), VocabularyOptions(**options), engine, SILENT)


def lines(path, texts):
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def drawn(count, seed=0):
    """Texts of lower-case words whose frequencies fall as 1/rank, and that favour each other."""
    rng = random.Random(seed)
    words = [f"w{n}" for n in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    texts = []
    for _ in range(count):
        text = []
        for word in rng.choices(words, weights, k=8):
            text += [word, f"{word}x"] if rng.random() < 0.3 else [word]
        texts.append(" ".join(text))
    return texts


def naive(texts, min_count, min_pmi, min_pairs=1):
    """The words and pairs of texts without points or capitals, from the definitions."""
    words = Counter(word for text in texts for word in text.split())
    pairs = Counter(pair for text in texts for pair in pairwise(text.split()))
    total = sum(words.values())
    pmi = {(a, b): math.log2(n * total / (words[a] * words[b])) for (a, b), n in pairs.items()}
    often = [word for word in words if words[word] >= min_count]
    close = [pair for pair in pairs if pmi[pair] >= min_pmi and pairs[pair] >= min_pairs]
    return [
        *sorted(often, key=lambda word: (-words[word], word)),
        *(" ".join(p) for p in sorted(close, key=lambda p: (-pmi[p], " ".join(p)))),
    ]


@pytest.mark.parametrize(
    ("min_count", "min_pmi", "min_pairs"), [(5, 3, 1), (1, 1.5, 2), (40, 9, 1)]
)
def test_words_and_pairs_equal_a_plain_count(tmp_path, min_count, min_pmi, min_pairs):
    texts = drawn(400)
    expected = naive(texts, min_count, min_pmi, min_pairs)
    options = {"min_count": min_count, "min_pmi": min_pmi, "min_pairs": min_pairs}
    built = build(lines(tmp_path / "texts.txt", texts), **options)
    words = len([entry for entry in expected if " " not in entry])
    assert built.entries[:words] == expected[:words]
    assert sorted(built.entries) == sorted(expected)  # equal PMI may differ in its last bit
    assert built.sources == {"word list": 0, "WordNet": 0, "words": words,
                             "pairs": len(expected) - words, "names": 0}  # fmt: skip
    assert (built.texts, built.skipped, built.dropped) == (400, 0, 0)
    assert built.words == sum(len(text.split()) for text in texts)


def test_a_threshold_that_a_pair_meets_exactly_keeps_it(tmp_path):
    texts = ["a b", "c d", "e f", "g h"]  # PMI = log2(1 * 8 / (1 * 1)) = 3
    source = lines(tmp_path / "texts.txt", texts)
    assert build(source, min_count=2, min_pmi=3).entries == ["a b", "c d", "e f", "g h"]
    with pytest.raises(UsageError, match="no entry"):
        build(source, min_count=2, min_pmi=3.0001)


def test_counts_that_are_set_aside_in_many_parts_add_up(tmp_path, monkeypatch):
    source = lines(tmp_path / "texts.txt", drawn(300))
    whole = build(source, min_count=3, min_pmi=2)
    monkeypatch.setattr(concept_counts, "HELD", 50)
    assert build(source, min_count=3, min_pmi=2) == whole


def test_every_form_of_source_gives_the_same_vocabulary(tmp_path):
    texts = [*drawn(150), 'a "quoted" w1', "naïve café 東京"]
    expected = build(lines(tmp_path / "texts.txt", texts), min_count=2, min_pmi=4)
    rows = [{"id": n, "alt": text} for n, text in enumerate(texts)]
    (tmp_path / "a.json").write_text(json.dumps(texts, indent=1))
    (tmp_path / "b.json").write_text(json.dumps(rows, ensure_ascii=False))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "d.ndjson").write_text("".join(json.dumps(text) + "\r\n\r\n" for text in texts))
    for name in ("a.json", "b.json", "c.jsonl", "d.ndjson"):
        assert build(tmp_path / name, min_count=2, min_pmi=4) == expected, name


def test_a_json_list_is_read_across_the_chunks_that_it_is_read_in(tmp_path):
    texts = [f"{'word ' * 700}{n}" for n in range(900)]  # 3 MB
    (tmp_path / "a.json").write_text(json.dumps([1.5, None, *texts]))
    built = build(tmp_path / "a.json", min_count=1000)
    assert (built.texts, built.skipped, built.entries) == (900, 2, ["word"])


def test_a_bad_record_costs_only_itself(tmp_path):
    rows = ['{"text": "red car"}', "{", '{"text": 7}', "[[[" * 9000, '{"text": "red \\ud800car"}',
            '{"text": ""}', "null"]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("".join(f"{row}\n" for row in rows))
    built = build(tmp_path / "a.jsonl", min_count=2)
    assert (built.texts, built.skipped, built.entries) == (2, 5, ["car", "red"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"text": "a"}', "a.json: not a JSON list"),
        ("a.json", '["a", "b"', "a.json: damaged JSON"),
        ("a.json", '["a", {"b": }]', "a.json: damaged JSON"),
        ("a.json", "", "a.json: not a JSON list"),
        ("a.jsonl", '{"title": "a"}\n', "no column text or caption .* one of: title"),
        ("a.txt", "", "a.txt: no texts to count"),
        ("a.jsonl", "[1]\n", "a.jsonl: no texts to count"),
        ("a.jsonl", '{"text": 1}\n', "column text holds no text"),
        ("a.txt", "...\n!?\n", "no entry: of 0 words in 2 en texts"),
    ],
)
def test_a_source_without_texts_is_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message) as said:
        build(tmp_path / name)
    assert "\n" not in str(said.value)


def test_a_source_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(CurationError, match="no such file or corpus"):
        build(tmp_path / "none.txt")
    with pytest.raises(CurationError, match="not a corpus"):
        build(tmp_path)


@pytest.mark.parametrize(
    "options",
    [{"min_count": 0}, {"min_pairs": 0}, {"min_names": 0}, {"max_entries": 0},
     {"max_entries": 10**9}, {"min_pmi": math.nan}, {"min_pmi": math.inf}, {"language": "English"}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        VocabularyOptions(**options)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corpus_counts_whatever_the_workers(tmp_path, workers):
    write_pairs(tmp_path / "pairs", 30)
    request = IngestRequest(source=str(tmp_path / "pairs"))
    with LocalEngine(workers=0) as engine:
        ingest(request, str(tmp_path / "corpus"), engine, SILENT)
    built = build(tmp_path / "corpus", workers=workers, min_count=5)
    counts = Counter(word for n in range(30) for word in caption(n).split())
    often = sorted((w for w in counts if counts[w] >= 5), key=lambda w: (-counts[w], w))
    assert built.entries == often
    assert set(WORDS) <= set(often)
    assert (built.texts, built.words) == (30, sum(counts.values()))


def test_a_measured_corpus_counts_captions_of_the_language_alone(done):
    assert build(done, min_count=10).texts == 60
    with pytest.raises(UsageError, match=r"no texts to count .* only captions in zh are"):
        build(done, min_count=1, language="zh")


def test_given_lists_come_first_and_are_written_as_they_match(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("# lang: en\nSt. Ives\n\nred\nred car\n\tSt. Ives \n...\n" + "x" * 300 + "\n")
    source = lines(tmp_path / "texts.txt", ["a red car by the sea, St. Ives"] * 3)
    built = build(source, min_count=3, words=str(words), max_entries=6)
    assert built.entries[:3] == ["St .  Ives", "red", "red car"]
    assert built.entries == ["St .  Ives", "red", "red car", "Ives", "St", "a"]
    assert built.dropped == 4  # by, car, sea, the
    matcher = EntryMatcher(built.entries)
    found = matcher.match(pa.array(["a red car in St. Ives!"])).to_pylist()
    assert found == [[0, 1, 2, 3, 4, 5]]


def test_wordnet_lemmas_are_read_in_either_form(tmp_path):
    source = lines(tmp_path / "texts.txt", ["car"])
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "index.noun").write_text(
        "  1 This software and database is being provided to you, the LICENSEE, by  \n"
        "hot_dog n 2 2 @ ~ 2 1 07676602 10187557  \n"
        "st._louis n 1 1 @i 1 0 09094093  \n"
    )
    options = {"min_count": 1, "wordnet": str(tmp_path / "dict")}
    assert build(source, **options).entries == ["hot dog", "st .  louis", "car"]
    (tmp_path / "dict" / "data.noun").write_text(
        "  1 This software and database is being provided to you, the LICENSEE, by  \n"
        "02958343 06 n 05 car 0 auto 0 automobile 0 machine 6 motorcar 0 000 | a motor vehicle\n"
        "08524735 15 n 02 Big_Apple 0 New_York 0 001 @i 08524735 n 0000 | a city  \n"
    )
    built = build(source, **options)
    assert built.entries == ["car", "auto", "automobile", "machine", "motorcar", "Big Apple",
                             "New York"]  # fmt: skip
    assert built.sources["WordNet"] == 7
    with (tmp_path / "dict" / "data.noun").open("a") as file:
        file.write("not a synset\n")
    with pytest.raises(UsageError, match=r"data\.noun:4: not a line of WordNet"):
        build(source, **options)
    with pytest.raises(UsageError, match=r"neither data\.noun nor index\.noun"):
        build(source, wordnet=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a man from New York in Paris", ["New York", "Paris"]),
        ("New York at night", []),
        ("a walk. New York at night", []),
        ("Big Red Car For Sale", []),
        ("visiting the Statue of Liberty today", ["Statue of Liberty"]),
        ("the Sea of the", ["Sea"]),
        ("portrait of Vincent van Gogh, Amsterdam", ["Vincent van Gogh", "Amsterdam"]),
        ('songs by "Prince"', ["Prince"]),
        ("one A B C D E F G", []),
        ("", []),
    ],
)
def test_names_are_capitalised_runs_in_mid_sentence(text, found):
    assert [name for s in sentences(phrases(text, "en")) for name in names(s)] == found


def test_names_are_counted(tmp_path):
    texts = ["in New York", "from New York", "near Old York", "New York"]
    built = build(lines(tmp_path / "texts.txt", texts), min_count=100, min_names=2)
    assert built.entries == ["New York"]


def test_points_and_signs_part_phrases():
    text = 'A (red) "car", 3.5 m & more... The end; x`y'
    found = [(phrase.words, phrase.opens) for phrase in phrases(text, "en")]
    assert found == [
        (["A", "red", "car"], True),
        (["3"], False),
        (["5", "m"], True),
        (["more"], False),
        (["The", "end"], True),
        (["x"], False),
        (["y"], False),
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_entry_matches_a_text_that_it_was_counted_in(tmp_path, language):
    texts = list(real_captions()[:3000])
    built = build(
        lines(tmp_path / "texts.txt", [" ".join(text.split()) for text in texts]),
        min_count=4,
        min_pmi=6,
        min_pairs=3,
        min_names=3,
        language=language,
    )
    assert len(built.entries) > 500
    (tmp_path / "v.txt").write_bytes(built.encoded(language))
    known = Vocabulary.at(str(tmp_path / "v.txt")).entries()
    assert known == {language: {entry: n for n, entry in enumerate(built.entries)}}
    matcher = EntryMatcher(built.entries, spaced=language not in UNSPACED)
    found = matcher.match(pa.array(texts)).values.to_pylist()
    missed = set(range(len(built.entries))) - set(found)
    # a word of which every occurrence stands in quotes or brackets is counted but never matched
    assert len(missed) < 0.01 * len(built.entries)


def test_chinese_characters_and_their_pairs(tmp_path):
    texts = ["红色汽车。", "蓝色汽车,汽车!", "カメラ", "カメラ", "DNA检测", "DNA"]
    built = build(
        lines(tmp_path / "texts.txt", texts), language="zh", min_count=2, min_pmi=2, min_pairs=2
    )
    assert built.entries == ["汽", "车", "DNA", "色", "カメ", "メラ", "汽车", "色汽"]
    assert as_matched("3.5 寸", "zh") == "3.5 寸"


def test_the_same_texts_give_the_same_bytes_in_any_order(tmp_path):
    texts = drawn(200)
    first = build(lines(tmp_path / "a.txt", texts), min_count=2, min_pmi=2)
    second = build(lines(tmp_path / "b.txt", texts[::-1]), min_count=2, min_pmi=2)
    assert first.encoded("en") == second.encoded("en")
    assert first.encoded("en").startswith(b"# lang: en\nw0\n")
