"""Search by what is seen: exact, over all embeddings, and by the corpus's own CLIP."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest

from curation.core.embedding import vectors
from curation.core.errors import UsageError
from curation.io.corpus import open_corpus
from curation.io.tables import read_table
from curation.report.viewer.nearest import Nearest
from curation.report.viewer.query import Filter
from tests.pipeline.corpora import picture
from tests.report.viewer.corpora import asked, get, view_of, viewer


@pytest.fixture(scope="module")
def out(clip_run) -> Path:
    return clip_run


@pytest.fixture(scope="module")
def view(out):
    return view_of(out)


def embeddings(out: Path) -> np.ndarray:
    corpus = open_corpus(str(out))
    (ref,) = [ref for ref in corpus.manifest.layers if ref.operator == "clip"]
    parts = [
        vectors(
            read_table(corpus.store, f"layers/clip-{ref.fingerprint}/{shard.shard:09d}.parquet")[
                "clip_image"
            ]
        )[0]
        for shard in corpus.shards
    ]
    return np.concatenate(parts).astype(np.float32)


def test_the_nearest_to_a_sample_come_in_the_order_of_their_cosines(view, out):
    rows = embeddings(out)
    cosines = rows @ rows[3]
    scored = np.flatnonzero(np.abs(rows).sum(axis=1) > 0)
    expected = scored[np.argsort(-cosines[scored], kind="stable")]
    found = view.search.positions(Filter(near="at:3"))
    assert found.tolist() == expected.tolist()
    assert found[0] == 3
    assert 5 not in found


def test_other_filters_hold_among_the_nearest(view):
    every = view.search.positions(Filter(near="at:3")).tolist()
    kept = view.search.positions(Filter(near="at:3", text="number 1")).tolist()
    assert kept == [at for at in every if at == 1 or at >= 10]


def test_the_same_picture_is_its_own_nearest(view, out):
    stored = view.jpeg(8, 1200)
    name = view.nearest.picture(stored)
    assert view.search.positions(Filter(near=f"picture:{name}"))[0] == 8


def test_words_are_asked_of_the_corpus_own_model(view):
    found = view.search.positions(Filter(near="text:a red car"))
    other = view.search.positions(Filter(near="text:three blue houses"))
    assert sorted(found) == sorted(other)
    assert found.tolist() != other.tolist()


@pytest.mark.parametrize("near", ["at:5", "at:99", "at:x", "picture:never", "else:1", "at:"])
def test_what_cannot_be_near_anything_is_refused(view, near):
    with pytest.raises(UsageError):
        view.search.positions(Filter(near=near))


def test_weights_that_are_not_at_hand_are_asked_for(view, tmp_path):
    corpus = view.corpus
    (ref,) = [ref for ref in corpus.manifest.layers if ref.operator == "clip"]
    before = dict(ref.parameters)
    ref.parameters["checkpoint_sha256"] = "0" * 64
    try:
        nearest = Nearest(corpus, view.fates, "")
        with pytest.raises(UsageError, match="--checkpoint PATH"):
            nearest.positions("text:a car", view.search.listed)
        assert len(nearest.positions("at:3", view.search.listed)) == 19
    finally:
        ref.parameters.clear()
        ref.parameters.update(before)


def test_a_picture_is_taken_from_our_own_page_alone(view):
    app = viewer(view)
    buffer = io.BytesIO()
    picture(3).save(buffer, "PNG")
    code, body = give(app, buffer.getvalue(), {"x-curate-view": "yes"})
    assert code == 200
    near = body.decode().split('"')[3]
    assert asked(app, f"samples?near=picture:{near}")["tiles"][0]["at"] == 3
    assert give(app, buffer.getvalue(), {})[0] == 405
    assert give(app, b"GIF89a", {"x-curate-view": "yes"})[0] == 400
    assert give(app, b"\0" * (33 << 20), {"x-curate-view": "yes"})[0] == 400
    assert get(app, "/api/overview", method="POST", **{"x-curate-view": "yes"})[0] == 405


def give(app, data: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of a picture that is posted."""
    sent = []
    raw = {"host": "localhost", **headers}
    scope = {
        "type": "http", "method": "POST", "path": "/api/picture", "raw_path": b"", "root_path": "",
        "query_string": b"", "scheme": "http", "http_version": "1.1", "server": ("localhost", 80),
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])
