"""The same batches for any workers, ranks and resumes; what cannot be read costs only itself."""

import io
import json
import multiprocessing.connection
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.core.errors import RunError, UsageError
from curation.families.image_text import image_segment, text_segment
from curation.models.glm4v.batch import IGNORED
from curation.models.glm4v.vision_input import patches
from curation.trainer.loader import Loader, resume_step
from curation.trainer.pack import Slot
from curation.trainer.plan import Plan
from tests.trainer.plans import planned, step_hashes
from tests.trainer.samples import VIDEO_FPS, clip, jpeg, shade, video_segment, write_export


@pytest.fixture(scope="module")
def plan(exports, tmp_path_factory) -> Plan:
    """All families, parts of long documents among them."""
    return planned(tmp_path_factory.mktemp("plan"), [*exports.values()],
                   seq_len=512, global_batch=4, steps=10)  # fmt: skip


@pytest.fixture(scope="module")
def hashes(plan) -> dict[int, str]:
    return step_hashes(plan)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_workers_and_ranks(plan, hashes, workers, world):
    assert len(set(hashes.values())) == plan.steps
    assert step_hashes(plan, workers=workers, world=world, stop=4) == {
        step: hashes[step] for step in range(4)
    }


@pytest.mark.parametrize(("workers", "world"), [(0, 1), (3, 1), (1, 2)])
def test_batches_are_the_same_after_two_resumes(plan, hashes, workers, world):
    found, start = {}, 0
    for stop in (3, 7, 10):
        found |= step_hashes(plan, workers=workers, world=world, start=start, stop=stop)
        start = stop
    assert found == hashes


def test_the_state_is_the_plan_and_the_next_step(plan, hashes):
    loader = Loader(plan)
    assert loader.state() == {"plan_hash": plan.plan_hash, "step": 0}
    for step in loader:
        if step.number == 4:
            break
    state = json.loads(json.dumps(loader.state()))
    assert state == {"plan_hash": plan.plan_hash, "step": 5}
    start = resume_step(plan, state)
    assert step_hashes(plan, start=start) == {n: hashes[n] for n in range(5, 10)}


def test_a_killed_worker_ends_the_training_and_a_resume_goes_on(plan, hashes):
    with Loader(plan, workers=1) as loader:
        steps = iter(loader)
        next(steps)
        os.kill(loader._workers[0]._process.pid, signal.SIGKILL)
        with pytest.raises(RunError, match="worker ended"):
            list(steps)
        start = loader.state()["step"]
    assert step_hashes(plan, workers=1, start=start) == {
        n: hashes[n] for n in range(start, plan.steps)
    }


def test_a_pack_is_what_its_samples_say(plan):
    tokenizer = plan.processor.tokenizer
    special, families = tokenizer.special, set()
    for step in Loader(plan):
        for pack in step.packs:
            assert pack.tokens.shape == pack.labels.shape == pack.media_tokens.shape == (512,)
            assert pack.positions.shape == (3, 512)
            assert pack.cu_seqlens[0] == 0 and pack.cu_seqlens[-1] == 512
            assert len(pack.sample_ids) == len(pack.sample_families) == len(pack.cu_seqlens) - 1
            assert len(pack.pixels) == int(pack.grids.prod(1).sum())
            assert int(pack.media_tokens.sum()) * 4 == len(pack.pixels)
            assert pack.max_seqlen == int(pack.cu_seqlens.diff().max())
            families |= set(pack.sample_families)
            for name, low, high in zip(
                pack.sample_ids, pack.cu_seqlens, pack.cu_seqlens[1:], strict=False
            ):
                tokens, labels = pack.tokens[low:high], pack.labels[low:high]
                assert (pack.positions[:, low] == 0).all()
                learnt = labels != IGNORED
                if not name:
                    assert not learnt.any()
                    continue
                assert tokens[:2].tolist() == [special["[gMASK]"], special["<sop>"]]
                assert torch.equal(labels[:-1][learnt[:-1]], tokens[1:][learnt[:-1]])
                assert learnt.any() and labels[-1] == IGNORED
                assert not (labels == tokenizer.image_id).any()
                if "#" not in name:
                    assert tokens[-1] == tokenizer.end_id == labels[-2]
    assert families - {""} == {"image-text", "interleaved", "ocr", "grounding", "gui", "video"}


def test_nothing_but_handles_comes_from_workers(plan, monkeypatch):
    """Pixels lie in memory that both map: the pipe carries no byte of a pack."""
    with Loader(plan, workers=1) as loader:

        def refused(*_: object) -> None:
            raise AssertionError("something was read from the pipe")

        monkeypatch.setattr(multiprocessing.connection.Connection, "_recv_bytes", refused)
        packs = [pack for step in loader for pack in step.packs]
    assert sum(pack.pixels.numel() for pack in packs) > 0


def test_packs_are_built_while_the_trainer_is_busy(plan):
    with Loader(plan, workers=1) as loader:
        steps = iter(loader)
        next(steps)
        assert loader._workers[0].ready(60)  # nobody asked for it yet


def test_a_worker_says_what_is_wrong(exports, tmp_path):
    folder = write_export(tmp_path / "e", "gui", count=60, shard_samples=20)
    plan = planned(tmp_path / "p", [folder], seq_len=512, global_batch=1, steps=5)
    sorted(folder.glob("*.tar"))[1].unlink()
    for workers in (0, 1):
        with Loader(plan, workers=workers) as loader, pytest.raises(RunError, match="no such file"):
            list(loader)


def test_a_worker_that_fails_says_why(plan):
    with Loader(plan, workers=1) as loader:
        nowhere = Slot(corpus=99, shard=0, row=0, first=0, stop=1, tokens=4, offset=0, size=9)
        loader._workers[0].send([nowhere])
        with pytest.raises(RunError, match=r"worker failed \(IndexError.*--workers 0"):
            loader._workers[0].receive()


@pytest.mark.parametrize(("rank", "world"), [(0, 3), (2, 2), (-1, 1)])
def test_ranks_that_do_not_divide_the_batch_are_refused(plan, rank, world):
    with pytest.raises(UsageError, match="multiple of the number of ranks"):
        Loader(plan, rank=rank, world=world)


def broken(tmp_path: Path, count: int, bad: int) -> Path:
    """An export of images, `bad` of which are cut short."""
    samples = []
    for n in range(count):
        data, width, height = jpeg(n)
        data = data[: len(data) // 2] if n < bad else data
        text = text_segment(f"picture {n}", loss=True)
        samples.append(([image_segment("0.jpg", width, height), text], [("0.jpg", data)]))
    return write_export(tmp_path / f"broken-{bad}", "image-text", samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_keeps_its_place_unlearnt_and_is_told(tmp_path, workers):
    folder = broken(tmp_path, 50, 3)
    plan = planned(tmp_path / "p", [folder], seq_len=512, global_batch=1)
    file = tmp_path / "q" / "rank-0.jsonl"
    learnt: dict[str, bool] = {}
    with Loader(plan, workers=workers, quarantine=str(file)) as loader:
        for step in loader:
            (pack,) = step.packs
            patch = 0
            for n, name in enumerate(pack.sample_ids):
                low, high = pack.cu_seqlens[n : n + 2].tolist()
                count = int(pack.media_tokens[low:high].sum()) * 4
                pixels, patch = pack.pixels[patch : patch + count], patch + count
                if name:
                    learnt[name] = bool((pack.labels[low:high] != IGNORED).any())
                    assert learnt[name] == bool(pixels.any())
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(learnt) == 50
    assert {row["sample"] for row in told} == {name for name, yes in learnt.items() if not yes}
    assert len(told) == 3
    assert {row["error"] for row in told} <= {"truncated_image", "corrupt_image"}


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda d, at: d[:at] + b"\x00" * 200 + d[at + 200 :], "corrupt_record"),  # a tar header
        (lambda d, at: d[: at + 512] + b"[]" + d[at + 514 :], "corrupt_record"),  # the JSON
    ],
)
def test_a_damaged_tar_costs_only_the_samples_it_hits(tmp_path, damage, error):
    folder = write_export(tmp_path / "e", "ocr", count=30)
    plan = planned(tmp_path / "p", [folder], seq_len=2048, global_batch=1)
    (tar,) = folder.glob("*.tar")
    data = tar.read_bytes()
    tar.write_bytes(damage(data, 0))
    failures = [failure for step in Loader(plan) for failure in step.failures]
    assert [failure.error for failure in failures] == [error]


RECORDS = {
    "no number": (b'"width":112,"height":112', b'"width":1e999,"height":1'),
    "not whole": (b'"width":112', b'"width":1.5'),
    "below 0": (b'"width":112', b'"width":-12'),
    "no text": (b'"text":"seven"', b'"text":1234567'),
    "no answer": (b'"loss":true', b'"loss":1.50'),
    "deep": (b'"text":"' + b"x" * 2400, b'"text":' + b"[" * 2401),
}


@pytest.mark.parametrize(
    ("wrong", "workers"), [*((wrong, 0) for wrong in RECORDS), ("no number", 1)]
)
def test_a_record_that_is_wrong_keeps_its_place_unlearnt(tmp_path, wrong, workers):
    samples = []
    for n in range(3):
        data, width, height = jpeg(8 * n)
        texts = [text_segment(text, loss=True) for text in ("seven", "x" * 2400)]
        samples.append(([image_segment("0.jpg", width, height), *texts], [("0.jpg", data)]))
    folder = write_export(tmp_path / "e", "image-text", samples)
    plan = planned(tmp_path / "p", [folder], seq_len=8192, global_batch=1)
    (tar,) = folder.glob("*.tar")
    before, after = RECORDS[wrong]
    held = tar.read_bytes()
    assert len(before) == len(after) and before in held
    tar.write_bytes(held.replace(before, after, 1))
    with Loader(plan, workers=workers) as loader:
        (step,) = loader
    (pack,) = step.packs
    (failure,) = step.failures
    assert failure.error == "corrupt_record"
    learnt = {
        name: bool((pack.labels[low:high] != IGNORED).any())
        for name, low, high in zip(
            pack.sample_ids, pack.cu_seqlens, pack.cu_seqlens[1:], strict=False
        )
        if name
    }
    assert len(learnt) == 3 and {name for name, yes in learnt.items() if not yes} == {
        failure.sample
    }


def test_an_image_of_another_size_than_planned_is_refused(tmp_path):
    data, width, height = jpeg(3)
    segments = [image_segment("0.jpg", width + 28, height), text_segment("wide", loss=True)]
    folder = write_export(tmp_path / "e", "ocr", [(segments, [("0.jpg", data)])])
    plan = planned(tmp_path / "p", [folder], seq_len=128, global_batch=1)
    (step,) = Loader(plan)
    assert [failure.error for failure in step.failures] == ["corrupt_image"]


def test_images_are_upright(tmp_path):
    pixels = np.zeros((112, 168, 3), np.uint8)
    pixels[:, :56] = (250, 10, 10)
    exif, sink = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(sink, "PNG", exif=exif)
    segments = [image_segment("0.png", 112, 168), text_segment("flag", loss=True)]
    folder = write_export(tmp_path / "e", "ocr", [(segments, [("0.png", sink.getvalue())])])
    plan = planned(tmp_path / "p", [folder], seq_len=128, global_batch=1)
    (step,) = Loader(plan)
    assert not step.failures
    turned = np.ascontiguousarray(np.rot90(pixels, -1))[None]
    assert torch.equal(step.packs[0].pixels, patches(turned, (1, 12, 8), plan.processor.vision))


@pytest.mark.parametrize("frames", [20, 33])
def test_frames_are_those_of_their_time(tmp_path, frames):
    times = [frame / VIDEO_FPS for frame in range(frames)]
    segments = [video_segment("0.mp4", 64, 48, times), text_segment("grey", loss=True)]
    folder = write_export(tmp_path / "e", "video", [(segments, [("0.mp4", clip(frames))])])
    plan = planned(tmp_path / "p", [folder], seq_len=512, global_batch=1)
    (step,) = Loader(plan)
    assert not step.failures
    (pack,) = step.packs
    time_patches, tall, wide = pack.grids[0].tolist()
    values = pack.pixels.reshape(time_patches, tall * wide, 3, 2, 14 * 14)[:, :, 0]
    grey = values.mean((1, 3)).reshape(-1) * 0.26862954 * 255 + 0.48145466 * 255
    half_seconds = 2 * frames // VIDEO_FPS
    expected = [shade(half * VIDEO_FPS // 2) for half in range(half_seconds)]
    expected += expected[-1:] * (len(expected) % 2)
    assert grey.tolist() == pytest.approx(expected, abs=2)


def test_a_frame_that_is_not_there_is_told(tmp_path):
    segments = [video_segment("0.mp4", 64, 48, [0.0, 0.5, 1.0, 9.0]), text_segment("a", loss=True)]
    folder = write_export(tmp_path / "e", "video", [(segments, [("0.mp4", clip(20))])])
    plan = planned(tmp_path / "p", [folder], seq_len=512, global_batch=1)
    (step,) = Loader(plan)
    assert [failure.error for failure in step.failures] == ["corrupt_video"]
