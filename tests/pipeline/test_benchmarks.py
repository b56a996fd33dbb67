"""Benchmarks: read in every form, measured into one file, and what a corpus does with it."""

import hashlib
import io
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.core.corpus import benchmark_path
from curation.core.errors import UsageError
from curation.core.operator import IMAGE, BatchFn, Operator, append
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.sources import SourceOptions
from curation.io.store import TEMPORARY
from curation.io.tables import read_table
from curation.operators.image.pixels import ImagePixels
from curation.pipeline.benchmarks import (
    named_features,
    named_folders,
    prepare_benchmarks,
    with_features,
)
from curation.pipeline.gc import collect, garbage
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.run import decide_and_save
from curation.relational.decontaminate import Decontaminate
from tests.io.images import REALDATA
from tests.pipeline.corpora import caption, fates, ledger, picture, plain_recipe, write_pairs

QUESTION = "what stands behind the red lighthouse on the left side of the harbour wall today"
SHORT = "how many copper kettles hang above the stove"


@dataclass(frozen=True, kw_only=True)
class TinyClip(Operator):
    """Stands for a CLIP: two numbers of an image's colour."""

    name = "tiny_clip"
    scale: float = 1.0

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([IMAGE])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("clip_image", pa.binary(4))])

    def open(self) -> BatchFn:
        return self._measure

    def _measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        colours = [_colour(data, self.scale) for data in batch["image"].to_pylist()]
        return append(batch, self.provides, {"clip_image": colours})


def _colour(data: bytes | None, scale: float) -> bytes | None:
    try:
        pixels = np.asarray(Image.open(io.BytesIO(data or b"")).convert("RGB"), np.float64)
    except OSError:
        return None
    red, _, blue = pixels.mean(axis=(0, 1)) * scale
    return np.array([red, blue], "<f2").tobytes()


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def phash_of(data: bytes) -> int:
    batch = pa.RecordBatch.from_pydict({"image": pa.array([data], pa.large_binary())})
    return ImagePixels().open()(batch)["phash"].to_pylist()[0]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A measured corpus of 40 pairs."""
    folder = tmp_path_factory.mktemp("corpus")
    source = write_pairs(folder / "pairs", 40)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=25))
    with LocalEngine(workers=0, memory="500MB") as engine:
        made = ingest(request, str(folder / "corpus"), engine, SILENT)
        measure(made, OPERATORS, engine, SILENT)
    return made


OPERATORS = (*plain_recipe().operators, TinyClip())


class Heard:
    """A Progress that keeps what is said."""

    def __init__(self):
        self.lines = []
        self.track = SILENT.track

    def say(self, line):
        self.lines.append(line)


def prepare(corpus, operators=OPERATORS, workers=0, progress=SILENT, **folders):
    named = {name: str(folder) for name, folder in folders.items()}
    with LocalEngine(workers=workers, memory="500MB") as engine:
        return prepare_benchmarks(corpus, named, operators, engine, progress)


def rows_of(corpus, folder, **options):
    (file,) = prepare(corpus, own=folder, **options)
    return file.features().to_pylist()


def texts_of(corpus, folder):
    """(place, text) of a benchmark, in order."""
    return [(row["item"], row["text"]) for row in rows_of(corpus, folder) if row["text"]]


def decided(corpus, step, operators=OPERATORS):
    """The corpus after one stage, decontamination."""
    made = replace(plain_recipe(), operators=operators, stages=(step,))
    with LocalEngine(workers=0, memory="500MB") as engine:
        layers = measure(corpus, operators, engine, SILENT)
        return decide_and_save(corpus, made, layers, engine, SILENT)


# Every form that a benchmark can have.


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own" / "images").mkdir(parents=True)
    return tmp_path / "own"


def test_a_folder_of_images_and_texts(corpus, folder):
    data = encoded(picture(900), "PNG")
    for name in ("a.png", "b.png"):
        (folder / "images" / name).write_bytes(data)
    (folder / "images" / "a.txt").write_text(SHORT)
    (folder / "images" / "a.json").write_text(json.dumps({"question": QUESTION, "n": 3}))
    (folder / "stray.txt").write_text("one line\nand another")
    nothing = dict.fromkeys(("text", "image", "phash", "clip_image", "error"))
    image = {"phash": phash_of(data), "clip_image": _colour(data, 1.0)}
    image["image"] = hashlib.sha256(data).hexdigest()
    assert rows_of(corpus, folder) == [
        {**nothing, "item": "images/a.png", **image},
        {**nothing, "item": "stray.txt:0", "text": "one line\nand another"},
        {**nothing, "item": "images/a.json:0", "text": QUESTION},
        {**nothing, "item": "images/a.txt:0", "text": SHORT},
    ]


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


COCO = {"info": {"year": 1}, "images": [{"id": 1}], "annotations": [{"caption": QUESTION}]}
BASE64 = "iVBORw0KGgo" * 200


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("q.jsonl", jsonl({"question": QUESTION, "answer": "a boat", "n": 4}),
         [("q.jsonl:0", "a boat"), ("q.jsonl:0", QUESTION)]),
        ("q.jsonl", jsonl({"text": SHORT, "choices": ["one", {"b": "two"}]}, {"text": SHORT}),
         [("q.jsonl:0", "one"), ("q.jsonl:0", "two"), ("q.jsonl:0", SHORT)]),
        ("q.csv", f'question,answer\n"{QUESTION}",yes\n',
         [("q.csv:0", "yes"), ("q.csv:0", QUESTION)]),
        ("q.json", json.dumps([{"q": QUESTION}, "bare"]),
         [("q.json:0", QUESTION), ("q.json:1", "bare")]),
        ("q.json", json.dumps(COCO), [("q.json:1", QUESTION)]),
        ("q.json", json.dumps({"1": {"q": QUESTION}}), [("q.json:0", QUESTION)]),
        ("q.txt", f"{QUESTION}\n", [("q.txt:0", f"{QUESTION}\n")]),
        ("q.txt", QUESTION.encode() + b" \xff", [("q.txt:0", f"{QUESTION} ?")]),
        ("q.tsv", f"index\tdata\tquestion\n0\t{BASE64}\t{QUESTION}\n", [("q.tsv:0", "0"),
         ("q.tsv:0", QUESTION)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("alone", [True, False])
def test_texts_alone(corpus, tmp_path, name, content, expected, alone):
    """As a file, and as a folder of it; every string of every column counts."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert texts_of(corpus, path if alone else tmp_path) == expected


def with_images(folder):
    """Pairs with a question each, as a table that names images."""
    write_pairs(folder, 3)
    rows = [{"image": f"images/{n}.jpg", "question": f"{QUESTION} {n}"} for n in range(3)]
    (folder / "pairs.jsonl").write_text(jsonl(*rows))
    return rows


def as_parquet(folder):
    rows = with_images(folder)
    read = [{**row, "image": (folder / row["image"]).read_bytes()} for row in rows]
    out = folder.parent / "parquet" / "test"
    out.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(read), out / "data.parquet")
    return folder.parent / "parquet", "test/data.parquet:0"


def as_tar(folder):
    from tests.io.sources.pairs import write_tar

    rows = with_images(folder)
    members = []
    for n, row in enumerate(rows):
        data = (folder / row["image"]).read_bytes()
        said = json.dumps({"question": row["question"]}).encode()
        members += [(f"{n}.jpg", data), (f"{n}.json", said)]
    return write_tar(folder.parent / "tars" / "0.tar", members).parent, "0.tar:0"


def as_corpus(folder):
    with_images(folder)
    request = IngestRequest(source=str(folder))
    with LocalEngine(workers=0) as engine:
        ingest(request, str(folder.parent / "other"), engine, SILENT)
    return folder.parent / "other", "pairs.jsonl:0"


def as_table(folder):
    with_images(folder)
    return folder / "pairs.jsonl", "pairs.jsonl:0"


def as_folder(folder):
    with_images(folder)
    return folder, "images/0.jpg"


@pytest.mark.parametrize("form", [as_folder, as_table, as_parquet, as_tar, as_corpus])
def test_images_and_questions_in_every_form(corpus, tmp_path, form):
    place, first = form(tmp_path / "own")
    rows = rows_of(corpus, place)
    hashes = [phash_of((tmp_path / "own" / f"images/{n}.jpg").read_bytes()) for n in range(3)]
    assert sorted(row["phash"] for row in rows if row["image"]) == sorted(hashes)
    texts = {row["text"] for row in rows if row["text"]}
    assert {f"{QUESTION} {n}" for n in range(3)} <= texts
    assert not [row["error"] for row in rows if row["error"]]
    assert rows[0]["item"] == first


# What cannot be read.


def test_what_cannot_be_read_is_told_and_stops_nothing(corpus, folder):
    good = encoded(picture(901))
    (folder / "images" / "good.jpg").write_bytes(good)
    (folder / "images" / "cut.jpg").write_bytes(good[:300])
    (folder / "images" / "none.png").write_bytes(b"")
    (folder / "q.jsonl").write_text(
        jsonl({"image": "images/gone.jpg", "q": QUESTION}, {"image": "images/good.jpg"})
        + "{broken\n"
    )
    (folder / "bad.json").write_text("[1, ")
    (folder / "bad.parquet").write_bytes(b"PAR1 and no more")
    (folder / "readme.md").write_text("# nothing")
    heard = Heard()
    (file,) = prepare(corpus, own=folder, progress=heard)
    rows = file.features().to_pylist()
    assert {row["item"]: row["error"] for row in rows if row["error"]} == {
        "images/cut.jpg": "truncated_image",
        "images/none.png": "empty_file",
        "q.jsonl:0": "missing_file",
        "q.jsonl:2": "corrupt_record",
        "bad.json:0": "corrupt_record",
        "bad.parquet:0": "corrupt_record",
    }
    assert [row["item"] for row in rows if row["image"]] == ["images/good.jpg"]
    assert QUESTION in [row["text"] for row in rows]
    assert heard.lines == ["benchmark own: passed over 1 .md"]
    after = decided(corpus, Decontaminate(name="decontaminate", benchmarks=(file,)))
    (stage,) = after.manifest.stages
    assert stage.notes["own: items that could not be read"] == 6


def only_broken(folder):
    (folder / "images" / "x.jpg").write_bytes(b"\xff\xd8 no image")
    return r"nothing in .* can be compared \(1 items in it cannot be read\)"


def only_solid(folder):
    Image.new("RGB", (64, 64), "red").save(folder / "images" / "x.png")
    return "nothing in .* can be compared"


def only_notes(folder):
    (folder / "readme.md").write_text("nothing")
    return "nothing in .* can be compared"


def empty_table(folder):
    (folder / "q.jsonl").write_text("\n")
    return "nothing in .* can be compared"


def gone(folder):
    shutil.rmtree(folder)
    return "no such file or folder"


@pytest.mark.parametrize("spoil", [only_broken, only_solid, only_notes, empty_table, gone])
def test_a_benchmark_with_nothing_to_compare_is_one_line(corpus, folder, spoil):
    message = spoil(folder)
    with pytest.raises(UsageError, match=f"^benchmark own: .*{message}"):
        prepare(corpus, operators=plain_recipe().operators, own=folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["folder"], "write it as NAME=FOLDER"),
        (["=folder"], "write it as NAME=FOLDER"),
        (["a=x", "a=y"], "two benchmarks are called a"),
    ],
)
def test_a_user_names_folders(given, message):
    assert named_folders(["a=x=y", " b = z"]) == {"a": "x=y", "b": "z"}
    with pytest.raises(UsageError, match=message):
        named_folders(given)


# The same folder gives the same file, measured once.


def test_features_depend_on_content_alone(corpus, tmp_path):
    first = tmp_path / "first"
    with_images(first)
    shutil.copytree(first, tmp_path / "second")
    files = [
        *prepare(corpus, own=first),
        *prepare(corpus, other=tmp_path / "second", workers=2, operators=OPERATORS[:3]),
        *prepare(corpus, own=tmp_path / "second", workers=2),
    ]
    assert files[0] == files[2]
    assert files[0].sha256 != files[1].sha256
    assert all(corpus.store.exists(benchmark_path(file.sha256)) for file in files)


def test_a_benchmark_that_stands_in_the_manifest_is_not_measured_again(corpus, tmp_path):
    with_images(tmp_path / "own")
    files = prepare(corpus, own=tmp_path / "own")
    after = decided(corpus, Decontaminate(name="decontaminate", benchmarks=files))
    heard = Heard()
    assert prepare(after, own=tmp_path / "own", progress=heard) == files
    assert heard.lines == ["benchmark own: already measured"]
    (tmp_path / "own" / "more.txt").write_text(SHORT)
    heard = Heard()
    (changed,) = prepare(after, own=tmp_path / "own", progress=heard)
    assert heard.lines == []
    assert SHORT in changed.features()["text"].to_pylist()


# What a corpus does with it.


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A benchmark of pictures and captions of the corpus, changed as copies on the web are."""
    folder = tmp_path_factory.mktemp("planted")
    picture(3).save(folder / "copy.png")
    picture(7).resize((200, 185)).save(folder / "small.jpg", quality=60)
    picture(950).save(folder / "other.jpg")
    quoted = f"{caption(11)} and so they went on to the town".upper()
    (folder / "questions.jsonl").write_text(jsonl({"question": quoted, "answer": "no"}))
    return folder


def test_planted_copies_and_quotes_are_found(corpus, planted):
    files = prepare(corpus, planted=planted)
    step = Decontaminate(name="decontaminate", benchmarks=files, ngram=9)
    after = decided(corpus, step)
    found = {
        (row["shard"] * 25 + row["row"]): (row["reason"], row["detail"])
        for row in ledger(after).to_pylist()
        if row["reason"]
    }
    assert found == {
        3: ("benchmark_phash", "planted"),
        7: ("benchmark_phash", "planted"),
        11: ("benchmark_ngram", "planted"),
    }
    (stage,) = after.manifest.stages
    assert stage.reasons == {"benchmark_ngram": 1, "benchmark_phash": 2}
    assert stage.notes == {
        "planted: images": 3,
        "planted: samples that match": 3,
        "planted: texts": 2,
        "planted: texts too short to compare": 1,
    }
    matches = read_table(after.store, stage.tables["matches"].path).to_pylist()
    assert matches == [
        {"benchmark": "planted", "item": item, "reason": f"benchmark_{kind}", "samples": 1}
        for item, kind in [("copy.png", "phash"), ("questions.jsonl:0", "ngram"),
                           ("small.jpg", "phash")]
    ]  # fmt: skip
    assert fates(Path(after.store.url))[3] == ("dropped", "benchmark_phash")


def test_similar_images_are_found_where_similarity_is_on(corpus, planted):
    files = prepare(corpus, planted=planted)
    step = Decontaminate(name="decontaminate", benchmarks=files, clip_similarity=0.999999)
    off = decided(corpus, replace(step, clip_similarity=None, distance=0)).manifest.stages[0]
    on = decided(corpus, replace(step, distance=0)).manifest.stages[0]
    assert "benchmark_clip" not in off.reasons
    assert on.reasons["benchmark_clip"] >= 1
    assert on.reasons["benchmark_phash"] == off.reasons["benchmark_phash"]


def test_a_corpus_decides_again_without_the_folder(corpus, planted, tmp_path):
    shutil.copytree(planted, tmp_path / "planted")
    files = prepare(corpus, planted=tmp_path / "planted")
    step = Decontaminate(name="decontaminate", benchmarks=files, ngram=9)
    after = decided(corpus, step)
    shutil.rmtree(tmp_path / "planted")
    again = open_corpus(after.store.url)
    named = named_features(again.manifest)
    assert named == [("planted", files[0].sha256)]
    bare = tuple(replace(file, path="") for file in files)
    (located,) = with_features(again, (replace(step, benchmarks=bare, ngram=13),), OPERATORS)
    assert located.benchmarks[0].path == files[0].path
    assert decided(again, located).manifest.stages[0].reasons == {"benchmark_phash": 2}


def test_features_by_another_operator_are_refused(corpus, planted):
    files = prepare(corpus, planted=planted)
    step = Decontaminate(name="decontaminate", benchmarks=files, clip_similarity=0.9)
    others = (*OPERATORS[:3], TinyClip(scale=0.5))
    with pytest.raises(UsageError, match=r"clip_image of benchmark planted was measured by anoth"):
        with_features(corpus, (step,), others)
    off = replace(step, off="no CLIP")
    assert with_features(corpus, (off,), others) == (off,)
    without = replace(step, clip_similarity=None)
    assert with_features(corpus, (without,), others) == (without,)
    (bare,) = prepare(corpus, operators=OPERATORS[:3], planted=planted)
    with pytest.raises(UsageError, match=r"clip_image of benchmark planted"):
        with_features(corpus, (replace(step, benchmarks=(bare,)),), OPERATORS)


def test_what_the_manifest_names_is_no_garbage_and_appending_keeps_it(planted, tmp_path):
    source = write_pairs(tmp_path / "pairs", 12)
    request = IngestRequest(source=str(source))
    with LocalEngine(workers=0, memory="500MB") as engine:
        made = ingest(request, str(tmp_path / "corpus"), engine, SILENT)
        kept = prepare(made, planted=planted)
        (left,) = prepare(made, operators=OPERATORS[:3], planted=planted)
        after = decided(made, Decontaminate(name="decontaminate", benchmarks=kept))
        made.store.remove(TEMPORARY)
        assert garbage(after) == [benchmark_path(left.sha256)]
        assert collect(after) == [benchmark_path(left.sha256)]
        assert kept[0].features().num_rows
        more = IngestRequest(source=str(write_pairs(tmp_path / "more", 5, 100)), append=True)
        ingest(more, str(tmp_path / "corpus"), engine, SILENT)
    assert kept[0].features().num_rows


def test_real_pictures_that_were_encoded_again_are_found(tmp_path):
    source = REALDATA / "pairs"
    if not source.is_dir():
        pytest.skip("../shared/realdata is absent")
    with (source / "pairs.jsonl").open() as file:
        pairs = [json.loads(line) for line in file][::12]
    (tmp_path / "own").mkdir()
    for n, pair in enumerate(pairs[:16:2]):
        image = Image.open(source / pair["image"]).convert("RGB")
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(
            tmp_path / "own" / f"{n}.jpg", quality=75
        )
    texts = [pair["caption"].split() for pair in pairs[17:23]]
    quotes = [" ".join(words[:13]) for words in texts if len(words) >= 13]
    (tmp_path / "own" / "quotes.txt").write_text("\n".join(f"See: {quote}!" for quote in quotes))
    (tmp_path / "pairs").mkdir()
    rows = [{**pair, "image": str(source / pair["image"])} for pair in pairs]
    for row in rows:
        shutil.copy(row["image"], tmp_path / "pairs")
        row["image"] = Path(row["image"]).name
        row["text"] = row["caption"]
    (tmp_path / "pairs" / "pairs.jsonl").write_text(jsonl(*rows))
    operators = plain_recipe().operators
    with LocalEngine(workers=0, memory="500MB") as engine:
        request = IngestRequest(source=str(tmp_path / "pairs"))
        made = ingest(request, str(tmp_path / "corpus"), engine, SILENT)
        files = prepare_benchmarks(made, {"own": str(tmp_path / "own")}, operators, engine, SILENT)
    after = decided(made, Decontaminate(name="d", benchmarks=files), operators)
    found = {r["row"]: r["reason"] for r in ledger(after).to_pylist() if r["reason"]}
    assert [found.pop(n, None) for n in range(0, 16, 2)] == ["benchmark_phash"] * 8
    expected = {17 + n for n, words in enumerate(texts) if len(words) >= 13}
    assert len(expected) >= 3
    assert {n for n, reason in found.items() if reason == "benchmark_ngram"} >= expected
    assert len(found) <= len(expected) + 1
