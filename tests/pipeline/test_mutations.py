"""A mutation campaign: thousands of broken images and tars, no crash, no hang, nothing lost."""

import contextlib
import io
import json
import random
import signal
import struct
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.core.errors import ERROR_CODES, UsageError
from curation.core.operator import IMAGE
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.sources import SourceOptions, open_source
from curation.io.store import Store
from curation.io.strip_metadata import strip_metadata
from curation.operators.image.pixels import ImagePixels
from curation.operators.image.probe import ImageProbe
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from curation.pipeline.measure_shard import careful
from curation.pipeline.run import decide_and_save
from schemas import SAMPLE
from tests.pipeline.corpora import ledger, plain_recipe

IMAGES = 8_000
TARS = 3_000
INGESTED = 250
"""Of the tars, those that go through a whole run."""

IMAGE_DEADLINE_S = 10.0
"""A good one takes a millisecond."""

TARS_DEADLINE_S = 200.0
"""For a whole run over tars: some twenty seconds on one core."""

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Ends what hangs with an error that nothing on the way takes for a broken record."""

    def late(*_: object) -> None:
        raise KeyboardInterrupt(f"{what} took over {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def picture(mode: str, size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize(size)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def seeds() -> list[bytes]:
    """A file of each format, mode and kind of compression, some with EXIF or several frames."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, str, dict[str, object]]] = [
        *(("JPEG", mode, {"exif": exif}) for mode in ("L", "RGB", "CMYK")),
        ("JPEG", "RGB", {"progressive": True, "comment": b"x" * 40}),
        *(("PNG", mode, {"exif": exif}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")),
        *(("WEBP", mode, {"exif": exif, "lossless": mode == "RGBA"}) for mode in ("RGB", "RGBA")),
        *(("GIF", mode, {}) for mode in ("L", "P")),
        *(("BMP", mode, {}) for mode in ("1", "P", "RGB")),
        *(("TIFF", "RGB", {"compression": c}) for c in ("raw", "tiff_lzw", "jpeg", "packbits")),
        *(("TIFF", mode, {"exif": exif}) for mode in ("1", "I;16", "CMYK", "F")),
        ("AVIF", "RGB", {"exif": exif}),
        *((kind, "RGB", {"save_all": True, "append_images": [picture("RGB", seed=1)]})
          for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO")),
    ]  # fmt: skip
    made = []
    for kind, mode, options in kinds:
        sink = io.BytesIO()
        picture(mode).save(sink, kind, **options)
        made.append(sink.getvalue())
    return made


EXTREMES = [
    *(b"\x00", b"\xff", b"\xff\xff", b"\x80\x00", bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"),
    *(struct.pack(order, 65_536) for order in ("<I", ">I")),
]


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to four flips, cuts, insertions, extremes, repeats or splices, mostly near the start."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not changed:
            break
        near = min(len(changed), 700) if rng.random() < 0.7 else len(changed)
        at = rng.randrange(near)
        match rng.randrange(7):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                del changed[rng.randrange(len(changed)) :]
            case 3:
                changed[at:at] = rng.randbytes(rng.choice((1, 2, 4, 40)))
            case 4:
                extreme = rng.choice(EXTREMES)
                changed[at : at + len(extreme)] = extreme
            case 5:
                stop = at + rng.randrange(1, 200)
                changed[at:stop] = changed[at:stop] * rng.randrange(4)
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                changed[at:] = other[start : start + rng.randrange(2000)]
    return bytes(changed)


def test_thousands_of_broken_images_cost_only_themselves():
    rng = random.Random(20)
    good = seeds()
    operators = (ImageProbe(), ImagePixels(max_pixels=20_000_000))
    schema = pa.schema([*SAMPLE, IMAGE])
    said: list[str] = []
    codes: Counter[str] = Counter()
    for start in range(0, IMAGES, 50):
        images = [mutated(rng, good[(start + n) % len(good)], good) for n in range(50)]
        rows = [
            {"shard": 0, "row": start + n, "uid": "0" * 32, "image": image}
            for n, image in enumerate(images)
        ]
        for row in rows:
            with deadline(IMAGE_DEADLINE_S, f"image {row['row']}"):
                strip_metadata(row["image"])
                batch = pa.RecordBatch.from_pylist([row], schema)
                for operator in operators:
                    out = careful(operator, batch, (), said)
                    assert out.num_rows == 1
                    error = out["error"][0].as_py()
                    assert error is None or error in ERROR_CODES
                    codes[error or "good"] += 1
    assert said == []  # `crashed`: an operator raised what it should have told
    assert sum(codes.values()) == len(operators) * IMAGES
    assert codes["good"] > IMAGES // 4
    assert min(codes["corrupt_image"], codes["truncated_image"], codes["unsupported_format"]) > 50


def archive(rng: random.Random, images: list[bytes]) -> bytes:
    """A tar of a few samples with captions and JSON, in any format."""
    sink = io.BytesIO()
    kind = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=sink, mode="w", format=kind) as tar:
        for n in range(rng.randrange(1, 5)):
            key = f"{n:05d}" + "-long" * (25 if kind != tarfile.USTAR_FORMAT and n == 1 else 0)
            members = {
                "jpg": rng.choice(images),
                "txt": b"a caption of six plain words",
                "json": json.dumps({"url": f"https://x.example/{n}", "id": n}).encode(),
            }
            for ext, data in members.items():
                info = tarfile.TarInfo(f"{key}.{ext}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def resealed(data: bytes) -> bytes:
    """The archive with every header's checksum made to hold again, so that faults get further."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\x00 " % sum(blocks[at : at + 512])
    return bytes(blocks)


def broken_tars(seed: int, count: int) -> Iterator[bytes]:
    """Mutated archives, half of them with checksums that hold."""
    rng = random.Random(seed)
    images = [data for data in seeds() if len(data) < 8000]
    archives = [archive(rng, images) for _ in range(24)]
    for n in range(count):
        data = mutated(rng, archives[n % len(archives)], archives)
        yield resealed(data) if rng.random() < 0.5 else data


def test_thousands_of_broken_tars_are_planned_and_read_to_the_last_sample(tmp_path: Path):
    path = tmp_path / "t.tar"
    errors: Counter[str] = Counter()
    for n, data in enumerate(broken_tars(21, TARS)):
        path.write_bytes(data)
        options = SourceOptions(shard_samples=2)
        with deadline(IMAGE_DEADLINE_S, f"tar {n}"):
            _, source = open_source(str(path), options, Store(str(tmp_path / "scratch")))
            for piece in source.plan():
                records = list(source.read(piece, [True] * piece.samples))
                assert len(records) == piece.samples
                errors.update(record.error or "good" for record in records)
    assert set(errors) <= {*ERROR_CODES, "good"}
    assert errors["good"] > TARS // 2
    assert min(errors[code] for code in ("corrupt_record", "truncated_record", "no_media")) > 10


def test_broken_tars_leave_a_ledger_that_balances(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for n, data in enumerate(broken_tars(22, INGESTED)):
        (source / f"{n:05d}.tar").write_bytes(data)
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=50))
    with deadline(TARS_DEADLINE_S, "the tars"), LocalEngine(workers=0, memory="500MB") as engine:
        corpus = ingest(request, str(tmp_path / "corpus"), engine, SILENT)
        layers = measure(corpus, plain_recipe().operators, engine, SILENT)
        corpus = decide_and_save(corpus, plain_recipe(), layers, engine, SILENT)
    verdicts = ledger(corpus).to_pylist()
    (made,) = corpus.manifest.inputs
    totals = corpus.manifest.totals
    assert len(verdicts) == made.samples == made.samples_in_source == totals.ingested > INGESTED
    assert Counter(row["status"] for row in verdicts) == Counter(
        kept=totals.kept, dropped=totals.dropped, quarantined=totals.quarantined
    )
    errors = Counter(row["error"] for row in verdicts if row["status"] == "quarantined")
    assert set(errors) <= {*ERROR_CODES} - {"crashed", "timeout", "out_of_memory"}
    assert len(errors) > 5
    assert min(totals.dropped, totals.quarantined) > 50


def test_a_tar_of_nothing_but_damage_is_one_line(tmp_path: Path):
    rng = random.Random(23)
    for n in range(60):
        (tmp_path / "t.tar").write_bytes(rng.randbytes(rng.randrange(2000)))
        request = IngestRequest(source=str(tmp_path / "t.tar"))
        with (
            LocalEngine(workers=0) as engine,
            deadline(IMAGE_DEADLINE_S, f"tar {n}"),
            contextlib.suppress(UsageError),
        ):
            corpus = ingest(request, str(tmp_path / f"c{n}"), engine, SILENT)
            assert corpus.manifest.totals.ingested == 1
