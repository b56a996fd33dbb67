"""What changed between two corpora."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.report.diff import change_text, changes, flat, moved, recipe_changes
from jobs.image_text import recipe
from tests.pipeline.corpora import curate, ledger, write_pairs

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
JSON = st.recursive(
    LEAVES, lambda inner: st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
)


def test_leaves_are_named_by_path_and_lists_by_name_or_reason():
    said = {
        "stages": [
            {"name": "near", "distance": 3, "keep": ["area"]},
            {"name": "rules", "rules": [{"reason": "blur", "threshold": 10}]},
        ],
        "seed": 0,
    }
    assert dict(flat(said)) == {
        "stages.near.name": "near",
        "stages.near.distance": 3,
        "stages.near.keep": ["area"],
        "stages.rules.name": "rules",
        "stages.rules.rules.blur.reason": "blur",
        "stages.rules.rules.blur.threshold": 10,
        "seed": 0,
    }


@given(JSON)
def test_nothing_changes_between_equals(value):
    assert changes({"root": value}, {"root": value}) == []


@given(JSON, JSON)
def test_a_change_seen_from_the_other_side_is_its_mirror(before, after):
    there = changes({"root": before}, {"root": after})
    back = changes({"root": after}, {"root": before})
    assert sorted(map(str, ((n, b, a) for n, a, b in back))) == sorted(map(str, there))


def test_a_leaf_that_one_side_lacks_is_null_there():
    assert changes({"a": 1, "b": 2}, {"b": 3, "c": 4}) == [
        ("a", 1, None),
        ("b", 2, 3),
        ("c", None, 4),
    ]


def test_settings_that_differ_are_named_as_a_user_sets_them():
    settings = ("heuristics.min_side=256", "near_dedup.distance=4", "caption_text.n=3")
    found = recipe_changes(recipe().described(), recipe().with_settings(settings).described())
    assert sorted(found) == [
        ("caption_text.n", 2, 3),
        ("heuristics.min_side", 200, 256.0),
        ("near_dedup.distance", 3, 4),
    ]


def test_a_stage_that_only_one_side_decided_is_one_line():
    whole = recipe()
    part = whole.limited(("heuristics", "blocklist", "exact_dedup", "near_dedup"))
    found = recipe_changes(part.described(asked=whole), whole.described())
    stages = [step.name for step in whole.stages if step not in part.stages]
    assert found == [(name, "not there", "there") for name in stages]
    back = recipe_changes(whole.described(), {})
    assert [name for name, *_ in back[:2]] == ["image_probe", "image_pixels"]
    assert len(back) == len(whole.operators) + len(whole.stages)


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (200, 256.0, "x: 200 -> 256"),
        (0.30000000000000004, 0.35, "x: 0.3 -> 0.35"),
        (None, "", "x: none -> none"),
        ([], ["en", "zh"], "x: none -> en, zh"),
        (["word"] * 30, ["word", "new"], "x: 30 values -> 2 values; new: new"),
        ("a" * 200, "b", f"x: {'a' * 60}… (200 characters) -> b"),
        ("a" * 200 + "1", "a" * 200 + "2", f"x: …{'a' * 20}1 -> …{'a' * 20}2"),
        ("one\ntwo", "three", "x: one two -> three"),
    ],
)
def test_a_change_is_one_short_line(was, now, told):
    assert change_text("x", was, now) == told


def difference(before: Path, after: Path, show: int = 3):
    with LocalEngine(workers=0, memory="500MB") as engine:
        return moved(open_corpus(str(before)), open_corpus(str(after)), engine, show)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """The same source with two thresholds, and a larger source with a duplicated pair."""
    folder = tmp_path_factory.mktemp("diff")
    source = write_pairs(folder / "source", 20)
    curate(source, folder / "plain")
    curate(source, folder / "strict", "heuristics.blur=400")
    shutil.copytree(source, folder / "more")
    write_pairs(folder / "more", 3, start=20)
    lines = (source / "pairs.jsonl").read_text() + (folder / "more" / "pairs.jsonl").read_text()
    twin = (source / "pairs.jsonl").read_text().splitlines()[0]
    (folder / "more" / "pairs.jsonl").write_text(lines + twin + "\n")
    curate(folder / "more", folder / "grown", shard_samples=7)
    return {name: folder / name for name in ("plain", "strict", "grown")}


def test_a_changed_threshold_moves_samples_between_fates(runs):
    strict = ledger(open_corpus(str(runs["strict"]))).to_pylist()
    dropped = sorted(row["uid"] for row in strict if row["reason"] == "blur")
    assert 0 < len(dropped) < 20
    said = difference(runs["plain"], runs["strict"])
    assert said == {
        "same": 20 - len(dropped),
        "moves": [
            {
                "was": "kept",
                "now": "dropped: heuristics blur",
                "samples": len(dropped),
                "uids": dropped[:3],
            }
        ],
    }


def test_nothing_moves_between_a_corpus_and_itself(runs):
    assert difference(runs["strict"], runs["strict"]) == {"same": 20, "moves": []}


def test_samples_of_one_side_are_absent_from_the_other(runs):
    said = difference(runs["plain"], runs["grown"], show=9)
    moves = {(move["was"], move["now"]): move for move in said["moves"]}
    assert said["same"] == 20
    assert {key: move["samples"] for key, move in moves.items()} == {
        ("absent", "kept"): 3,
        ("absent", "dropped: exact_dedup same_image_caption"): 1,
    }
    back = difference(runs["grown"], runs["plain"], show=9)
    assert {(m["now"], m["was"]): m["samples"] for m in back["moves"]} == {
        key: move["samples"] for key, move in moves.items()
    }
