"""Metadata goes, the picture stays: same pixels, same turn, same colours, no place."""

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from curation.io.image_header import read_header, sniff
from curation.io.strip_metadata import strip_metadata
from tests.io.images import (
    GPS,
    chunk,
    encoded,
    exif,
    real_images,
    riff,
    scene,
    segment,
    webp_chunk,
    with_segment,
)

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SECRET = b"SECRET-PLACE"
XMP = b'<x:xmpmeta><rdf:Description exif:GPSLatitude="SECRET-PLACE"/></x:xmpmeta>'


def laden(kind: str, orientation: int | None = 6, **options) -> bytes:
    """An image with a place in every kind of metadata, an orientation and a colour profile."""
    options |= {"exif": exif(orientation, gps=True), "icc_profile": ICC}
    image = scene((90, 60), options.pop("mode", "RGB"))
    if kind == "WEBP":
        return encoded(image, kind, xmp=XMP, **options)
    if kind == "PNG":
        info = [
            chunk(b"tEXt", b"Comment\x00" + SECRET),
            chunk(b"zTXt", b"Raw profile type exif\x00\x00" + SECRET),
            chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + XMP),
            chunk(b"tIME", bytes(7)),
            chunk(b"caBX", SECRET),
        ]
        png = encoded(image, kind, **options)
        end = png.index(b"IEND") - 4
        return png[:33] + b"".join(info) + png[33:end] + info[0] + png[end:] + SECRET
    jpeg = encoded(image, kind, **options, xmp=XMP, comment=SECRET)
    for marker, body in (
        (0xED, b"Photoshop 3.0\x00" + SECRET),
        (0xE3, b"Meta\x00\x00" + SECRET),
        (0xEB, b"JP" + SECRET),
        (0xEA, SECRET),
        (0xE2, b"FPXR\x00" + SECRET),
    ):
        jpeg = with_segment(jpeg, marker, body)
    return jpeg


def raw_pixels(data: bytes) -> list[tuple[str, bytes]]:
    """Every frame as it is stored, before any turn."""
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for n in range(getattr(image, "n_frames", 1) if image.format != "MPO" else 1):
            image.seek(n)
            frames.append((image.mode, image.tobytes()))
        return frames


def profile(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as image:
        return image.info.get("icc_profile")


KINDS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"mode": "L"}),
    ("JPEG", {"mode": "CMYK"}),
    ("PNG", {}),
    ("PNG", {"mode": "RGBA"}),
    ("PNG", {"mode": "P"}),
    ("PNG", {"mode": "I;16"}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True, "mode": "RGBA"}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_all_metadata_goes_and_the_picture_stays(kind, options, orientation):
    data = laden(kind, orientation, **options)
    out = strip_metadata(data)
    assert SECRET in data
    assert SECRET not in out
    assert raw_pixels(out) == raw_pixels(data)
    assert profile(out) == profile(data) == ICC
    assert read_header(out) == read_header(data)
    assert read_header(out).orientation == (orientation or 1)
    with Image.open(io.BytesIO(out)) as image:
        assert dict(image.getexif()) == ({0x0112: orientation} if orientation in (3, 6) else {})
        assert not image.getexif().get_ifd(GPS)
        upright = ImageOps.exif_transpose(image)
    with Image.open(io.BytesIO(data)) as image:
        assert upright.tobytes() == ImageOps.exif_transpose(image).tobytes()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_stripping_twice_is_stripping_once(kind, options):
    once = strip_metadata(laden(kind, **options))
    assert strip_metadata(once) == once


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_an_image_without_metadata_keeps_its_pixels(kind):
    data = encoded(scene((90, 60)), kind)
    assert raw_pixels(strip_metadata(data)) == raw_pixels(data)
    if kind not in ("JPEG", "PNG", "WEBP"):
        assert strip_metadata(data) == data


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_an_animation_keeps_its_frames(kind):
    frames = [scene((40, 30), seed=n) for n in range(4)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, loop=0)
    out = strip_metadata(data)
    assert raw_pixels(out) == raw_pixels(data)
    assert read_header(out) == read_header(data)


def test_what_follows_the_image_goes_with_its_place():
    """A second picture, or a film, has metadata of its own."""
    for behind in (laden("JPEG"), SECRET + b"\xff\xd9", SECRET):
        data = encoded(scene((90, 60)), "JPEG", progressive=True) + behind
        out = strip_metadata(data)
        assert SECRET not in out
        assert raw_pixels(out) == raw_pixels(data)
        assert out.endswith(b"\xff\xd9")


def test_a_comment_between_two_scans_goes():
    jpeg = encoded(scene((90, 60)), "JPEG", progressive=True)
    second = jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)
    data = (
        jpeg[:second]
        + segment(0xFE, SECRET)
        + segment(0xE1, b"Exif\x00\x00" + SECRET)
        + jpeg[second:]
    )
    out = strip_metadata(data)
    assert SECRET not in out
    assert raw_pixels(out) == raw_pixels(jpeg) == raw_pixels(data)


def test_a_jpeg_of_several_pictures_becomes_its_first():
    pictures = [scene((40, 30), seed=n) for n in range(2)]
    data = encoded(
        pictures[0], "MPO", save_all=True, append_images=pictures[1:], exif=exif(gps=True)
    )
    out = strip_metadata(data)
    assert SECRET in data
    assert SECRET not in out
    with Image.open(io.BytesIO(out)) as image:
        assert image.format == "JPEG"
    assert raw_pixels(out) == raw_pixels(data)


def test_adobes_colour_transform_stays():
    data = encoded(scene((40, 30), "CMYK"), "JPEG")
    assert b"Adobe" in data
    assert b"Adobe" in strip_metadata(data)


def test_unknown_chunks_of_webp_go():
    data = riff(
        webp_chunk(b"VP8X", bytes([0x0C]) + bytes(3) + b"\x59\x00\x00\x3b\x00\x00"),
        encoded(scene((90, 60)), "WEBP")[12:],
        webp_chunk(b"C2PA", SECRET),
        webp_chunk(b"EXIF", exif(gps=True).tobytes()),
    )
    assert SECRET not in strip_metadata(data)
    assert raw_pixels(strip_metadata(data)) == raw_pixels(data)


def test_real_images_keep_their_pixels():
    for path in random.Random(2).sample(real_images(), 40):
        data = path.read_bytes()
        out = strip_metadata(data)
        assert raw_pixels(out) == raw_pixels(data), path.name
        assert (read_header(out), profile(out)) == (read_header(data), profile(data)), path.name
        assert len(out) <= len(data)


SEEDS = [laden(kind, **options) for kind, options in KINDS]
DRAWS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), DRAWS, st.floats(0, 1))
def test_damaged_images_never_raise(data, changes, cut):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(data))] = value
    out = strip_metadata(bytes(damaged[: int(cut * len(data))]))
    assert strip_metadata(out) == out


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBP"]),
)
def test_bytes_of_any_kind_never_raise(data, start):
    out = strip_metadata(start + data)
    assert sniff(out) == sniff(start + data)
    assert strip_metadata(out) == out
