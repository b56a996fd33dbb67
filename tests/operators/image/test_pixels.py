"""image_pixels: each measure against a plain way to compute it; undecodable files."""

import io
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageFilter
from scipy import ndimage

from curation.io.image_decode import reduced_luma
from curation.io.image_header import read_header
from curation.operators.image.pixels import ImagePixels, border_share, laplacian_variance, pixels
from tests.operators.image.reference import as_bits, full_decode_bits
from tests.operators.rows import encoded, grey, images, real_images

RNG = np.random.default_rng(7)
SCENE = np.clip(
    np.asarray(
        Image.fromarray(RNG.integers(0, 256, (8, 9), dtype=np.uint8)).resize(
            (300, 260), Image.Resampling.BICUBIC
        )
    ).astype(int)
    + RNG.integers(-6, 7, (260, 300)),
    0,
    255,
).astype(np.uint8)
MEASURES = ImagePixels().provides.names


def phash_bits(out):
    return as_bits(out["phash"].to_numpy())


def test_phash_is_within_two_bits_of_a_full_decode(run):
    """On at least 99% of the real photographs, diagrams and charts."""
    files = real_images()
    out = run(ImagePixels(), images(*files.values()))
    assert out["phash"].null_count == 0
    reference = np.array([full_decode_bits(data) for data in files.values()])
    apart = (phash_bits(out) != reference).sum(axis=1)
    assert (apart <= 2).mean() >= 0.99
    assert (apart == 0).mean() >= 0.85


def test_copies_stay_near_and_other_pictures_do_not(run):
    files = list(real_images().values())[:120:3]
    copies = []
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            colour = image.convert("RGB")
            half = colour.resize((colour.width * 2 // 3, colour.height * 2 // 3))
            copies += [encoded(colour, "JPEG", quality=60), encoded(half, "WEBP", quality=80)]
    out = run(ImagePixels(), images(*files, *copies))
    bits = phash_bits(out)
    originals, copied = bits[: len(files)], bits[len(files) :].reshape(len(files), 2, 64)
    apart = (originals[:, None] != copied).sum(axis=2)
    assert (apart <= 3).mean() >= 0.95
    others = (originals[:, None] != originals[None]).sum(axis=2)[~np.eye(len(files), dtype=bool)]
    assert (others > 3).mean() >= 0.99


def test_statistics_are_those_of_the_pixels(run):
    """A lossless grey file under twice 256 pixels is measured as it is."""
    (row,) = run(ImagePixels(), images(grey(SCENE))).to_pylist()
    shares = np.bincount(SCENE.ravel(), minlength=256) / SCENE.size
    shares = shares[shares > 0]
    assert row["luma_mean"] == pytest.approx(SCENE.mean(), rel=1e-6)
    assert row["luma_deviation"] == pytest.approx(SCENE.std(), rel=1e-6)
    assert row["luma_entropy"] == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-6)
    assert row["luma_entropy"] == pytest.approx(Image.fromarray(SCENE).entropy(), rel=1e-6)
    assert row["blur"] == pytest.approx(_scipys_blur(SCENE), rel=1e-6)
    small = Image.fromarray(SCENE).resize((32, 32), Image.Resampling.LANCZOS)
    tiny = np.asarray(small.resize((9, 8), Image.Resampling.LANCZOS)).astype(int)
    unsure = np.abs(tiny[:, 1:] - tiny[:, :-1]).ravel() <= 2  # thumbnails agree within a level
    dhash = as_bits(np.array([row["dhash"]]))[0]
    assert (dhash == (tiny[:, 1:] > tiny[:, :-1]).ravel())[~unsure].all()
    assert unsure.mean() < 0.2


@pytest.mark.parametrize("folder", ["pairs/images"])
def test_statistics_agree_with_pillow_on_real_files(run, folder):
    files = list(real_images(folder).values())[::8]
    out = run(ImagePixels(), images(*files)).to_pylist()
    for data, row in zip(files, out, strict=True):
        luma = reduced_luma(data, read_header(data), 10**9)
        levels = np.asarray(luma)
        assert row["error"] is None
        assert row["luma_mean"] == pytest.approx(levels.mean(), rel=1e-5)
        assert row["luma_deviation"] == pytest.approx(levels.std(), rel=1e-5)
        assert row["luma_entropy"] == pytest.approx(luma.entropy(), abs=1e-5)
        assert row["blur"] == pytest.approx(_scipys_blur(levels), rel=1e-5)
        assert row["border_share"] == pytest.approx(_border_by_lines(levels), abs=1e-6)


def _scipys_blur(levels):
    return ndimage.laplace(levels.astype(float))[1:-1, 1:-1].var()


def _border_by_lines(levels):
    """Cuts uniform lines from each edge, one at a time, of the whole image's lines."""
    height, width = levels.shape
    uniform_rows = [int(row.max()) - int(row.min()) <= 8 for row in levels]
    uniform_columns = [int(column.max()) - int(column.min()) <= 8 for column in levels.T]
    if all(uniform_rows) or all(uniform_columns):
        return 1.0

    def inner(uniform):
        low, high = 0, len(uniform)
        while uniform[low]:
            low += 1
        while uniform[high - 1]:
            high -= 1
        return high - low

    return 1 - inner(uniform_rows) * inner(uniform_columns) / (height * width)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=12)))
def test_laplacian_variance_is_scipys(levels):
    assert laplacian_variance(levels) == pytest.approx(_scipys_blur(levels), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 2), (1, 300)])
def test_an_image_without_inner_pixels_has_no_sharpness(shape):
    assert laplacian_variance(np.eye(*shape, dtype=np.uint8) * 255) == 0


def test_laplacian_does_not_overflow():
    board = (np.indices((600, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert laplacian_variance(board) == pytest.approx(1020.0**2)


@given(
    arrays(
        np.uint8,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, 8, 9, 255]),
        fill=st.just(np.uint8(0)),
    )
)
def test_border_share_is_what_a_plain_loop_cuts_away(levels):
    assert border_share(levels) == pytest.approx(_border_by_lines(levels), abs=1e-12)


def test_a_framed_picture_has_the_frames_share(run):
    framed = np.full((400, 400), 255, np.uint8)
    framed[100:300, 150:250] = SCENE[:200, :100]
    (share,) = run(ImagePixels(), images(grey(framed)))["border_share"].to_pylist()
    assert share == pytest.approx(1 - 200 * 100 / 400**2)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_pixels_are_the_images_own(width, height, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert (pixels(Image.fromarray(levels)) == levels).all()


def test_pixels_of_an_image_in_several_memory_blocks():
    image = Image.linear_gradient("L").resize((5000, 5000))
    assert (pixels(image) == np.asarray(image)).all()


def test_blur_falls_as_an_image_is_blurred(run):
    sharp = Image.fromarray(SCENE)
    files = [grey(np.asarray(sharp.filter(ImageFilter.GaussianBlur(r)))) for r in (0, 0.5, 1, 2)]
    blur = run(ImagePixels(), images(*files))["blur"].to_pylist()
    assert blur == sorted(blur, reverse=True)
    assert blur[0] > 100 * blur[-1]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_solid_colour_is_flat_and_resembles_nothing(run, level):
    solid = np.full((300, 400), level)
    out = run(ImagePixels(), images(grey(solid), grey(solid, "JPEG")))
    for row in out.select([*MEASURES, "error"]).to_pylist():
        assert row == {
            "luma_mean": level,
            "luma_deviation": 0,
            "luma_entropy": 0,
            "blur": 0,
            "border_share": 1,
            "phash": None,
            "dhash": 0,
            "error": None,
        }


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_gradient_has_no_phash(run, kind):
    across = np.linspace(0, 255, 400)
    down = np.linspace(0, 255, 300)
    out = run(
        ImagePixels(),
        images(
            grey(np.broadcast_to(across, (300, 400)), kind),
            grey(np.broadcast_to(down[:, None], (300, 400)), kind),
            grey(SCENE, kind),
        ),
    )
    assert [phash is None for phash in out["phash"].to_pylist()] == [True, True, False]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_measured_as_a_viewer_sees_it(run, orientation):
    """Turned by EXIF, it has the hash of the picture stored upright."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = Image.fromarray(SCENE)
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    one, other = (
        encoded(upright, "PNG"),
        encoded(stored, "PNG", exif=exif),
    )
    seen = run(ImagePixels(), images(one, other)).select(MEASURES).to_pylist()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "I;16", "1"])
def test_images_of_every_mode_are_measured(run, mode):
    image = Image.fromarray(SCENE)
    made = image.convert("I;16").point(lambda level: level * 256) if mode == "I;16" else (
        image.convert("RGB").convert(mode) if mode in ("P", "CMYK") else image.convert(mode)
    )  # fmt: skip
    file = encoded(made, "TIFF" if mode == "CMYK" else "PNG")
    plain, row = run(ImagePixels(), images(grey(SCENE), file)).to_pylist()
    assert row["error"] is None
    assert row["luma_mean"] == pytest.approx(plain["luma_mean"], abs=2)
    near = bin((row["phash"] ^ plain["phash"]) & (2**64 - 1)).count("1")
    assert near <= (6 if mode == "1" else 2)


def _png_of(width, height):
    """A PNG that claims to be large and holds one row."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * (width + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def _of_many_scans():
    """A progressive JPEG whose last scan is written 300 times."""
    jpeg = grey(SCENE, "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * 300 + jpeg[-2:]


BROKEN = {
    "nothing": (b"", "empty_file"),
    "html": (b"<html>", "unsupported_format"),
    "bomb": (_png_of(100_000, 100_000), "too_many_pixels"),
    "one row above the limit": (grey(np.zeros((201, 500))), "too_many_pixels"),
    "truncated jpeg": (grey(SCENE, "JPEG", quality=95)[:9000], "truncated_image"),
    "truncated png": (grey(SCENE)[:9000], "truncated_image"),
    "many scans": (_of_many_scans(), "too_many_scans"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_decoded_has_a_code_and_no_measures(run, kind):
    file, code = BROKEN[kind]
    good = grey(SCENE)
    out = run(ImagePixels(max_pixels=100_000), images(good, file, None, good))
    assert out["error"].to_pylist() == [None, code, None, None]
    rows = out.select(MEASURES).to_pylist()
    assert rows[1] == rows[2] == dict.fromkeys(MEASURES)
    assert rows[0] == rows[3]
    assert None not in rows[0].values()


def test_batches_do_not_change_what_is_measured(run):
    files = [grey(SCENE), None, b"", grey(np.zeros((9, 9))), grey(SCENE, "JPEG"), grey(SCENE.T)]
    one, two, all_at_once = (run(ImagePixels(), images(*files), batch_rows=n) for n in (1, 4, 6))
    assert one.equals(all_at_once)
    assert two.equals(all_at_once)


@pytest.mark.parametrize(
    ("size", "measured"),
    [((511, 511), (511, 511)), ((512, 512), (256, 256)), ((300, 6000), (300, 6000)),
     ((1, 1), (1, 1)), ((768, 1000), (256, 334)), ((1100, 1030), (275, 258))],
)  # fmt: skip
def test_the_short_side_is_cut_to_256_to_511(size, measured):
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.new("L", size, 7), kind)
        width, height = reduced_luma(data, read_header(data), 10**9).size
        if kind == "PNG":
            assert (width, height) == measured
        assert min(256, *size) <= min(width, height) <= 511
        assert width / height == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize("max_pixels", [0, -1])
def test_a_limit_without_meaning_is_refused(max_pixels):
    with pytest.raises(ValueError, match="max_pixels must be at least 1"):
        ImagePixels(max_pixels=max_pixels)


def test_entropy_is_never_negative(run):
    out = run(ImagePixels(), images(*(grey(np.full((n, 7), 9)) for n in (1, 3, 5, 11))))
    assert out["luma_entropy"].to_pylist() == [0] * 4
    assert all(math.copysign(1, value) == 1 for value in out["luma_entropy"].to_pylist())
