"""A top fraction that is dragged: its share reproduces what the recount says."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.cli.main import main
from curation.io.corpus import Corpus
from curation.report.labels import read_labels
from curation.report.tune import tune
from curation.report.viewer.movable import recorded_cuts
from curation.report.viewer.top_share import Ranks
from tests.pipeline.corpora import ledger
from tests.report.viewer.corpora import asked, get, view_of, viewer
from tests.report.viewer.scored import COUNT, decided_again, scored_corpus

TOP = "clip_select.not_in_top_fraction"
SIDE, SCORE = "heuristics.min_side", "clip_select.clip_score"
SHARE = 0.6

scores = st.lists(st.floats(-1, 1, width=32), max_size=60)


@given(scores, st.floats(-1.5, 1.5))
def test_a_share_cuts_where_the_line_is(values, line):
    ranks = Ranks(np.sort(np.array(values, np.float32)))
    share = ranks.share(line)
    assert 0 < share <= 1
    inside = [value for value in values if value >= line]
    if values:
        assert ranks.cut(share) == (min(inside) if inside else max(values))
    else:
        assert ranks.cut(share) == -np.inf


def test_a_share_has_no_more_digits_than_it_needs():
    ranks = Ranks(np.arange(1000, dtype=np.float32))
    assert [ranks.share(line) for line in (0, 300, 500, 999)] == [1.0, 0.699, 0.499, 0.0001]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return scored_corpus(tmp_path_factory.mktemp("top"), top_fraction=SHARE)


@pytest.fixture(scope="module")
def view(out):
    return view_of(out)


def kept(corpus: Corpus) -> np.ndarray:
    return np.array(ledger(corpus)["status"].to_pylist()) == "kept"


def test_the_line_stands_where_the_recipe_cut(view):
    rule = view.whatif.movable[TOP]
    assert (rule.share, rule.flag) == (SHARE, "clip_select.top_fraction")
    assert rule.threshold == recorded_cuts(view.corpus)[TOP] == view.whatif.limits({})[TOP]
    said = view.recount(TOP, {})
    assert (said["kept"], said["newly_kept"], said["newly_dropped"]) == (said["was"], 0, 0)
    assert said["share"] == SHARE


@pytest.mark.parametrize("line", [-1.0, 0.2, 0.99, 0.995, 0.9965, 2.0])
@pytest.mark.parametrize("side", [None, 0.0, 240.0])
def test_its_flag_decides_as_the_recount_says(view, out, tmp_path, line, side):
    moved = {} if side is None else {SIDE: side}
    said = view.recount(TOP, moved, line)
    flags = [f"clip_select.top_fraction={said['share']}"]
    flags += [f"heuristics.min_side={side}"] if moved else []
    again = decided_again(out, tmp_path / "again", *flags, top_fraction=SHARE)
    now, before = kept(again), kept(view.corpus)
    assert said["kept"] == now.sum()
    assert said["newly_kept"] == (now & ~before).sum()
    assert said["newly_dropped"] == (before & ~now).sum()
    assert said["cuts"][TOP] == recorded_cuts(again)[TOP] >= min(line, said["cuts"][TOP])
    assert view.recount(TOP, {**moved, TOP: said["share"]})["kept"] == said["kept"]


@pytest.mark.parametrize("side", [0.0, 201.0, 256.0])
def test_the_share_is_taken_of_those_that_come(view, out, tmp_path, side):
    """The recipe's share stands; another threshold before it moves, and the cut with it."""
    said = view.recount(SIDE, {SIDE: side})
    settings = f"heuristics.min_side={side}"
    again = decided_again(out, tmp_path / "again", settings, top_fraction=SHARE)
    assert said["kept"] == kept(again).sum()
    assert said["cuts"][TOP] == recorded_cuts(again)[TOP]


def test_strips_lie_on_both_sides_of_the_cut(view):
    said = view.strip(TOP, {})
    cut = view.whatif.movable[TOP].threshold
    assert said["failing"]
    assert all(tile["value"] < cut for tile in said["failing"])
    assert said["passing"][0]["value"] == cut


def test_a_threshold_on_the_score_decides_as_the_recount_says(tmp_path):
    out = scored_corpus(tmp_path, threshold=0.5)
    view = view_of(out)
    assert list(view.whatif.movable) == [SIDE, SCORE]
    for nth, line in enumerate((-1.0, 0.3, 0.995)):
        said = view.recount(SCORE, {SCORE: line, SIDE: 201.0})
        flags = (f"clip_select.threshold={line}", "heuristics.min_side=201")
        again = decided_again(out, tmp_path / f"again{nth}", *flags, threshold=0.5)
        assert said["kept"] == kept(again).sum()


def test_shares_that_are_none_are_refused(view):
    app = viewer(view)
    for share in (0, -1, 1.5):
        code, _, body = get(app, f"/api/recount?moved={TOP}&set={TOP}:{share}")
        assert (code, json.loads(body)["error"]) == (400, f"{TOP} is above 0, at most 1")
    assert get(app, f"/api/recount?moved={TOP}&at=x")[0] == 400
    assert asked(app, f"recount?moved={TOP}&at=2")["share"] < SHARE


def test_labels_move_a_share(view, out, tmp_path, capsys, monkeypatch):
    """Wanted is the upper quarter by score that is at least 201 high: both lines have to move."""
    monkeypatch.setenv("COLUMNS", "200")
    values = view.store.number("clip_score").values
    sides = view.store.number("min_side").values
    rows = ledger(view.corpus).to_pylist()
    file = tmp_path / "labels.jsonl"
    wanted = (values >= np.quantile(values, 0.75)) & (sides >= 201)
    assert 10 < wanted.sum() < COUNT / 4
    with file.open("w") as lines:
        for row, keep in zip(rows, wanted, strict=True):
            place = {name: row[name] for name in ("uid", "shard", "row")}
            lines.write(json.dumps({**place, "label": "keep" if keep else "drop"}) + "\n")
    found = tune(view.corpus, read_labels(str(file)))
    settings = found.flags[1::2]
    assert [each.partition("=")[0] for each in settings] == [
        "heuristics.min_side", "clip_select.top_fraction",
    ]  # fmt: skip
    assert found.together.f1 == 1
    again = decided_again(out, tmp_path / "again", *settings, top_fraction=SHARE)
    assert (kept(again) == wanted).all()
    assert found.kept == wanted.sum()
    assert main(["tune", str(out), "--labels", str(file)]) == 0
    share = settings[1].partition("=")[2]
    assert f"top {share} (≥ 0.99" in capsys.readouterr().out


def test_a_share_follows_where_another_threshold_moves_and_its_line_stays(view, out, tmp_path):
    """Wanted is what is kept and at least 240 high: the score's line is where it should be."""
    sides = view.store.number("min_side").values
    cut = view.whatif.movable[TOP].threshold
    values = view.store.number("clip_score").values
    wanted = (values >= cut) & (sides >= 240)
    file = tmp_path / "labels.jsonl"
    with file.open("w") as lines:
        for row, keep in zip(ledger(view.corpus).to_pylist(), wanted, strict=True):
            place = {name: row[name] for name in ("uid", "shard", "row")}
            lines.write(json.dumps({**place, "label": "keep" if keep else "drop"}) + "\n")
    found = tune(view.corpus, read_labels(str(file)))
    again = decided_again(out, tmp_path / "again", *found.flags[1::2], top_fraction=SHARE)
    assert (kept(again) == wanted).all()
    assert found.kept == wanted.sum()


def test_a_stage_that_is_off_is_told_with_its_measure(tmp_path, capsys):
    out = scored_corpus(tmp_path, off="it cannot judge this corpus")
    overview = asked(viewer(view_of(out)), "overview")
    score = next(each for each in overview["measures"] if each["name"] == "clip_score")
    assert score["rules"] == []
    assert score["idle"] == ["clip_select is off: it cannot judge this corpus"]
    assert overview["idle"] == []
    lines = []
    for n, row in enumerate(ledger(view_of(out).corpus).to_pylist()):
        place = {name: row[name] for name in ("uid", "shard", "row")}
        lines.append(json.dumps({**place, "label": "keep" if n % 2 else "drop"}))
    (tmp_path / "l.jsonl").write_text("\n".join(lines))
    assert main(["tune", str(out), "--labels", str(tmp_path / "l.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "not fitted: clip_select is off: it cannot judge this corpus" in said
