"""image_probe: what it says of every kind of file, and of files that are none."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from curation.operators.image.probe import ImageProbe
from tests.operators.rows import encoded, images, real_images

PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8), "RGB"
)
FRAMES = [PICTURE.rotate(angle) for angle in (0, 90, 180)]
MEASURES = ImageProbe().provides.names


def oriented(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PICTURE, kind, exif=exif)


def animated(kind: str) -> bytes:
    return encoded(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:])


def row(**said):
    """A probe's whole row for a 60x40 image, changed by `said`."""
    plain = {
        "format": "PNG",
        "image_width": 60,
        "image_height": 40,
        "min_side": 40,
        "aspect_ratio": 1.5,
        "area": 2400,
        "mode": "RGB",
        "frames": 1,
        "orientation": 1,
        "error": None,
    }
    return {**plain, **said}


def measured(out):
    rows = out.select([*MEASURES, "error"]).to_pylist()
    return [{name: value for name, value in r.items() if name != "image_bytes"} for r in rows]


KINDS = {
    "jpeg": (encoded(PICTURE, "JPEG"), row(format="JPEG")),
    "grey jpeg": (encoded(PICTURE.convert("L"), "JPEG"), row(format="JPEG", mode="L")),
    "cmyk jpeg": (encoded(PICTURE.convert("CMYK"), "JPEG"), row(format="JPEG", mode="CMYK")),
    "progressive jpeg": (encoded(PICTURE, "JPEG", progressive=True), row(format="JPEG")),
    "png": (encoded(PICTURE), row()),
    "png with alpha": (encoded(PICTURE.convert("RGBA")), row(mode="RGBA")),
    "grey png with alpha": (encoded(PICTURE.convert("LA")), row(mode="LA")),
    "bilevel png": (encoded(PICTURE.convert("1")), row(mode="1")),
    "palette png": (encoded(PICTURE.convert("P")), row(mode="P")),
    "16-bit png": (encoded(PICTURE.convert("I;16")), row(mode="I;16")),
    "gif": (encoded(PICTURE.convert("P"), "GIF"), row(format="GIF", mode="P")),
    "webp": (encoded(PICTURE, "WEBP"), row(format="WEBP")),
    "lossless webp": (encoded(PICTURE, "WEBP", lossless=True), row(format="WEBP")),
    "bmp": (encoded(PICTURE, "BMP"), row(format="BMP")),
    "tiff": (encoded(PICTURE, "TIFF"), row(format="TIFF")),
    "animated gif": (animated("GIF"), row(format="GIF", mode="P", frames=3)),
    "animated webp": (animated("WEBP"), row(format="WEBP", frames=3)),
    "animated png": (animated("PNG"), row(frames=3)),
    "tiff of pages": (animated("TIFF"), row(format="TIFF", frames=3)),
    "tall png": (
        encoded(PICTURE.resize((8, 300))),
        row(image_width=8, image_height=300, min_side=8, aspect_ratio=37.5, area=2400),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_says_what_a_file_of_each_kind_is(run, kind):
    file, expected = KINDS[kind]
    out = run(ImageProbe(), images(file))
    assert measured(out) == [expected]
    assert out["image_bytes"].to_pylist() == [len(file)]


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
def test_says_what_an_avif_file_is(run):
    assert measured(run(ImageProbe(), images(encoded(PICTURE, "AVIF")))) == [row(format="AVIF")]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sides_are_those_that_a_viewer_sees(run, kind, orientation):
    file = oriented(orientation, kind)
    with Image.open(io.BytesIO(file)) as image:
        seen = ImageOps.exif_transpose(image).size
    (said,) = measured(run(ImageProbe(), images(file)))
    width, height = (60, 40) if orientation < 5 else (40, 60)
    assert (said["image_width"], said["image_height"]) == (width, height) == seen
    assert said["orientation"] == orientation
    assert said["aspect_ratio"] == 1.5


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_turns_nothing(run, orientation):
    assert measured(run(ImageProbe(), images(oriented(orientation, "JPEG")))) == [
        row(format="JPEG")
    ]


BROKEN = {
    "nothing": (b"", "empty_file"),
    "html": (b"<!doctype html><title>404</title>", "unsupported_format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
    "start of a jpeg": (b"\xff\xd8\xff", "corrupt_image"),
    "jpeg cut before its size": (encoded(PICTURE, "JPEG")[:60], "corrupt_image"),
    "png cut in its size": (encoded(PICTURE)[:20], "corrupt_image"),
    "start of a gif": (b"GIF89a", "corrupt_image"),
    "start of a webp": (b"RIFF\0\0\0\0WEBPVP8 ", "corrupt_image"),
    "start of a bmp": (b"BM", "corrupt_image"),
    "start of a tiff": (b"II*\0", "corrupt_image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_read_has_a_code_and_no_measures(run, kind):
    file, code = BROKEN[kind]
    out = run(ImageProbe(), images(file))
    assert out.select([*MEASURES, "error"]).to_pylist() == [
        {**dict.fromkeys(MEASURES), "error": code}
    ]


def test_a_missing_image_is_null_without_a_fault_and_costs_no_other(run):
    good = encoded(PICTURE)
    out = run(ImageProbe(), images(None, good, b"nonsense", good, None))
    assert out["error"].to_pylist() == [None, None, "unsupported_format", None, None]
    nothing = dict.fromkeys(row())
    assert measured(out) == [nothing, row(), {**nothing, "error": "unsupported_format"}, row(),
                             nothing]  # fmt: skip


def test_reads_the_header_and_not_the_pixels(run):
    file = encoded(PICTURE.resize((600, 400)), "JPEG")
    (whole,), (cut,) = (measured(run(ImageProbe(), images(f))) for f in (file, file[:700]))
    assert cut == whole == row(format="JPEG", image_width=600, image_height=400, min_side=400,
                               area=240_000)  # fmt: skip


@pytest.mark.parametrize("folder", ["pairs/images", "boxes/images", "scene_text"])
def test_agrees_with_pillow_on_real_files(run, folder):
    files = list(real_images(folder).values())
    expected = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size[::-1] if turned else image.size
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            kind = "JPEG" if image.format == "MPO" else image.format
            expected.append((kind, width, height, image.mode, frames, len(file)))
    out = run(ImageProbe(), images(*files))
    names = ["format", "image_width", "image_height", "mode", "frames", "image_bytes"]
    assert list(zip(*(out[name].to_pylist() for name in names), strict=True)) == expected
    sides = list(zip(out["image_width"].to_pylist(), out["image_height"].to_pylist(), strict=True))
    assert out["min_side"].to_pylist() == [min(side) for side in sides]
    assert out["area"].to_pylist() == [width * height for width, height in sides]
    ratios = np.array([max(side) / min(side) for side in sides], np.float32)
    assert out["aspect_ratio"].to_pylist() == ratios.tolist()


def test_batches_do_not_change_what_is_said(run):
    files = [encoded(PICTURE, "JPEG"), None, b"", oriented(6, "PNG"), encoded(FRAMES[1], "WEBP")]
    one, two, all_at_once = (run(ImageProbe(), images(*files), batch_rows=n) for n in (1, 2, 5))
    assert one.equals(all_at_once)
    assert two.equals(all_at_once)
