"""Recaptioning by the small model that ships: no server, the same bytes, faults of one row."""

import sys
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from curation.core.fingerprint import operator_fingerprint
from curation.core.operator import IMAGE
from curation.core.progress import SILENT
from curation.demo.paint import paint
from curation.demo.pair import scene_of
from curation.engines.local import LocalEngine
from curation.io.sources import SourceOptions
from curation.models import captioner
from curation.models.captioner import SLOTS
from curation.operators.vision_language import chat_operator
from curation.operators.vision_language.recaption import EMBEDDED, Recaption
from curation.operators.vision_language.recaption_embedded import EmbeddedRecaptioner
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from recaption_prompts import Prompt
from tests.operators.rows import encoded
from tests.pipeline.corpora import write_pairs

COLUMNS = ("recaption", "recaption_prompt", "recaption_finish", "recaption_tokens_in",
           "recaption_tokens_out", "recaption_attempts")  # fmt: skip


def operator(**changed: Any) -> Recaption:
    return Recaption(**{"model": EMBEDDED, "floor": "", "max_tokens": 80, **changed})


def shown(n: int) -> bytes:
    return encoded(paint(scene_of(74, n)), "JPEG", quality=90)


def rows(texts: list[str | None], images: list[bytes | None]) -> pa.Table:
    return pa.table({"image": pa.array(images, IMAGE.type), "text": pa.array(texts, pa.string())})


@pytest.fixture(scope="module")
def table() -> pa.Table:
    texts = [None if n % 3 == 0 else f"A car {'in Bergen ' * n}" for n in range(SLOTS + 8)]
    return rows(texts, [shown(n) for n in range(SLOTS + 8)])


def test_a_caption_for_each_row_and_how_it_was_made(run, table):
    found = run(operator(), table.slice(0, 6))
    assert all(caption.endswith(".") for caption in found["recaption"].to_pylist())
    told = f"small@1:{Prompt.at('small').sha256[:16]}"
    assert set(found["recaption_prompt"].to_pylist()) == {told}
    assert set(found["recaption_finish"].to_pylist()) == {"stop"}
    assert set(found["recaption_attempts"].to_pylist()) == {1}
    assert all(30 < count < 120 for count in found["recaption_tokens_in"].to_pylist())
    assert all(5 < count < 60 for count in found["recaption_tokens_out"].to_pylist())
    assert set(found["recaption_skipped"].to_pylist()) == {False}
    assert found["error"].null_count == 6


def test_the_original_is_read(run, table):
    image = table["image"][1].as_py()
    texts = ["A red car", "A red car, in 1998", "A red car, 2017"]
    said = run(operator(), rows(texts, [image] * 3))["recaption"].to_pylist()
    assert "1998" not in said[0]
    assert said[1].endswith(", in 1998.")
    assert "2017" in said[2]


def test_captions_do_not_depend_on_batches_nor_on_the_rows_beside(run, table):
    whole = run(operator(), table, batch_rows=64)
    assert run(operator(), table, batch_rows=7).equals(whole)
    assert (
        run(operator(), table.slice(3, 2)).column("recaption").to_pylist()
        == (whole["recaption"].to_pylist()[3:5])
    )


def test_faults_cost_their_own_row(run, table):
    good = table["image"][0].as_py()
    images = [good, None, b"<html>", good[:200], good]
    found = run(operator(), rows(["A cat"] * 5, images))
    captions = found["recaption"].to_pylist()
    assert captions[0] == captions[4]
    assert captions[1:4] == [None] * 3
    assert found["error"].to_pylist()[:3] == [None, None, "unsupported_format"]
    assert found["error"].to_pylist()[3] in ("corrupt_image", "truncated_image")
    for name in COLUMNS:
        assert found[name].null_count == 3


def test_a_text_of_more_tokens_than_the_model_has_places_costs_only_its_row(
    run, table, monkeypatch
):
    read = []
    pack = captioner.Captioner.pack
    monkeypatch.setattr(
        captioner.Captioner, "pack", lambda self, asked: (read.append(asked), pack(self, asked))[1]
    )
    image = table["image"][0].as_py()
    found = run(operator(), rows(["A cat", "\u8349" * 4000], [image] * 2))
    assert found["error"].to_pylist() == [None, "too_large"]
    assert [caption is None for caption in found["recaption"].to_pylist()] == [False, True]
    assert read
    assert all(len(asked.ids) < 4096 for asked in read)


def test_a_caption_that_is_cut_or_empty_is_none(run, table, monkeypatch):
    found = run(operator(max_tokens=4), table.slice(0, 2))
    assert found["error"].to_pylist() == ["cut_answer"] * 2
    assert found["recaption"].null_count == 2
    empty = captioner.Answer(text=" \n", tokens_in=9, tokens_out=1, whole=True)
    monkeypatch.setattr(captioner.Captioner, "answers", lambda _, asked, __: [empty] * len(asked))
    assert run(operator(), table.slice(0, 2))["error"].to_pylist() == ["bad_answer"] * 2


def test_pictures_of_every_shape_and_mode_are_taken(run):
    pictures = [
        encoded(Image.new(mode, size, color), kind)
        for mode, size, color, kind in (
            ("RGBA", (60, 40), (0, 0, 0, 0), "PNG"),
            ("L", (3, 2), 9, "PNG"),
            ("P", (900, 30), 3, "PNG"),
            ("CMYK", (50, 70), (1, 2, 3, 4), "JPEG"),
            ("RGB", (1, 900), (200, 0, 0), "PNG"),
        )
    ]
    found = run(operator(), rows([None] * 5, pictures))
    assert found["error"].to_pylist() == [None] * 4 + ["corrupt_image"]


def test_rows_under_the_floor_are_skipped(run, table):
    sides = pa.array([90.0, 240.0], pa.float64())
    found = run(operator(floor="min_side>=100"), table.slice(0, 2).append_column("min_side", sides))
    assert found["recaption_skipped"].to_pylist() == [True, False]
    assert found["recaption"].null_count == 1


def test_bytes_are_the_same_with_any_number_of_workers(tmp_path):
    source = write_pairs(tmp_path / "pairs", 40)
    with LocalEngine(workers=0) as engine:
        request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=15))
        corpus = ingest(request, str(tmp_path / "corpus"), engine, SILENT)
    made = []
    for workers in (0, 2):
        layer = layers_of((operator(),))["recaption"]
        corpus.store.remove(layer.folder)
        with LocalEngine(workers=workers) as engine:
            measure(corpus, (operator(),), engine, SILENT)
        made.append([corpus.store.read(layer.path(shard.shard)) for shard in corpus.shards])
    assert made[0] == made[1]


def test_the_fingerprint_holds_the_weights(monkeypatch):
    told = operator().identity()
    assert told["weights"] == captioner.weights_name(captioner.DEMO_CAPTIONER)
    assert {"device", "dtype", "torch", "tokenizers"} <= told.keys()
    before = operator_fingerprint(operator(), {})
    monkeypatch.setattr(chat_operator, "weights_name", lambda _: "other")
    assert operator_fingerprint(operator(), {}) != before
    assert Recaption(model="tiny").identity() == {}


def test_the_small_prompt_comes_with_the_model():
    assert operator().prompt == Prompt.at("small")
    assert Recaption(model="tiny").prompt == Prompt.at("factual")
    assert operator().patience == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"servers": ("http://localhost:1",)}, "needs no server"),
        ({"temperature": 0.5}, "temperature 0 only"),
        ({"prompt": Prompt.at("figure")}, "takes the prompt small"),
    ],
)
def test_what_it_cannot_take_is_told(changed, words):
    with pytest.raises(ValueError, match=words):
        operator(**changed)


def test_no_client_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "curation.io.chat_client", raising=False)
    monkeypatch.delitem(
        sys.modules, "curation.operators.vision_language.recaption_batch", raising=False
    )
    assert isinstance(operator().open(), EmbeddedRecaptioner)
