"""CLIP scores against open_clip's own API, slots, floors, bad input, workers and killed runs."""

import io
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from curation.core.errors import UsageError
from curation.core.fingerprint import operator_fingerprint
from curation.core.operator import IMAGE
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.sources import SourceOptions
from curation.models.clip_source import CONFIG_FILE
from curation.models.device import has_bfloat16
from curation.operators.vision_language.clip import Clip
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from tests.operators.rows import encoded, real_images
from tests.pipeline.corpora import picture, write_pairs

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SIGLIP = {
    "embed_dim": 192,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 49408,
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 192,
        "heads": 3,
        "layers": 3,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}
"""ViT-B-16-SigLIP of open_clip, narrower, with a tokenizer that needs no download."""

SIGLIP_PIXELS = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}


def write_model(folder: Path, config: dict, pixels: dict | None = None) -> Path:
    """A folder in open_clip's layout with random weights."""
    folder.mkdir()
    described = {"model_cfg": config, "preprocess_cfg": pixels or {}}
    (folder / CONFIG_FILE).write_text(json.dumps(described))
    torch.manual_seed(5)
    model = open_clip.create_model(f"local-dir:{folder}")
    save_file(model.state_dict(), str(folder / "model.safetensors"))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("clip") / "tiny", TINY)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("clip") / "siglip", SIGLIP, SIGLIP_PIXELS)


def small(folder: Path, **fields: object) -> Clip:
    """The operator with a tiny model, no floor and small batches."""
    settings = {"floor": "", "batch_size": 4, **fields}
    return Clip(model="local", checkpoint=str(folder), device="cpu", **settings)


def table(images: list[bytes | None], texts: list[str | None], **columns: list) -> pa.Table:
    return pa.table({"image": pa.array(images, IMAGE.type), "text": pa.array(texts), **columns})


def pictures(count: int) -> list[bytes]:
    return [encoded(picture(n, (90 + 7 * n, 80)), "JPEG") for n in range(count)]


def many_kinds() -> list[bytes]:
    """One picture in modes and formats that preprocessing treats differently."""
    base = picture(3, (150, 110))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(base, "JPEG", exif=exif),
        encoded(base.convert("P"), "PNG"),
        encoded(base.convert("L"), "PNG"),
        encoded(base.convert("RGBA"), "PNG"),
        encoded(base.convert("LA"), "PNG"),
        encoded(base.convert("1"), "PNG"),
        encoded(base.convert("CMYK"), "JPEG"),
        encoded(base, "WEBP"),
        encoded(base.convert("P"), "GIF"),
        encoded(base.resize((20, 300)), "PNG"),
    ]


CAPTIONS = (
    "A red car", "two DOGS &amp; a cat", "", "  ", "日本語の説明", "x" * 3000, "naïve — “quotes”",
    "word " * 200, "emoji 🙂", "a b\nc",
)  # fmt: skip


def expected(name: str, images: list[bytes], texts: list[str]) -> tuple[np.ndarray, ...]:
    """Scores and embeddings by open_clip alone."""
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    opened = [ImageOps.exif_transpose(Image.open(io.BytesIO(data))) for data in images]
    with torch.no_grad():
        image = model.encode_image(torch.stack([preprocess(one) for one in opened]), normalize=True)
        text = model.encode_text(tokenizer(texts), normalize=True)
    return (image * text).sum(dim=1).numpy(), image.numpy(), text.numpy()


def embeddings(column: pa.ChunkedArray) -> np.ndarray:
    return np.stack([np.frombuffer(value, "<f2") for value in column.to_pylist()])


def check_against_open_clip(run, operator: Clip, name: str, images: list[bytes]) -> None:
    texts = [CAPTIONS[n % len(CAPTIONS)] for n in range(len(images))]
    scores, image, text = expected(name, images, texts)
    out = run(operator, table(images, texts))
    assert np.abs(out["clip_score"].to_numpy() - scores).max() < 1e-4
    assert np.abs(embeddings(out["clip_image"]) - image).max() < 1e-3
    assert np.abs(embeddings(out["clip_text"]) - text).max() < 1e-3
    assert out["clip_skipped"].to_pylist() == [False] * len(images)
    assert out["error"].null_count == len(images)


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_scores_are_open_clips_own(run, model):
    images = many_kinds()[:6] if model == "ViT-B-32" else many_kinds()[:2]
    operator = Clip(model=model, floor="", batch_size=4, device="cpu", threads=2)
    check_against_open_clip(run, operator, model, images)
    assert operator.identity()["quick_gelu"] == str(model.endswith("quickgelu")).lower()


def test_scores_of_a_siglip_type_model_are_open_clips_own(run, siglip):
    images = [*many_kinds(), *pictures(3)]
    check_against_open_clip(run, small(siglip), f"local-dir:{siglip}", images)


def test_scores_on_real_photographs_are_open_clips_own(run, tiny):
    images = list(real_images().values())[:40]
    check_against_open_clip(run, small(tiny, batch_size=16), f"local-dir:{tiny}", images)


def test_activation_weights_device_and_dtype_are_part_of_the_fingerprint(tiny, tmp_path):
    other = write_model(tmp_path / "other", {**TINY, "quick_gelu": True})
    prints = {
        operator_fingerprint(operator, {})
        for operator in (
            small(tiny),
            small(other),
            small(tiny, threads=2),
            small(tiny, batch_size=8),
            small(tiny, floor="min_side>=1"),
            replace(small(tiny), device="cuda"),
            Clip(model="ViT-B-32", device="cpu"),
            Clip(model="ViT-B-32-quickgelu", device="cpu"),
        )
    }
    assert len(prints) == 8
    moved = shutil.copytree(tiny, tmp_path / "moved")
    assert operator_fingerprint(small(moved), {}) == operator_fingerprint(small(tiny), {})
    known = replace(small(tiny), checkpoint="")
    assert operator_fingerprint(known, {}) == operator_fingerprint(small(tiny), {})
    assert known.provides == small(tiny).provides
    with pytest.raises(UsageError, match="known by its hash alone"):
        known.open()


def test_bfloat16_is_near_float32_where_the_processor_has_it(run, tiny):
    rows = table(pictures(6), list(CAPTIONS[:6]))
    exact, near = (run(small(tiny, dtype=dtype), rows) for dtype in ("float32", "bfloat16"))
    assert small(tiny, dtype="bfloat16").identity()["dtype"] == (
        "bfloat16" if has_bfloat16() else "float32"
    )
    apart = np.abs(exact["clip_score"].to_numpy() - near["clip_score"].to_numpy())
    assert apart.max() < 0.05
    assert (apart.max() > 0) == has_bfloat16()


def test_a_row_keeps_its_bytes_whatever_becomes_of_the_others(run, tiny):
    images, texts = pictures(11), [f"caption {n}" for n in range(11)]
    whole = run(small(tiny), table(images, texts)).to_pylist()
    spoilt = [*images]
    spoilt[1], spoilt[5], spoilt[6] = images[1][:200], None, b"not an image"
    less = [*texts[:9], None, texts[10]]
    rest = run(small(tiny), table(spoilt, less)).to_pylist()
    for n, (before, after) in enumerate(zip(whole, rest, strict=True)):
        if n in (1, 5, 6):
            columns = ("clip_score", "clip_image", "clip_text", "clip_skipped")
            assert [after[name] for name in columns] == [None, None, None, False]
        elif n == 9:
            assert (after["clip_score"], after["clip_text"]) == (None, None)
            assert after["clip_image"] == before["clip_image"]
        else:
            assert after == before
    errors = {n: row["error"] for n, row in enumerate(rest) if row["error"]}
    assert errors == {1: "truncated_image", 6: "unsupported_format"}


def test_what_is_no_image_is_told_by_its_code(run, tiny):
    big = encoded(Image.new("RGB", (400, 300)), "PNG")
    cases = {b"": "empty_file", big: "too_many_pixels", encoded(picture(1), "PNG")[:300]: None}
    out = run(small(tiny, max_pixels=100_000), table(list(cases), ["a"] * len(cases)))
    errors = out["error"].to_pylist()
    assert errors[:2] == ["empty_file", "too_many_pixels"]
    assert errors[2] in ("truncated_image", "corrupt_image")
    assert out["clip_image"].null_count == 3


def test_deep_greys_are_seen_by_their_upper_byte(run, tiny):
    grey = np.tile(np.arange(64, dtype=np.uint16) * 1000, (64, 1))
    deep = encoded(Image.fromarray(grey), "PNG")
    plain = encoded(Image.fromarray((grey >> 8).astype(np.uint8)), "PNG")
    one, two = run(small(tiny), table([deep, plain], ["a", "a"])).to_pylist()
    assert one["error"] is None
    assert one["clip_score"] == pytest.approx(two["clip_score"], abs=1e-3)


def test_rows_under_the_floor_are_not_scored(run, tiny):
    images, texts = pictures(6), ["a caption"] * 6
    sides = [99, 100, None, 500, 100, 100]
    ratios = [1.0, 5.0, 1.0, 5.01, None, 2.5]
    chars = [9, 1, 9, 9, 9, 0]
    rows = table(images, texts, min_side=sides, aspect_ratio=ratios, caption_chars=chars)
    floor = "min_side>=100 aspect_ratio<=5 caption_chars>=1"
    out = run(small(tiny, floor=floor), rows)
    skipped = [True, False, False, True, False, True]
    assert out["clip_skipped"].to_pylist() == skipped
    for name in ("clip_score", "clip_image", "clip_text"):
        assert [value is None for value in out[name].to_pylist()] == skipped
    assert out["error"].null_count == 6


def test_a_floor_is_part_of_what_is_required():
    names = Clip(floor="min_side>=10 min_side<=900 caption_words>=2.5").requires.names
    assert names == ["image", "text", "min_side", "caption_words"]
    assert Clip(floor="").requires.names == ["image", "text"]


@pytest.mark.parametrize(
    "fields",
    [
        {"floor": "min_side>100"},
        {"floor": "min_side >= 100"},
        {"floor": "min_side>=wide"},
        {"floor": "min_side>=1,aspect_ratio<=5"},
        {"dtype": "float16"},
        {"device": "tpu"},
        {"batch_size": 0},
        {"threads": 0},
        {"max_pixels": 0},
    ],
)
def test_settings_without_a_meaning_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Clip(**fields)


def test_a_model_or_checkpoint_that_is_not_there_is_refused_when_it_is_named(tmp_path):
    with pytest.raises(UsageError, match="no CLIP model 'ViT-B/32'; there are ViT-B-32"):
        Clip(model="ViT-B/32")
    with pytest.raises(UsageError, match="cannot be read"):
        Clip(model="ViT-B-32", checkpoint=str(tmp_path / "missing.pt"))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            Clip(device="cuda").open()


def test_weights_that_change_after_they_were_named_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    operator = small(folder)
    weights = load_file(str(folder / "model.safetensors"))
    weights["ln_final.weight"] += 1
    save_file(weights, str(folder / "model.safetensors"))
    os.utime(folder / "model.safetensors", ns=(7, 7))
    with pytest.raises(UsageError, match="the weights changed"):
        operator.open()


def test_numbers_that_are_not_finite_never_reach_the_layer(run, tiny, tmp_path):
    """Weights that overflow for bright pictures only, and for no text."""
    folder = shutil.copytree(tiny, tmp_path / "model")
    weights = load_file(str(folder / "model.safetensors"))
    weights["visual.conv1.weight"] = torch.full_like(weights["visual.conv1.weight"], 3e37)
    save_file(weights, str(folder / "model.safetensors"))
    grey = [encoded(Image.new("RGB", (64, 64), (level,) * 3), "PNG") for level in (255, 0)]
    out = run(small(folder), table(grey, ["a", "b"]))
    assert out["error"].to_pylist() == ["not_finite"] * 2
    for name in ("clip_score", "clip_image", "clip_text"):
        assert out[name].null_count == 2


@pytest.fixture
def corpus(tmp_path):
    """60 pairs in three shards; some cannot be read."""
    source = write_pairs(tmp_path / "pairs", 60)
    for n, data in ((4, b"\xff\xd8\xff\xe0 broken"), (33, b""), (50, b"<html>")):
        (source / "images" / f"{n}.jpg").write_bytes(data)
    with LocalEngine(workers=0) as engine:
        request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=25))
        return ingest(request, str(tmp_path / "corpus"), engine, SILENT)


def layer_bytes(corpus, operator: Clip) -> list[bytes]:
    layer = layers_of((operator,))["clip"]
    return [corpus.store.read(layer.path(shard.shard)) for shard in corpus.shards]


def measured_again(corpus, operator: Clip, workers: int) -> list[bytes]:
    corpus.store.remove(layers_of((operator,))["clip"].folder)
    with LocalEngine(workers=workers) as engine:
        measure(corpus, (operator,), engine, SILENT)
    return layer_bytes(corpus, operator)


def test_bytes_are_the_same_with_any_number_of_workers_and_decoders(corpus, tiny):
    alone = measured_again(corpus, small(tiny), 0)
    assert measured_again(corpus, small(tiny), 2) == alone
    assert measured_again(corpus, small(tiny, decoders=5), 0) == alone


class Deadly(Clip):
    """Ends its process in the middle of the second shard, the first time."""

    def open(self):
        scorer = super().open()
        once = Path(self.checkpoint).parent / "killed"

        def score(batch):
            if "number 30 " in " ".join(batch["text"].to_pylist()) and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return scorer(batch)

        return score


def measured_here(corpus, operator: Clip) -> None:
    with LocalEngine(workers=0) as engine:
        measure(corpus, (operator,), engine, SILENT)


@pytest.mark.slow
def test_a_run_that_is_killed_in_the_middle_continues_to_the_same_bytes(corpus, tiny, tmp_path):
    expected_bytes = measured_again(corpus, small(tiny), 0)
    folder = shutil.copytree(tiny, tmp_path / "model")
    operator = Deadly(model="local", checkpoint=str(folder), device="cpu", floor="", batch_size=4)
    layer = layers_of((operator,))["clip"]
    assert layer == layers_of((small(tiny),))["clip"]
    corpus.store.remove(layer.folder)
    process = multiprocessing.get_context("spawn").Process(
        target=measured_here, args=(corpus, operator)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(corpus.store.names(layer.folder)) == 1
    with LocalEngine(workers=1) as engine:
        measure(corpus, (small(tiny),), engine, SILENT)
    assert layer_bytes(corpus, small(tiny)) == expected_bytes


@pytest.mark.slow
def test_a_worker_that_dies_costs_the_others_nothing(corpus, tiny, tmp_path):
    expected_bytes = measured_again(corpus, small(tiny), 0)
    folder = shutil.copytree(tiny, tmp_path / "model")
    operator = Deadly(model="local", checkpoint=str(folder), device="cpu", floor="", batch_size=4)
    corpus.store.remove(layers_of((operator,))["clip"].folder)
    with LocalEngine(workers=2) as engine:
        measure(corpus, (operator,), engine, SILENT)
    assert layer_bytes(corpus, operator) == expected_bytes
