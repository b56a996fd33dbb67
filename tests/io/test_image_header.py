"""Headers: what Pillow says of every real and made image, and nothing worse on broken ones."""

import io
import struct
import time
import zlib
from collections.abc import Callable, Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curation.core.errors import ERROR_CODES
from curation.io.image_header import (
    EXTENSIONS,
    PILLOW_FORMATS,
    ImageError,
    ImageHeader,
    exif_orientation,
    read_header,
    sniff,
)
from tests.io.images import (
    chunk,
    encoded,
    exif,
    png,
    real_images,
    riff,
    scene,
    segment,
    webp_chunk,
    with_segment,
)
from tests.memory import grown


def pillows(data: bytes) -> ImageHeader:
    """The header as Pillow says it, its size after `exif_transpose`."""
    with Image.open(io.BytesIO(data)) as image:
        kind = "JPEG" if image.format == "MPO" else image.format
        frames = 1 if kind == "JPEG" else getattr(image, "n_frames", 1)
        mode, orientation = image.mode, image.getexif().get(0x0112, 1)
        if kind == "TIFF":
            width, height = image.size  # turned when it is opened
        else:
            width, height = ImageOps.exif_transpose(image).size
        return ImageHeader(kind, width, height, mode, frames, orientation)


def test_every_real_image_is_read_as_pillow_reads_it():
    files = real_images()
    different = {}
    for path in files:
        data = path.read_bytes()
        ours, theirs = read_header(data), pillows(data)
        if ours != theirs:
            different[path.name] = (ours, theirs)
    assert different == {}
    assert len(files) > 600


MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "GIF": ("L", "P", "RGB"),
    "WEBP": ("L", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr", "LAB"),
    "AVIF": ("L", "RGB", "RGBA"),
}
SINGLE = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


@pytest.mark.parametrize("size", [(1, 1), (37, 21), (300, 513)])
@pytest.mark.parametrize(("kind", "mode"), SINGLE)
def test_every_format_and_mode(kind, mode, size):
    data = encoded(scene(size, mode), kind)
    assert read_header(data) == pillows(data)
    assert (read_header(data).width, read_header(data).height) == size
    assert sniff(data) == kind


OPTIONS = [
    ("JPEG", {"progressive": True}),
    ("JPEG", {"optimize": True, "quality": 99, "subsampling": 0}),
    ("JPEG", {"comment": b"x" * 60_000}),
    ("PNG", {"optimize": True}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"lossless": True, "exact": True}),
    ("GIF", {"interlace": 0}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"big_tiff": True}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_variants_of_a_format(kind, options):
    for mode in ("RGB", "RGBA") if kind in ("WEBP", "PNG") else ("RGB",):
        data = encoded(scene((50, 40), mode), kind, **options)
        assert read_header(data) == pillows(data)


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_frames_are_counted(kind, frames):
    images = [scene((40 + n % 2 * (kind == "TIFF"), 30), seed=n) for n in range(frames)]
    data = encoded(images[0], kind, save_all=True, append_images=images[1:])
    assert read_header(data) == pillows(data)
    assert read_header(data).frames == frames


def test_a_still_image_before_an_animation_is_a_frame():
    frames = [scene((40, 30), seed=n) for n in range(3)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert read_header(data) == pillows(data)


def test_a_jpeg_of_several_pictures_has_one_frame():
    pictures = [scene((40, 30), seed=n) for n in range(2)]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    assert read_header(data) == ImageHeader("JPEG", 40, 30, "RGB")


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9, 65535])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_size_is_after_orientation(kind, orientation):
    data = encoded(scene((60, 30)), kind, exif=exif(orientation))
    header = read_header(data)
    turned = orientation if 1 <= orientation <= 8 else 1
    if kind == "AVIF" and turned != orientation:
        turned = header.orientation  # its own boxes cannot say what EXIF must not
    assert header.orientation == turned
    assert (header.width, header.height) == ((30, 60) if turned >= 5 else (60, 30))
    if turned == orientation:
        assert header == pillows(data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("form", "kind"), [("HH", 3), ("I", 4)])
def test_orientation_in_either_byte_order_and_width(order, form, kind):
    mark = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    value = (6, 0) if form == "HH" else (6,)
    tiff = mark + struct.pack(f"{order}IHHHI{form}I", 8, 1, 0x0112, kind, 1, *value, 0)
    assert exif_orientation(tiff) == 6
    assert exif_orientation(b"Exif\x00\x00" + tiff) == 6
    assert exif_orientation(b"Exif\x00\x00" * 2 + tiff) == 6


@given(st.binary(max_size=60), st.booleans())
def test_a_broken_exif_block_says_upright(data, order):
    mark = b"II*\x00" if order else b"MM\x00*"
    assert 1 <= exif_orientation(mark + data) <= 8
    assert exif_orientation(data) == 1 or data[:2] in (b"II", b"MM", b"Ex")


def test_only_exif_turns_an_image():
    """XMP repeats the tag; browsers, and so annotators, look at EXIF alone."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    jpeg = encoded(scene((60, 30)), "JPEG", xmp=xmp)
    assert b"tiff:Orientation" in jpeg
    assert read_header(jpeg) == ImageHeader("JPEG", 60, 30, "RGB")


def test_the_first_exif_block_counts():
    jpeg = encoded(scene((60, 30)), "JPEG", exif=exif(6))
    second = b"Exif\x00\x00" + exif(3).tobytes()[6:]
    data = jpeg.replace(b"\xff\xdb", segment(0xE1, second) + b"\xff\xdb", 1)
    assert read_header(data).orientation == 6


def test_a_jpeg_with_fill_bytes_and_stray_markers():
    jpeg = encoded(scene((60, 30)), "JPEG")
    filled = jpeg[:2] + b"\xff\xff\xff" + jpeg[2:4].lstrip(b"\xff") + jpeg[4:]
    assert read_header(filled) == read_header(jpeg)
    assert read_header(with_segment(jpeg, 0xE5, b"\xff\xc0" * 50)) == read_header(jpeg)


def test_a_thumbnail_inside_exif_is_not_the_image():
    small = encoded(scene((16, 12)), "JPEG")
    jpeg = encoded(scene((60, 30)), "JPEG")
    block = b"Exif\x00\x00MM\x00*" + struct.pack(">IHI", 8, 0, 0) + small
    assert read_header(with_segment(jpeg, 0xE1, block)) == ImageHeader("JPEG", 60, 30, "RGB")


def test_a_gif_is_as_large_as_its_first_frame():
    data = bytearray(encoded(scene((40, 30), "P"), "GIF"))
    data[6:10] = struct.pack("<HH", 10, 10)
    assert read_header(bytes(data)) == pillows(bytes(data))
    assert read_header(bytes(data)).width == 40


def bomb() -> bytes:
    return png(100_000, 100_000, chunk(b"IDAT", zlib.compress(bytes(100_000_000))))


def large_file() -> bytes:
    data = encoded(scene((33, 21)), "WEBP", save_all=True, append_images=[scene((33, 21), seed=1)])
    return data + webp_chunk(b"JUNK", bytes(30 << 20))


def read(make: Callable[[], bytes]) -> Generator[None, None, None]:
    data = make()
    read_header(encoded(scene((9, 9)), "PNG"))  # what it imports is not counted
    yield
    read_header(data)


def test_a_bomb_is_read_from_its_header_alone():
    assert read_header(bomb()) == ImageHeader("PNG", 100_000, 100_000, "RGB")
    assert read_header(bomb()).pixels == 10**10
    assert grown(read, bomb) < 4 << 20


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\x00", "unsupported_format"),
        (b"<!DOCTYPE html><html></html>", "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "unsupported_format"),
        (b"\xff\xd8\xff", "corrupt_image"),
        (b"\xff\xd8\xff\xe0\xff\xff", "corrupt_image"),
        (b"\x89PNG\r\n\x1a\n", "corrupt_image"),
        (b"GIF89a", "corrupt_image"),
        (b"RIFF\x00\x00\x00\x00WEBP", "corrupt_image"),
        (riff(webp_chunk(b"VP8 ", b"\x00" * 30)), "corrupt_image"),
        (riff(webp_chunk(b"VP8L", b"\x00" * 30)), "corrupt_image"),
        (b"BM", "corrupt_image"),
        (b"II*\x00", "corrupt_image"),
        (b"II*\x00\xff\xff\xff\xff", "corrupt_image"),
        (b"\x00\x00\x00\x20ftypavif", "corrupt_image"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(30), "unsupported_format"),
        (png(0, 10), "corrupt_image"),
        (png(10, 0), "corrupt_image"),
        (png(10, 10, depth=3), "corrupt_image"),
        (png(10, 10, colour=5), "corrupt_image"),
        (png((1 << 31) - 1, 1), "too_many_pixels"),
    ],
)
def test_what_is_no_header_has_a_code(data, code):
    with pytest.raises(ImageError) as caught:
        read_header(data)
    assert caught.value.code == code
    assert code in ERROR_CODES


HUGE = [
    png(10, 10, chunk(b"acTL", struct.pack(">II", 0xFFFFFFFF, 0))),
    png(10, 10, b"\xff\xff\xff\xffIDATxxxx"),
    encoded(scene((9, 9)), "JPEG")[:30] + b"\xff\xe1\xff\xffExif\x00\x00II*\x00\xff\xff\xff\xff",
    riff(webp_chunk(b"VP8X", b"\x0c" + bytes(9)), b"EXIF\xff\xff\xff\xff"),
    b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"!\xff" + b"\xff" * 5000,
    b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"\x00" * 2_000_000,
    b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"!!" * 2_000_000,
    b"\xff\xd8" + b"\xff" * 2_000_000,
    b"\xff\xd8" + b"\xff\xe0\x00\x02" * 500_000,
    b"\xff\xd8" + b"\xff\xe0\x00\x00" * 500_000,
    b"\xff\xd8\xff" + bytes(30 << 20),
    encoded(scene((9, 9)), "JPEG")[:2] + b"\xff" * 30_000_000 + encoded(scene((9, 9)), "JPEG")[2:],
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))
    + chunk(b"eXIf", b"MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(100)) * 10_000,
    riff(webp_chunk(b"VP8X", bytes(10)), *[webp_chunk(b"ANMF", b"")] * 200_000),
    b"MM\x00*" + struct.pack(">I", 8) + (struct.pack(">HI", 0, 8)) * 1000,
    b"MM\x00+" + struct.pack(">HHQ", 8, 0, 16) + b"\xff" * 1000,
    b"MM\x00*" + b"".join(struct.pack(">I", 8 + 6 * n) + bytes(2) for n in range(200_000)),
]  # fmt: skip


@pytest.mark.parametrize("data", HUGE, ids=range(len(HUGE)))
def test_hostile_lengths_cost_no_time(data):
    start = time.monotonic()
    try:
        header = read_header(data)
    except ImageError as fault:
        assert fault.code in ("corrupt_image", "too_many_pixels")
    else:
        assert header.width > 0
    assert time.monotonic() - start < 3


def test_a_walk_holds_no_copy_of_a_large_file():
    assert read_header(large_file()).frames == 2
    assert grown(read, large_file) < 8 << 20


SEEDS = [encoded(scene((33, 21), mode), kind) for kind, mode in SINGLE] + [
    encoded(scene((33, 21)), "JPEG", exif=exif(6, gps=True), progressive=True),
    encoded(scene((33, 21)), "PNG", exif=exif(6)),
    encoded(scene((33, 21)), "WEBP", exif=exif(6)),
    *[encoded(scene((9, 9)), k, save_all=True, append_images=[scene((9, 9), seed=1)])
      for k in ("GIF", "WEBP", "PNG", "TIFF")],
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_headers_raise_only_codes(data, draw):
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, min(len(data) - 1, 400)))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(1, len(damaged)))
    for case in (bytes(damaged), data[:cut]):
        try:
            header = read_header(case)
        except ImageError as fault:
            assert fault.code in ERROR_CODES
        else:
            assert min(header.width, header.height, header.frames) >= 1
            assert 1 <= header.orientation <= 8
            assert max(header.width, header.height, header.frames) < 2**31


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00"]),
)
def test_bytes_of_any_kind_raise_only_codes(data, start):
    try:
        read_header(start + data)
    except ImageError as fault:
        assert fault.code in ERROR_CODES


def test_every_format_has_an_extension_and_only_those_reach_pillow():
    assert set(EXTENSIONS) == set(PILLOW_FORMATS) - {"MPO"} == set(MODES)
