"""Videos are what their first bytes say, and nothing that names another file."""

import io

import av
import numpy as np
import pytest

from curation.io.image_decode import DecodeError
from curation.io.video_container import NEEDED, video_container
from curation.trainer.media import decode_video

TIMES = (0.0, 0.5)


def clip(container: str, codec: str) -> bytes:
    """A second of grey frames, twelve of them."""
    file = io.BytesIO()
    with av.open(file, mode="w", format=container) as out:
        stream = out.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(12):
            frame = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), 20 * shade, np.uint8), format="rgb24"
            )
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("mp4", "mpeg4", "mov"),
        ("mov", "mpeg4", "mov"),
        ("matroska", "mpeg4", "matroska"),
        ("webm", "libvpx", "matroska"),
        ("avi", "mpeg4", "avi"),
    ],
)
def test_containers_are_told_by_their_beginning(container, codec, name):
    data = clip(container, codec)
    assert video_container(data[:NEEDED]) == name
    frames = decode_video(data, 64, 48, TIMES)
    assert frames.shape == (2, 48, 64, 3)
    assert frames[1].mean() > frames[0].mean() + 60


@pytest.mark.parametrize(
    "playlist", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_a_playlist_is_no_video_and_what_it_names_is_not_opened(tmp_path, playlist):
    named = tmp_path / "other.mp4"
    named.write_bytes(clip("mp4", "mpeg4"))
    with pytest.raises(DecodeError, match="corrupt_video"):
        decode_video(playlist.format(named).encode(), 64, 48, TIMES)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x1aE\xdf\xa3", b"\0\0\0\x18ftypmp42"])
def test_a_beginning_alone_is_no_video(data):
    with pytest.raises(DecodeError, match="corrupt_video"):
        decode_video(data, 64, 48, TIMES)
