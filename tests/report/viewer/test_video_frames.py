"""Frames of clips: the right ones, whatever else is in the file, and never for ever."""

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.report.viewer import video_frames
from curation.report.viewer.video_frames import MOST, NoFramesError, Stored, chosen, frames
from tests.report.viewer.corpora import asked, get, view_of, viewer
from tests.report.viewer.families import family_run
from tests.trainer.samples import VIDEO_FPS, clip, shade

pytest.importorskip("av")


def grey(jpeg: bytes) -> float:
    return float(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean())


def stored(folder: Path, data: bytes, before: bytes = b"") -> Stored:
    """A file that holds a clip behind other bytes."""
    (folder / "shard.tar").write_bytes(before + data + b"more")
    return Stored(tar=str(folder / "shard.tar"), offset=len(before), size=len(data))


def taken(video: Stored, *times: float, side: int = 480) -> list[video_frames.Frame]:
    return frames(video, times, side, lambda _: None)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return viewer(view_of(family_run(tmp_path_factory.mktemp("video"), "video")))


def test_the_frames_of_a_sample_are_those_that_the_trainer_is_given(app):
    (block,) = [b for b in asked(app, "sample?at=0")["blocks"] if b["kind"] == "clip"]
    times = asked(app, "frames?at=0")["times"]
    assert times == pytest.approx(chosen(block["times"]))
    assert len(times) == min(MOST, len(block["times"]))
    assert (times[0], times[-1]) == (0, pytest.approx(block["times"][-1]))
    for n, seconds in enumerate(times):
        code, headers, body = get(app, f"/image?at=0&frame={n}")
        assert (code, headers["content-type"]) == (200, "image/jpeg")
        assert grey(body) == pytest.approx(shade(round(seconds * VIDEO_FPS)), abs=4)
    assert get(app, f"/image?at=0&frame={len(times)}")[0] in (400, 404)
    assert get(app, "/image?at=0&nth=1&frame=0")[0] == 404
    assert get(app, "/image?at=0&frame=-1")[0] == 400


def test_without_times_the_first_the_middle_and_the_last_are_drawn(tmp_path):
    found = taken(stored(tmp_path, clip(21), b"before"))
    numbers = [round(frame.seconds * VIDEO_FPS) for frame in found]
    assert numbers[0] == 0
    assert abs(numbers[1] - 10) <= 1
    assert numbers[2] == 20
    assert [grey(f.jpeg) for f in found] == pytest.approx([shade(n) for n in numbers], abs=4)


def test_frames_are_as_small_as_is_asked_and_no_larger_than_they_are(tmp_path):
    video = stored(tmp_path, clip(5, (320, 160)))
    (small,) = taken(video, 0.2, side=80)
    (own,) = taken(video, 0.2)
    assert [Image.open(io.BytesIO(f.jpeg)).size for f in (small, own)] == [(80, 40), (320, 160)]


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no video that is known"),
        (PLAYLIST, "no video that is known"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "no video that is known"),
        (clip(9)[:40], "cannot be decoded"),
        (clip(9)[:16] + bytes(4000), "cannot be decoded"),
        (b"\x1aE\xdf\xa3" + bytes(500), "cannot be decoded"),
    ],
)
def test_what_is_no_clip_is_refused_in_a_few_words(tmp_path, data, said):
    with pytest.raises(NoFramesError, match=said):
        taken(stored(tmp_path, data))


def test_what_comes_before_the_damage_is_shown(tmp_path):
    whole = clip(40)
    media, index = whole.index(b"mdat"), whole.index(b"moov")
    assert media < index
    half = (media + index) // 2
    broken = whole[:half] + bytes(index - 4 - half) + whole[index - 4 :]
    found = taken(stored(tmp_path, broken), 0.0, 3.9)
    assert found[0].seconds == 0
    assert grey(found[0].jpeg) == pytest.approx(shade(0), abs=4)


def test_frames_that_are_too_large_are_not_decoded(monkeypatch):
    monkeypatch.setattr(video_frames, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(NoFramesError, match="too large"):
        list(video_frames._decoded(io.BytesIO(clip(5)), [0.0], 480))


def test_a_clip_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(video_frames, "_TIMEOUT", 0.5)
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    started: list[subprocess.Popen[bytes]] = []
    begun = time.monotonic()
    with pytest.raises(NoFramesError, match="too long"):
        frames(stored(tmp_path, clip(5)), [], 480, started.append)
    assert time.monotonic() - begun < 10
    assert started[0].returncode is not None


def test_a_video_s_picture_in_the_gallery_is_its_first_frame(app):
    (tile, *_) = asked(app, "samples")["tiles"]
    assert tile["why_not"] is None
    code, headers, shown = get(app, "/image?at=0&side=96")
    _, _, first = get(app, "/image?at=0&frame=0")
    assert (code, headers["content-type"]) == (200, "image/jpeg")
    assert max(Image.open(io.BytesIO(shown)).size) <= 96
    assert grey(shown) == pytest.approx(grey(first), abs=4)


def test_a_decoder_that_dies_costs_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NoFramesError, match="cannot be decoded"):
        taken(stored(tmp_path, clip(5)))


def test_where_pyav_is_missing_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(video_frames, "is_there", lambda: False)
    app = viewer(view_of(family_run(tmp_path, "video", 2)))
    assert {tile["why_not"] for tile in asked(app, "samples")["tiles"]} == {"a video"}
    assert get(app, "/image?at=1&side=96")[0] == 404
    said = asked(app, "frames?at=1")
    assert said["times"] == []
    assert "curation[train]" in said["why_not"]


def test_pictures_have_no_frames(tmp_path):
    app = viewer(view_of(family_run(tmp_path, "gui", 2)))
    assert asked(app, "frames?at=0") == {"times": [], "why_not": "no such video"}
