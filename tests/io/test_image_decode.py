"""The reduced decode: the same picture as a full one, upright, in any mode, and bombs refused."""

import io
import random
import struct
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from curation.core.errors import ERROR_CODES
from curation.io.image_decode import MAX_SCANS, SHORT_SIDE, reduced_luma, thumbnail, to_luma
from curation.io.image_header import ImageError, ImageHeader, read_header
from tests.io.images import (
    chunk,
    encoded,
    exif,
    png,
    real_images,
    scene,
    segment,
    with_segment,
)

LIMIT = 89_478_485
LOSSY = {"JPEG": 7.0, "AVIF": 7.0, "WEBP": 7.0, "GIF": 12.0}
"""Mean grey levels by which formats that lose detail or colours may differ from the original."""


def luma(data: bytes, max_pixels: int = LIMIT) -> Image.Image:
    return reduced_luma(data, read_header(data), max_pixels)


def reference(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Luma of a full decode, averaged over whole squares down to `size`, turned by Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        whole = image.convert("RGB").convert("L")
        small = whole.reduce(max(1, round(min(whole.size) / min(size))))
        if image.format != "TIFF":  # turned when it was decoded
            small.getexif()[0x0112] = image.getexif().get(0x0112, 1)
            small = ImageOps.exif_transpose(small)
    assert small.size == size
    return np.asarray(small)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_real_images_are_the_full_decode_made_smaller():
    files = random.Random(1).sample(real_images(), 60)
    worst = {}
    for path in files:
        data = path.read_bytes()
        header, small = read_header(data), luma(data)
        short = min(header.width, header.height)
        assert small.mode == "L"
        assert SHORT_SIDE <= min(small.size) < 2 * SHORT_SIDE or min(small.size) == short
        turned = small.width / small.height
        assert abs(turned / (header.width / header.height) - 1) < 0.02
        worst[path.name] = apart(np.asarray(small), reference(data, small.size))
    assert {name: levels for name, levels in worst.items() if levels > 1} == {}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (7, 3), (255, 900), (256, 256), (511, 700), (512, 512), (513, 1024), (2047, 300),
     (1023, 1025), (2100, 2200), (4100, 256)],
)  # fmt: skip
def test_the_short_side_is_cut_to_256_to_511(kind, size):
    data = encoded(scene(size), kind)
    small = luma(data)
    short = min(size)
    if short < 2 * SHORT_SIDE:
        assert small.size == size
    else:
        assert SHORT_SIDE <= min(small.size) < 2 * SHORT_SIDE
    assert apart(np.asarray(small), reference(data, small.size)) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("size", [(90, 60), (1300, 700)])
def test_every_orientation_is_turned_as_pillow_turns_it(kind, orientation, size):
    data = encoded(scene(size), kind, exif=exif(orientation))
    small = luma(data)
    header = read_header(data)
    assert (small.width > small.height) == (header.width > header.height)
    assert apart(np.asarray(small), reference(data, small.size)) < 2


SIXTEEN = np.asarray(scene((64, 48), "I;16"))
MODES = [
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")),
    *(("WEBP", mode) for mode in ("L", "RGB", "RGBA")),
    *(("GIF", mode) for mode in ("L", "P", "RGB")),
    *(("BMP", mode) for mode in ("1", "L", "P", "RGB")),
    *(("AVIF", mode) for mode in ("L", "RGB", "RGBA")),
]


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_every_mode_is_the_luma_that_was_encoded(kind, mode):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(scene((64, 48), mode), kind, **options)
    expected = np.asarray(scene((64, 48)).convert("L"))
    if mode in ("P", "1"):
        expected = np.asarray(scene((64, 48), mode).convert("RGB").convert("L"))
    small = luma(data)
    assert small.mode == "L"
    assert apart(np.asarray(small), expected) < LOSSY.get(kind, 2)


def test_sixteen_bits_keep_their_upper_byte():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for kind in ("PNG", "TIFF"):
        small = np.asarray(luma(encoded(Image.fromarray(levels), kind)))
        assert np.array_equal(small, (levels >> 8).astype(np.uint8)), kind
    dark = np.full((40, 40), 200, np.uint16)
    assert np.asarray(luma(encoded(Image.fromarray(dark), "PNG"))).max() == 0


def test_alpha_is_dropped_not_blended():
    clear = scene((30, 20))
    clear.putalpha(0)
    small = luma(encoded(clear, "PNG"))
    assert apart(np.asarray(small), np.asarray(scene((30, 20)).convert("L"))) == 0
    palette = scene((30, 20), "P")
    data = encoded(palette, "PNG", transparency=0)
    assert np.array_equal(luma(data), palette.convert("RGB").convert("L"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_counts(kind):
    frames = [scene((40, 30), seed=n) for n in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    small = np.asarray(luma(data)).astype(int)
    near = [apart(small, np.asarray(frame.convert("L"))) for frame in frames]
    assert near[0] < 8 < min(near[1:])


def test_an_interlaced_or_progressive_file_is_the_same_picture():
    image = scene((700, 600))
    plain, progressive = encoded(image, "JPEG"), encoded(image, "JPEG", progressive=True)
    assert apart(np.asarray(luma(plain)), np.asarray(luma(progressive))) < 1


def code(data: bytes, max_pixels: int = LIMIT, header: ImageHeader | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        reduced_luma(data, header or read_header(data), max_pixels)
    assert caught.value.code in ERROR_CODES
    return caught.value.code


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_file_cut_in_its_data(kind):
    data = encoded(scene((300, 200), seed=3), kind)
    cut = data[: len(data) * 2 // 3]
    try:
        header = read_header(cut)
    except ImageError as fault:
        assert fault.code == "corrupt_image"
        assert kind in ("TIFF", "AVIF")  # their directories lie behind, or must be whole
    else:
        assert code(cut, header=header) in ("truncated_image", "corrupt_image")
        if kind in ("JPEG", "PNG", "BMP", "GIF"):
            assert code(cut, header=header) == "truncated_image"


def test_a_png_with_a_wrong_checksum_is_corrupt():
    data = bytearray(encoded(scene((300, 200)), "PNG"))
    data[data.index(b"IDAT") + 100] ^= 0xFF
    assert code(bytes(data)) == "corrupt_image"


def test_too_many_pixels_are_refused_before_decoding():
    data = encoded(scene((100, 80)), "PNG")
    assert code(data, 7999) == "too_many_pixels"
    assert luma(data, 8000).size == (100, 80)
    bomb = png(100_000, 100_000, chunk(b"IDAT", b""))
    start = time.monotonic()
    assert code(bomb) == "too_many_pixels"
    assert time.monotonic() - start < 0.5


def test_a_header_that_lies_does_not_open_the_door():
    data = encoded(scene((100, 80)), "PNG")
    small = ImageHeader("PNG", 10, 10, "RGB")
    assert code(data, 7999, small) == "too_many_pixels"


def scans(jpeg: bytes, count: int) -> bytes:
    """A JPEG with `count` more scans, each of nothing."""
    return jpeg[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * count + jpeg[-2:]


def test_more_scans_than_any_encoder_writes_are_refused():
    jpeg = encoded(scene((64, 64)), "JPEG", progressive=True)
    start = time.monotonic()
    assert code(scans(jpeg, MAX_SCANS)) == "too_many_scans"
    assert code(scans(jpeg, 100_000)) == "too_many_scans"
    assert time.monotonic() - start < 1
    with pytest.raises(ImageError, match="too_many_scans"):
        thumbnail(scans(jpeg, MAX_SCANS), 64)


def test_bytes_that_look_like_scans_and_are_none_do_no_harm():
    """A motion photo carries its film behind the image; metadata carries anything."""
    jpeg = encoded(scene((64, 64)), "JPEG", progressive=True)
    expected = luma(jpeg).tobytes()
    film = random.Random(1).randbytes(1000) + b"\xff\xda\x00\x08" * 1000
    assert luma(jpeg + film).tobytes() == expected
    assert luma(with_segment(jpeg, 0xE5, b"\xff\xda" * 1000)).tobytes() == expected
    assert len(thumbnail(jpeg + film, 32)) > 0


def test_stray_markers_do_not_hide_a_bomb():
    jpeg = encoded(scene((64, 64)), "JPEG", progressive=True)
    for stray in (
        b"\xff\xd0",
        b"\xff\xff\xff",
        b"\xff\x01",
        segment(0xFE, b"\xff\xd9"),
        b"\xff\x00",
    ):
        hidden = scans(jpeg, 1)[:-2] + stray + scans(jpeg, MAX_SCANS)[len(jpeg) - 2 :]
        assert code(hidden) == "too_many_scans", stray


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "RGB",
        "RGBA",
        "I;16",
        "CMYK",
        "F",
        "I",
        "LAB",
        "HSV",
        "YCbCr",
        "RGBX",
        "RGBa",
        "PA",
    ],
)
def test_luma_of_every_mode_of_pillow(mode):
    given = {
        "RGBa": lambda: scene((9, 8), "RGBA").convert("RGBa"),
        "PA": lambda: scene((9, 8), "P").convert("PA"),
        "LA": lambda: scene((9, 8), "LA"),
    }.get(mode, lambda: scene((9, 8), mode))()
    out = to_luma(given)
    assert (out.mode, out.size) == ("L", (9, 8))


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_thumbnail_is_a_small_upright_jpeg_without_metadata(kind, orientation):
    data = encoded(scene((400, 200)), kind, exif=exif(orientation, gps=True))
    small = thumbnail(data, 96)
    with Image.open(io.BytesIO(small)) as image:
        assert image.format == "JPEG"
        assert image.size == ((48, 96) if orientation == 6 else (96, 48))
        assert not image.getexif()
        assert apart(np.asarray(image.convert("L")), np.asarray(luma(data).resize(image.size))) < 6
    assert b"SECRET-PLACE" in data
    assert b"SECRET-PLACE" not in small


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_a_thumbnail_of_every_mode(kind, mode):
    data = encoded(scene((64, 48), mode), kind)
    with Image.open(io.BytesIO(thumbnail(data, 32))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 24))
        grey = np.asarray(luma(data).resize((32, 24)))
        assert apart(np.asarray(image.convert("L")), grey) < 8


def test_a_thumbnail_never_grows_an_image():
    with Image.open(io.BytesIO(thumbnail(encoded(scene((20, 10)), "PNG"), 96))) as image:
        assert image.size == (20, 10)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty_file"),
        (b"<html>", "unsupported_format"),
        (png(100_000, 100_000), "too_many_pixels"),
        (encoded(scene((300, 200)), "JPEG")[:3000], "truncated_image"),
        (b"\xff\xd8\xff\xe0" + struct.pack(">H", 2), "corrupt_image"),
    ],
)
def test_a_thumbnail_of_a_broken_file_has_a_code(data, expected):
    with pytest.raises(ImageError) as caught:
        thumbnail(data, 96)
    assert caught.value.code == expected
