"""Hostile and broken input: the right quarantine or one line, and every other sample processed."""

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.corpora import caption, curate, fates, picture, write_pairs

REPO = Path(__file__).resolve().parents[2]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def png_bomb() -> bytes:
    """A PNG that claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def sixteen_bit(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    fine = np.kron(rng.integers(0, 65_000, (10, 10)), np.ones((30, 30))).astype(np.uint16)
    fine += rng.integers(0, 500, fine.shape, dtype=np.uint16)
    return encoded(Image.fromarray(fine), "PNG")


def animated(kind: str, seed: int) -> bytes:
    frames = [picture(seed + n) for n in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def odd_images() -> dict[str, tuple[bytes, tuple[str, str | None]]]:
    """Bytes and what should become of them."""
    kept = ("kept", None)
    jpeg = encoded(picture(900), "JPEG")
    exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    broken_exif = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    return {
        "truncated.jpg": (encoded(picture(901), "JPEG")[:4000], ("quarantined", "truncated_image")),
        "bomb.png": (png_bomb(), ("quarantined", "too_many_pixels")),
        "cmyk.jpg": (encoded(picture(902).convert("CMYK"), "JPEG"), kept),
        "sixteen.png": (sixteen_bit(903), kept),
        "animated.gif": (animated("GIF", 904), kept),
        "animated.webp": (animated("WEBP", 908), kept),
        "vector.svg": (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            ("quarantined", "unsupported_format"),
        ),
        "nothing.jpg": (b"", ("quarantined", "empty_file")),
        "page.jpg": (b"<!DOCTYPE html><html>404</html>", ("quarantined", "unsupported_format")),
        "exif.jpg": (broken_exif, kept),
        "noise.jpg": (
            os.urandom(0) + bytes(range(256)) * 40,
            ("quarantined", "unsupported_format"),
        ),
        "header.jpg": (jpeg[:60], ("quarantined", "corrupt_image")),
        "scans.jpg": (
            jpeg[:-2] + b"\xff\xda\x00\x02" * 5000 + jpeg[-2:],
            ("quarantined", "too_many_scans"),
        ),
        "transparent.png": (encoded(picture(912).convert("RGBA"), "PNG"), kept),
        "palette.png": (encoded(picture(913).convert("P"), "PNG"), kept),
        "photo.avif": (encoded(picture(914), "AVIF"), kept),
        "scan.tiff": (encoded(picture(915), "TIFF"), kept),
        "old.bmp": (encoded(picture(916), "BMP"), kept),
    }


def test_odd_images_cost_only_themselves(tmp_path):
    source = write_pairs(tmp_path / "source", 30)
    odd = odd_images()
    with (source / "pairs.jsonl").open("a") as file:
        for number, (name, (data, _)) in enumerate(odd.items()):
            (source / "images" / name).write_bytes(data)
            row = {"image": f"images/{name}", "text": caption(2000 + number), "id": name}
            file.write(json.dumps(row) + "\n")
    result = curate(source, tmp_path / "out")
    found = fates(tmp_path / "out")
    assert {name: found[name] for name in odd} == {name: fate for name, (_, fate) in odd.items()}
    assert all(found[n] == ("kept", None) for n in range(30))
    totals = result.corpus.totals
    assert totals.kept + totals.dropped + totals.quarantined == totals.ingested == 30 + len(odd)


def test_odd_captions_and_paths_cost_only_themselves(tmp_path):
    source = write_pairs(tmp_path / "source", 5)
    (tmp_path / "secret.jpg").write_bytes((source / "images" / "1.jpg").read_bytes())
    (source / "images" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for n in range(50, 60):
        picture(n).save(source / "images" / f"{n}.jpg")
    lines = [
        b'{"image": "images/50.jpg", "text": "caf\xe9 by the long river", "id": "latin1"}',
        b'{"image": "images/51.jpg", "text": "lone \\ud800 surrogate in here", "id": "surrogate"}',
        b'{"image": "images/52.jpg", "text": "' + b"word " * 200_000 + b'", "id": "megabyte"}',
        b'{"image": "../secret.jpg", "text": "a path that climbs out", "id": "climb"}',
        b'{"image": "/etc/hostname", "text": "an absolute path to a file", "id": "absolute"}',
        b'{"image": "images/link.jpg", "text": "a link to the outside", "id": "link"}',
        b'{"image": "https://example.org/x.jpg", "text": "an address of an image", "id": "url"}',
        b'{"image": "images/53.jpg", "text": "not closed", "id": "json"',
        b'{"image": "images/none.jpg", "text": "a file that is not there", "id": "missing"}',
        b'{"image": "images", "text": "a folder is no image", "id": "folder"}',
        b'{"image": "images/54.jpg", "text": "<script>alert(1)</script> some words", "id": "html"}',
        b'{"image": "images/55.jpg", "text": {"a": 1}, "id": "object"}',
        b'{"image": null, "text": "no image at all here", "id": "null"}',
        b"[1, 2]",
        b"",
    ]
    with (source / "pairs.jsonl").open("ab") as file:
        file.write(b"\n".join(lines))
    result = curate(source, tmp_path / "out")
    found = fates(tmp_path / "out")
    named = {name: fate for name, fate in found.items() if isinstance(name, str)}
    broken = sorted(fate for name, fate in named.items() if name.isdigit())
    assert broken == [("quarantined", "corrupt_record")] * 2
    assert {name: fate for name, fate in named.items() if not name.isdigit()} == {
        "latin1": ("quarantined", "invalid_utf8"),
        "surrogate": ("quarantined", "invalid_utf8"),
        "megabyte": ("dropped", "long_caption"),
        "climb": ("quarantined", "outside_source"),
        "absolute": ("quarantined", "outside_source"),
        "link": ("quarantined", "outside_source"),
        "url": ("quarantined", "remote_url"),
        "missing": ("quarantined", "missing_file"),
        "folder": ("quarantined", "unreadable_file"),
        "html": ("dropped", "html_tag"),
        "object": ("dropped", "few_words"),
        "null": ("quarantined", "no_media"),
    }
    assert result.corpus.totals.ingested == 5 + 14


def hostile_tar(path: Path) -> None:
    """Good samples between path tricks, links, duplicate keys and odd members."""
    members: list[tuple[str, bytes]] = []
    for n in range(4):
        members += [
            (f"good{n}.jpg", encoded(picture(700 + n), "JPEG")),
            (f"good{n}.txt", caption(n).encode()),
        ]
    jpeg = encoded(picture(710), "JPEG")
    members += [
        ("../../evil.jpg", jpeg),
        ("/etc/evil.jpg", jpeg),
        ("same.jpg", encoded(picture(711), "JPEG")),
        ("same.txt", b"the first of two with one key"),
        ("same.jpg", encoded(picture(712), "JPEG")),
        ("same.txt", b"the second of two with one key"),
        ("lonely.txt", b"words without an image here"),
        ("latin.jpg", encoded(picture(713), "JPEG")),
        ("latin.txt", b"caf\xe9 by the long river"),
    ]
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        info = tarfile.TarInfo("last.jpg")
        data = encoded(picture(714), "JPEG")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def test_a_hostile_tar_costs_only_its_hostile_members(tmp_path):
    hostile_tar(tmp_path / "hostile.tar")
    result = curate(tmp_path / "hostile.tar", tmp_path / "out")
    errors = {k: v for stage in result.corpus.stages for k, v in stage.errors.items()}
    assert errors == {
        "ingest: unsafe_path": 3,
        "ingest: no_media": 1,
        "ingest: invalid_utf8": 1,
    }
    assert result.corpus.totals.kept == 6
    assert result.corpus.stages[0].reasons == {"no_caption": 1}
    assert not (tmp_path / "evil.jpg").exists()


def test_a_tar_cut_in_the_middle_gives_all_samples_before_the_cut(tmp_path):
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as tar:
        for n in range(10):
            for name, data in (
                (f"{n}.jpg", encoded(picture(n), "JPEG")),
                (f"{n}.txt", caption(n).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    with tarfile.open(whole) as tar:
        offset = tar.getmember("7.jpg").offset_data
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[: offset + 900])
    result = curate(tmp_path / "cut.tar", tmp_path / "out")
    totals = result.corpus.totals
    assert (totals.ingested, totals.kept, totals.quarantined) == (8, 7, 1)
    assert any("before it are read" in note for note in result.corpus.inputs[0].notes)


def test_dotted_keys_stay_apart(tmp_path):
    with tarfile.open(tmp_path / "dotted.tar", "w") as tar:
        for n in range(30):
            for ext, data in (("jpg", encoded(picture(n), "JPEG")), ("txt", caption(n).encode())):
                info = tarfile.TarInfo(f"photo.v{n}.{ext}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    assert curate(tmp_path / "dotted.tar", tmp_path / "out").corpus.totals.kept == 30


def curate_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curation", *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_line_and_the_run_continues_with_space(small_disk, tmp_path):
    source = write_pairs(tmp_path / "source", 60)
    arguments = (
        "run",
        "image-text",
        "--input",
        str(source),
        "--out",
        str(small_disk / "out"),
        "--workers",
        "1",
    )
    failed = curate_command(*arguments)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "the disk is full" in last
    assert "Traceback" not in failed.stderr
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    again = curate_command(*arguments)
    assert again.returncode == 0, again.stderr
    assert "kept 60" in again.stdout


def test_a_read_only_place_is_one_line(small_disk, tmp_path):
    source = write_pairs(tmp_path / "source", 3)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    failed = curate_command("ingest", str(source), "--out", str(small_disk / "out"))
    assert failed.returncode == 1
    assert "read-only" in failed.stderr.strip().splitlines()[-1]
    assert "Traceback" not in failed.stderr
