"""The generator: same bytes whoever makes them, faults at the stated rates, a truth a pair."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from curation.core.errors import UsageError
from curation.demo.defects import DEFECTS, drawn
from curation.demo.generate import TRUTH_FILE, Plan, generate
from curation.demo.nouns import names_in
from curation.demo.pair import make_pair, plan_of, scene_of
from curation.engines.local import LocalEngine
from curation.io.store import Store
from curation.io.tables import read_table
from tests.pipeline.corpora import tree

SEED = 11


def made(out: Path, pairs: int, workers: int = 0, seed: int = SEED) -> Path:
    with LocalEngine(workers=workers) as engine:
        assert generate(out, Plan(seed=seed, pairs=pairs), engine)
    return out


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("demo") / "demo", 250)


def test_any_number_of_workers_makes_the_same_bytes(demo, tmp_path):
    assert tree(made(tmp_path / "two", 250, workers=2)) == tree(demo)


def test_a_larger_corpus_begins_with_a_smaller_one(demo, tmp_path):
    small, large = tree(made(tmp_path / "small", 120) / "source"), tree(demo / "source")
    assert {k: v for k, v in small.items() if k != "pairs.jsonl"}.items() <= large.items()
    lines = (tmp_path / "small/source/pairs.jsonl").read_text().splitlines()
    assert lines == (demo / "source/pairs.jsonl").read_text().splitlines()[:120]


def test_what_is_there_is_not_made_again_and_another_seed_replaces_it(tmp_path):
    out = made(tmp_path / "demo", 30)
    before = tree(out)
    with LocalEngine(workers=0) as engine:
        assert not generate(out, Plan(seed=SEED, pairs=30), engine)
        (out / TRUTH_FILE).unlink()  # as if it had been killed
        assert generate(out, Plan(seed=SEED, pairs=30), engine)
        assert tree(out) == before
        (out / "run").mkdir()  # of the corpus that goes
        assert generate(out, Plan(seed=SEED + 1, pairs=20), engine)
    assert tree(out) == tree(made(tmp_path / "fresh", 20, seed=SEED + 1))


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/mine.txt").write_text("mine")
    with LocalEngine(workers=0) as engine:
        with pytest.raises(UsageError, match="not made by the demo"):
            generate(tmp_path, Plan(pairs=5), engine)
        with pytest.raises(UsageError, match="at least 1"):
            generate(tmp_path / "new", Plan(pairs=0), engine)
    assert (tmp_path / "source/mine.txt").read_text() == "mine"


def test_the_truth_has_a_row_for_each_pair_and_the_source_says_nothing_of_it(demo):
    truth = read_table(Store(str(demo)), TRUTH_FILE).to_pylist()
    lines = (demo / "source/pairs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["row"] for row in truth] == list(range(250))
    assert [row["image"] for row in truth] == [row["image"] for row in rows]
    assert all(set(row) == {"image", "caption", "url", "license"} for row in rows)
    for line in lines:
        assert not any(name in line for name in DEFECTS)
    for row in truth:
        assert (demo / "source" / row["image"]).exists() == (row["defect"] != "missing_file")
        assert row["defect"] is None or row["defect"] in DEFECTS
        assert len(row["things"]) >= 1
        if row["original"] is not None:
            original = truth[row["original"]]
            assert original["defect"] is None
            assert original["row"] < row["row"]
            assert DEFECTS[row["defect"]].twin


def test_faults_come_at_the_stated_rates():
    steps = 100_000
    found = Counter(getattr(drawn((n + 0.5) / steps), "name", None) for n in range(steps))
    assert found.pop(None) == pytest.approx(steps * (1 - sum(d.rate for d in DEFECTS.values())))
    assert {name: count / steps for name, count in found.items()} == pytest.approx(
        {name: defect.rate for name, defect in DEFECTS.items()}
    )
    assert all(0.003 <= defect.rate <= 0.03 for defect in DEFECTS.values())


def some(defect: str, count: int = 6) -> list[int]:
    """The first pairs of the seed that have the defect."""
    found = [n for n in range(4000) if getattr(plan_of(SEED, n)[0], "name", None) == defect]
    assert len(found) >= count
    return found[:count]


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def test_planted_counts_follow_the_rates():
    plans = [plan_of(SEED, n) for n in range(10_000)]
    found = Counter(defect.name for defect, _ in plans if defect is not None)
    for name, defect in DEFECTS.items():
        spread = (10_000 * defect.rate) ** 0.5
        assert abs(found[name] - 10_000 * defect.rate) < 4 * spread, name
    assert sum(1 for defect, _ in plans if defect is None) / 10_000 > 0.7


def test_exact_duplicates_have_the_bytes_of_their_original():
    for name in ("exact_duplicate", "recaptioned_duplicate"):
        for n in some(name):
            copy = make_pair(SEED, n)
            original = make_pair(SEED, copy.truth["original"])
            assert copy.data == original.data
            assert copy.row["image"] != original.row["image"]
            same = copy.row["caption"] == original.row["caption"]
            assert same or name == "recaptioned_duplicate"


@pytest.mark.parametrize("kind", ["reencoded", "resized", "cropped"])
def test_near_duplicates_look_alike_and_differ_in_bytes(kind):
    for n in some(f"near_duplicate_{kind}"):
        copy = make_pair(SEED, n)
        original = make_pair(SEED, copy.truth["original"])
        assert copy.data != original.data
        one, two = opened(copy.data), opened(original.data)
        assert (one.size == two.size) == (kind == "reencoded")
        pixels = [image.resize((16, 16), Image.Resampling.BOX).tobytes() for image in (one, two)]
        apart = sum(abs(a - b) for a, b in zip(*pixels, strict=True)) / len(pixels[0])
        assert apart < (16 if kind == "cropped" else 5)


def test_a_mismatched_caption_names_nothing_in_the_picture():
    for n in some("mismatched_caption"):
        pair = make_pair(SEED, n)
        for group in scene_of(SEED, n).groups:
            if group.thing not in ("table", "tree", "star", "mountain"):  # scenery has these words
                assert not names_in(pair.row["caption"], group.thing)


def test_picture_defects_are_what_they_are_called():
    for n in some("solid_colour"):
        extrema = opened(make_pair(SEED, n).data).getextrema()
        assert max(high - low for low, high in extrema) <= 16  # a GIF's palette dithers
    for n in some("tiny"):
        assert min(opened(make_pair(SEED, n).data).size) <= 150
    for n in some("extreme_aspect"):
        size = opened(make_pair(SEED, n).data).size
        assert max(size) / min(size) > 3.2


def test_file_defects_are_what_they_are_called():
    for n in some("truncated_file"):
        pair = make_pair(SEED, n)
        assert pair.data
        with pytest.raises(OSError), Image.open(io.BytesIO(pair.data)) as image:
            image.load()
    for n in some("html_as_jpg"):
        pair = make_pair(SEED, n)
        assert pair.data is not None
        assert pair.data.startswith(b"<!DOCTYPE html>")
        assert pair.row["image"].endswith(".jpg")
    assert all(make_pair(SEED, n).data is None for n in some("missing_file"))


def test_boilerplate_stands_on_many_images():
    captions = Counter(make_pair(SEED, n).row["caption"] for n in some("boilerplate_caption", 40))
    assert len(captions) == 4
    assert min(captions.values()) >= 2


def test_head_and_tail_of_the_names_differ_as_zipf_says():
    shown = Counter(g.thing for n in range(3000) for g in scene_of(SEED, n).groups)
    assert len(shown) >= 200
    (_, first), *rest = shown.most_common()
    assert first > 8 * rest[18][1]
