"""Real files go through the trainer: photographs through both stages, clips through the loader."""

import json
import shutil
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from curation.trainer.loader import Loader
from curation.trainer.media import decode_video
from tests.io.images import REALDATA
from tests.pipeline.corpora import curate
from tests.trainer.commands import ended, killed, losses
from tests.trainer.plans import planned
from tests.trainer.samples import Made, video_segment, write_export
from tests.trainer.samples import text_segment as text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REALDATA.is_dir(), reason="../shared/realdata is absent"),
]

PAIRS, STEPS, MORE = 120, 16, 6
FRAMES = 48
"""Of a clip: its first two seconds."""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated run over some real pairs, and an export of clips."""
    root = tmp_path_factory.mktemp("corpora")
    source = root / "source"
    (source / "images").mkdir(parents=True)
    lines = (REALDATA / "pairs" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()[:PAIRS]
    for line in lines:
        image = json.loads(line)["image"]
        shutil.copyfile(REALDATA / "pairs" / image, source / image)
    (source / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    curate(source, root / "pairs")
    write_export(root / "video", "video", count=40)
    return root


@pytest.fixture(scope="module")
def runs(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 and then stage 2, undisturbed as `whole-<stage>`, killed and resumed as
    `killed-<stage>`: the second stage begins with what its like made in the first."""
    root = tmp_path_factory.mktemp("runs")
    small = ["--config", "tiny", "--workers", 1, "--set", "checkpoint_every=3"]
    small += ["--set", "vision.image_max_pixels=50176", "--set", "vision.video_max_pixels=100352"]
    first = ["train", "--stage", 1, "--steps", STEPS, "--corpus", f"{corpora / 'pairs'}:1", *small]
    second = ["train", "--stage", 2, "--steps", MORE, "--corpus", f"{corpora / 'video'}:1", *small]
    for name in ("whole", "killed"):
        for stage, asked, after in ((1, first, 7), (2, second, 4)):
            out = root / f"{name}-{stage}"
            begun = ["--init", root / f"{name}-1"] if stage == 2 else []
            if name == "killed":
                killed(out, after, *asked, *begun, "--out", out)
            ended(*asked, *begun, "--out", out)
    return root


def test_real_pairs_are_learnt_and_a_killed_run_learns_the_same(runs: Path) -> None:
    whole = losses(runs / "whole-1")
    assert [step for step, _, _ in whole] == list(range(1, STEPS + 1))
    assert losses(runs / "killed-1") == whole
    assert mean(loss for _, loss, _ in whole[-4:]) < whole[0][1] - 0.7


def test_stage_2_replays_real_pairs_beside_clips_and_a_killed_one_learns_the_same(
    runs: Path,
) -> None:
    whole = losses(runs / "whole-2")
    assert [step for step, _, _ in whole] == list(range(1, MORE + 1))
    assert losses(runs / "killed-2") == whole
    assert {family for _, _, each in whole for family in each} == {"video", "image-text"}
    before = mean(loss for _, loss, _ in losses(runs / "whole-1")[-4:])
    replayed = [each["image-text"] for _, _, each in whole if "image-text" in each]
    assert mean(replayed) < before + 0.5  # nothing of stage 1 is forgotten
    seen = [each["video"] for _, _, each in whole if "video" in each]
    assert seen[-1] < seen[0]
    weights = [runs / f"{name}-2" / "model" / "model.safetensors" for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def clips() -> list[tuple[Path, list[float], tuple[int, int], np.ndarray]]:
    """Real clips that have a picture: file, times of their first frames, size, those frames."""
    import av

    found = []
    for path in sorted((REALDATA / "video").iterdir()):
        with av.open(str(path)) as container:
            if not container.streams.video:
                continue
            frames = []
            for frame in container.decode(container.streams.video[0]):
                frames.append((frame.time, frame.to_ndarray(format="rgb24")))
                assert frame.rotation == 0
                if len(frames) == FRAMES:
                    break
        tall, wide = frames[0][1].shape[:2]
        times = [time for time, _ in frames]
        found.append((path, times, (wide, tall), np.stack([pixels for _, pixels in frames])))
    return found


def test_real_clips_are_decoded_at_their_times_and_fill_packs(tmp_path: Path) -> None:
    """H.264, H.265, AV1, 10 bits, full range: each frame that is asked for, and no other."""
    made: list[Made] = []
    for path, times, size, frames in clips():
        data = path.read_bytes()
        asked = slice(1, None, 7)
        seen = decode_video(data, *size, times[asked])
        assert np.array_equal(seen, frames[asked]), path.name
        segments = [video_segment("0.mp4", *size, times), text(f"The clip {path.stem}", loss=True)]
        made.append((segments, [("0.mp4", data)]))
    assert len(made) >= 10
    export = write_export(tmp_path / "clips", "video", iter(made), name="clips")
    plan = planned(tmp_path / "plan", [export], seq_len=512, global_batch=1)
    with Loader(plan) as loader:
        steps = list(loader)
    assert [failure for step in steps for failure in step.failures] == []
    packs = [pack for step in steps for pack in step.packs]
    names = {name for pack in packs for name in pack.sample_ids if name}
    assert len(names) == len(made)
    for pack in packs:
        assert len(pack.grids) and bool((pack.pixels != 0).any(dim=1).all())
