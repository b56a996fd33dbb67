"""A recount gives what deciding again would give."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from curation.io.corpus import open_corpus
from curation.relational.select import Rule
from curation.report.columns import Column
from curation.report.viewer.fates import SHOWN
from curation.report.viewer.measures import NumberColumn
from tests.pipeline.corpora import curate, ledger, picture, write_pairs
from tests.report.viewer.corpora import view_of

SIDES = (150, 199, 200, 201, 240, 256, 300)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """30 pairs of several sizes, some captions short."""
    folder = write_pairs(tmp_path_factory.mktemp("whatif") / "source", 30)
    for n in range(30):
        side = SIDES[n % len(SIDES)]
        picture(n, (side + 40, side)).save(folder / "images" / f"{n}.jpg", quality=85)
    return folder


@pytest.fixture(scope="module")
def out(source, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("whatif") / "out"
    curate(source, made, shard_samples=7)
    return made


@pytest.fixture(scope="module")
def view(out):
    return view_of(out)


def test_the_recipes_own_thresholds_keep_what_the_recipe_keeps(view):
    totals = view.corpus.manifest.totals
    for name in view.whatif.movable:
        said = view.recount(name, {})
        assert (said["kept"], said["newly_kept"], said["newly_dropped"]) == (totals.kept, 0, 0)


@pytest.mark.parametrize("threshold", [100, 199.5, 201, 250, 1000])
def test_a_recount_is_what_deciding_again_gives(view, source, tmp_path, threshold):
    said = view.recount("heuristics.min_side", {"heuristics.min_side": threshold})
    curate(source, tmp_path / "again", f"heuristics.min_side={threshold}", shard_samples=7)
    again = ledger(open_corpus(str(tmp_path / "again")))
    kept = np.array(again["status"].to_pylist()) == "kept"
    before = np.array(ledger(view.corpus)["status"].to_pylist()) == "kept"
    assert said["kept"] == kept.sum()
    assert said["newly_kept"] == (kept & ~before).sum()
    assert said["newly_dropped"] == (before & ~kept).sum()


def test_fails_and_only_are_what_duckdb_counts(view, out):
    middle = float(np.median(view.store.number("blur").values))
    settings = {"heuristics.min_side": 230.0, "heuristics.blur": middle}
    said = view.recount("heuristics.blur", settings)
    layers = out / "corpus" / "layers"
    query = """
        SELECT count(*) FILTER (WHERE blur < $3),
               count(*) FILTER (WHERE blur < $3 AND min_side >= 230),
               count(*) FILTER (WHERE blur >= $3 AND min_side >= 230)
        FROM read_parquet($1) JOIN read_parquet($2) USING (shard, row)
    """
    files = [f"{layers}/{name}-*/*.parquet" for name in ("image_pixels", "image_probe")]
    counted = duckdb.execute(query, [*files, middle]).fetchone()
    assert (said["fails"], said["only"], said["kept"]) == counted
    assert said["only"] > 0


def test_rules_over_words_stand_beside_those_that_move(source, tmp_path):
    rules = ("heuristics.language=de", "heuristics.min_side=0")
    curate(source, tmp_path / "words", *rules, shard_samples=7)
    words = view_of(tmp_path / "words")
    totals = words.corpus.manifest.totals
    assert "heuristics.language" not in words.whatif.movable
    said = words.recount("heuristics.min_side", {})
    assert said["kept"] == totals.kept < 30
    assert words.recount("heuristics.min_side", {"heuristics.min_side": 1e6})["kept"] == 0


def test_strips_are_the_nearest_on_each_side(view):
    said = view.strip("heuristics.min_side", {"heuristics.min_side": 220.0})
    failing = [201] * 4 + [200] * 4 + [199] * 5 + [150] * 3
    assert [tile["value"] for tile in said["failing"]] == failing
    assert [tile["value"] for tile in said["passing"]] == [240] * 4 + [256] * 4 + [300] * 4


def test_a_histogram_counts_every_sample_once(view):
    for name in ("min_side", "blur", "caption_chars"):
        said = view.histogram(name)
        assert said["below"] + sum(said["counts"]) + said["above"] == said["measured"] == 30
        assert sum(said["kept"]) <= view.whatif.kept


@pytest.mark.parametrize("kind", ["at_least", "at_most"])
@pytest.mark.parametrize("type_", [pa.float32(), pa.float64()])
def test_limits_compare_as_the_rule_does(kind, type_):
    rng = np.random.default_rng(7)
    near = np.float32(0.3)
    values = np.array(
        [
            near,
            np.nextafter(near, np.float32(1)),
            np.nextafter(near, np.float32(0)),
            np.nan,
            0,
            1e30,
        ],
        np.float32,
    )
    values = np.concatenate([values, rng.normal(0.3, 0.1, 200).astype(np.float32)])
    array = pa.chunked_array([pa.array(values, type_)])
    column = NumberColumn(
        column=Column(name="x", operator="", folder="", words=False, integer=False),
        values=array.to_numpy(),
        missing=None,
    )
    for threshold in (0.3, float(near), 0.30000001, *rng.normal(0.3, 0.1, 50), -1.0, 1e300):
        rule = Rule(reason="x", column="x", kind=kind, threshold=float(threshold), source="")
        limit = column.limit(float(threshold), kind)
        fails = column.values < limit if kind == "at_least" else column.values > limit
        assert fails.tolist() == rule.fails(array).to_pylist(), threshold


def test_places_and_positions_are_each_others_inverse(view):
    fates = view.fates
    assert fates.size == 30
    for position in range(30):
        assert fates.position(*fates.place(position)) == position
        assert fates.seen(position) == SHOWN
    for nowhere in ((0, 7), (9, 0), (-1, 0), (0, -1)):
        assert fates.position(*nowhere) is None
