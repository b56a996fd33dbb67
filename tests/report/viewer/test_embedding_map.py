"""The map of embeddings: the same each time, on axes or by neighbours."""

import importlib.util
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from curation.core.errors import RunError, UsageError
from curation.report.viewer import embedding_map, neighbour_map
from tests.report.viewer.corpora import asked, get, view_of, viewer
from tests.report.viewer.families import family_run


def test_axes_are_the_same_each_time_and_tell_how_much_they_show(clip_run):
    first, again = (asked(viewer(view_of(clip_run)), "map") for _ in range(2))
    assert first == again
    assert first["at"] == [at for at in range(20) if at != 5]  # which is too small to be scored
    assert 0 < sum(first["explained"]) <= 1
    assert first["explained"][0] >= first["explained"][1]


def test_where_umap_is_missing_a_line_says_what_to_install(clip_run, monkeypatch):
    monkeypatch.setattr(embedding_map, "is_there", lambda: False)
    code, _, body = get(viewer(view_of(clip_run)), "/api/map?by=neighbours")
    assert code == 400
    assert b"curation[map]" in body
    assert get(viewer(view_of(clip_run)), "/api/map?by=colour")[0] == 400


def test_a_layout_that_fails_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="UMAP failed: no reason given"):
        neighbour_map.neighbour_map(np.zeros((5, 4), np.float32), lambda _: None)


def test_a_layout_under_way_ends_with_the_server(clip_run, monkeypatch):
    monkeypatch.setattr(embedding_map, "is_there", lambda: True)
    stuck = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def never(rows, started):
        started(stuck)
        stuck.wait(60)
        raise RunError("UMAP failed: it was ended")

    monkeypatch.setattr(embedding_map, "neighbour_map", never)
    view = view_of(clip_run)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(view.map, "neighbours")
        while view._map._process is None:
            time.sleep(0.01)
        view.close()
        with pytest.raises(RunError, match="it was ended"):
            waiting.result(60)
    assert stuck.returncode != 0


def test_a_corpus_without_embeddings_has_no_map(tmp_path):
    view = view_of(family_run(tmp_path, "gui", 3))
    with pytest.raises(UsageError, match="no embeddings"):
        view.map("axes")


def test_by_neighbours_the_same_samples_lie_elsewhere(clip_run, monkeypatch):
    given = []

    def laid_out(rows, started):
        given.append(rows)
        return np.stack([np.arange(len(rows)), -np.arange(len(rows))], axis=1)

    monkeypatch.setattr(embedding_map, "is_there", lambda: True)
    monkeypatch.setattr(embedding_map, "neighbour_map", laid_out)
    app = viewer(view_of(clip_run))
    laid = asked(app, "map?by=neighbours")
    axes = asked(app, "map")
    assert asked(app, "map?by=neighbours") == laid
    (rows,) = given
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    assert laid["x"] == list(range(19))
    assert {**laid, "explained": 0, "x": 0, "y": 0} == {**axes, "explained": 0, "x": 0, "y": 0}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap is not installed")
def test_neighbours_lie_together_and_lie_so_again():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16))
    rows = np.repeat(centres, 20, axis=0) + rng.normal(scale=0.01, size=(60, 16))
    points, again = (
        neighbour_map.neighbour_map(rows.astype(np.float32), lambda _: None) for _ in range(2)
    )
    assert (points == again).all()
    groups = points.reshape(3, 20, 2)
    middles = groups.mean(axis=1)
    within = np.linalg.norm(groups - middles[:, None], axis=2).max()
    between = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert within < between
