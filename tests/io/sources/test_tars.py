"""WebDataset tars: grouping, damage, and what each member becomes."""

import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.io.sources import Record, tars
from curation.io.sources.tars import first_dot, last_dot
from tests.io.images import encoded, scene
from tests.io.sources.pairs import UIDS, members, opened, read_all, uid, write_tar

IMAGE, OTHER = encoded(scene((9, 9)), "PNG"), encoded(scene((9, 9), seed=1), "PNG")


def read(
    tmp_path: Path, parts: list[tuple[str, bytes]], **options
) -> tuple[list[Record], list[str]]:
    _, source = opened(write_tar(tmp_path / "t.tar", parts), tmp_path / "s", **options)
    return read_all(source), source.notes()


def key(record: Record) -> str:
    return record.source["key"]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        (b"a.jpg", (b"a", b"jpg"), (b"a", b"jpg")),
        (b"a.b.jpg", (b"a", b"b.jpg"), (b"a.b", b"jpg")),
        (b"d.x/a.b.jpg", (b"d.x/a", b"b.jpg"), (b"d.x/a.b", b"jpg")),
        (b"d.x/a", (b"d.x/a", b""), (b"d.x/a", b"")),
        (b".jpg", (b"", b"jpg"), (b"", b"jpg")),
        (b"a.", (b"a", b""), (b"a", b"")),
    ],
)
def test_keys_and_extensions(name, first, last):
    assert (first_dot(name), last_dot(name)) == (first, last)


def test_a_file_of_img2dataset_keeps_its_columns(tmp_path):
    said = {
        "caption": "a tiger", "url": "https://x.example/1.jpg", "key": "000000001",
        "status": "success", "width": 9, "exif": "{}", "sha256": "ab", "pwatermark": 0.5,
        "error_message": None,
    }  # fmt: skip
    parts = [
        ("000000001.jpg", IMAGE),
        ("000000001.json", json.dumps(said).encode()),
        ("000000001.txt", b"a tiger"),
    ]
    (record,), notes = read(tmp_path, parts)
    rest = {k: v for k, v in said.items() if k not in ("caption", "url", "error_message")}
    assert record.source == {"path": "t.tar", "key": "000000001", "columns": rest}
    assert (record.text, record.source_url) == ("a tiger", "https://x.example/1.jpg")
    assert record.media == [("jpg", IMAGE)]
    assert notes == []


def test_two_captions_are_both_kept(tmp_path):
    said = json.dumps({"text": "from the JSON", "id": 1}).encode()
    (record,), _ = read(tmp_path, [("a.jpg", IMAGE), ("a.json", said), ("a.txt", b"from the text")])
    assert record.text == "from the text"
    assert record.source["columns"] == {"id": 1, "json_text": "from the JSON"}


@pytest.mark.parametrize(
    ("body", "text", "columns", "error"),
    [
        (b'{"caption": "c", "n": 1}', "c", {"n": 1}, None),
        (b'{"n": 1}', None, {"n": 1}, None),
        (b"[1, 2]", None, {"json": [1, 2]}, None),
        (b'"words"', None, {"json": "words"}, None),
        (b"{", None, None, "corrupt_record"),
        (b"[" * 90_000, None, None, "corrupt_record"),
        (b"[" * 900 + b"]" * 900, None, None, "corrupt_record"),
        (b'{"caption": "\xff"}', None, None, "corrupt_record"),
        (b'{"caption": "\\ud800"}', None, None, "invalid_utf8"),
        ('{"caption": "é"}'.encode("utf-16"), "é", None, None),
    ],
)
def test_a_json_of_any_kind_costs_only_its_sample(tmp_path, body, text, columns, error):
    parts = [("a.jpg", IMAGE), ("a.json", body), ("b.jpg", OTHER), ("b.txt", b"fine")]
    (first, second), _ = read(tmp_path, parts)
    assert (first.text, first.source.get("columns"), first.error) == (text, columns, error)
    assert first.media == [("jpg", IMAGE)]
    assert (second.text, second.error) == ("fine", None)


def test_what_each_member_becomes(tmp_path):
    parts = [
        ("a.JPG", IMAGE), ("a.TXT", b"upper case"),
        ("b.jpg", IMAGE), ("b.cls", b"3"), ("b.npy", b"x"),
        ("c.jpg", IMAGE), ("c.png", OTHER), ("c.txt", b"two images"),
        ("d.txt", b"no image"),
        ("e.jpg", b""), ("e.txt", b"\xff"),
        ("f", b"no extension"),
        ("g.caption", b"first"), ("g.txt", b"second"), ("g.webp", IMAGE),
    ]  # fmt: skip
    found, notes = read(tmp_path, parts)
    assert [(key(r), r.text, [ext for ext, _ in r.media], r.error) for r in found] == [
        ("a", "upper case", ["jpg"], None),
        ("b", None, ["jpg"], None),
        ("c", "two images", ["jpg", "png"], "many_media"),
        ("d", "no image", [], "no_media"),
        ("e", None, ["jpg"], "invalid_utf8"),
        ("f", None, [], "no_media"),
        ("g", "first", ["webp"], None),
    ]
    assert found[1].source["unread_members"] == ["cls", "npy"]
    assert notes == []  # two images under one key, but no dotted name


def test_dotted_names_are_told_and_no_sample_swallows_another(tmp_path):
    parts = [part for n in range(5) for part in
             ((f"v1.{n}.jpg", bytes([n]) * 9), (f"v1.{n}.txt", b"%d" % n))]  # fmt: skip
    found, notes = read(tmp_path, parts, shard_samples=2)
    assert [(key(r), r.text) for r in found] == [(f"v1.{n}", str(n)) for n in range(5)]
    assert "dotted names put several images under" in notes[0]


def test_extensions_with_dots_stay_with_their_key(tmp_path):
    parts = [("a.jpg", IMAGE), ("a.meta.json", b'{"n": 1}'), ("a.txt", b"t"), ("b.0.jpg", OTHER)]
    found, notes = read(tmp_path, parts)
    assert [(key(r), len(r.media), r.source.get("columns")) for r in found] == [
        ("a", 1, {"n": 1}),
        ("b", 1, None),
    ]
    assert notes == []


def test_a_key_that_comes_again_is_a_sample_of_its_own(tmp_path):
    parts = [("a.jpg", IMAGE), ("a.txt", b"1"), ("a.jpg", OTHER), ("a.txt", b"2"), ("b.jpg", IMAGE),
             ("a.jpg", IMAGE)]  # fmt: skip
    found, _ = read(tmp_path, parts)
    assert [(key(r), r.text) for r in found] == [("a", "1"), ("a", "2"), ("b", None), ("a", None)]


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "x/../../a.jpg", "x\\a.jpg"])
def test_an_unsafe_path_is_quarantined_by_its_name(tmp_path, name):
    found, _ = read(tmp_path, [("a.jpg", IMAGE), (name, OTHER), ("b.jpg", IMAGE)])
    assert [r.error for r in found] == [None, "unsafe_path", None]
    assert found[1].media == []


@pytest.mark.parametrize(
    "form", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_quarantined_and_folders_passed_over(tmp_path, form):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("a.jpg", tarfile.REGTYPE), ("l.jpg", form)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "/etc/passwd", 0
            if kind == tarfile.REGTYPE:
                info.size = len(IMAGE)
            tar.addfile(info, io.BytesIO(IMAGE))
    found = read_all(opened(path, tmp_path / "s")[1])
    assert [(key(r), r.error) for r in found] == [("a", None), ("l", "unsafe_path")]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shard_samples", [3, 1000])
def test_a_cut_anywhere_leaves_the_samples_before_it(tmp_path, zipped, shard_samples):
    archive = write_tar(tmp_path / "whole.tar", members()).read_bytes()
    whole = gzip.compress(archive) if zipped else archive
    name = "t.tar.gz" if zipped else "t.tar"
    rng = random.Random(4)
    for cut in [0, 1, 511, 512, 1300, *(rng.randrange(len(whole) - 1024) for _ in range(25))]:
        (tmp_path / name).write_bytes(whole[:cut])
        _, source = opened(tmp_path / name, tmp_path / "s", shard_samples=shard_samples)
        found = read_all(source)
        assert any("the samples before it are read" in note for note in source.notes())
        good = [uid(r) for r in found if r.error is None]
        assert good == UIDS[: len(good)] or good[:-1] == UIDS[: len(good) - 1]
        assert [r.error for r in found if r.error] in ([], ["truncated_record"])
        assert len(found) - len(good) <= 1


def test_damage_in_the_middle_is_told_and_quarantined(tmp_path):
    parts = members()
    archive = bytearray(write_tar(tmp_path / "t.tar", parts).read_bytes())
    with tarfile.open(tmp_path / "t.tar") as tar:
        at = tar.getmember("0007.jpg").offset
    archive[at : at + 20] = b"\xff" * 20
    (tmp_path / "t.tar").write_bytes(bytes(archive))
    write_tar(tmp_path / "u.tar", members(0, 2))
    _, source = opened(tmp_path, tmp_path / "s", shard_samples=4)
    found = read_all(source)
    assert [r.error for r in found] == [None] * 7 + ["corrupt_record"] + [None] * 2
    assert [uid(r) for r in found if not r.error] == UIDS[:7] + UIDS[:2]
    assert found[7].source == {"path": "t.tar"}
    assert "t.tar: header checksum does not hold" in source.notes()[0]


def test_an_archive_without_an_end_mark_loses_nothing(tmp_path):
    archive = write_tar(tmp_path / "t.tar", members(0, 4)).read_bytes()
    end = len(archive.rstrip(b"\x00"))
    (tmp_path / "t.tar").write_bytes(archive[: end + -end % 512])
    _, source = opened(tmp_path / "t.tar", tmp_path / "s")
    assert [uid(r) for r in read_all(source)] == UIDS[:4]


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", gzip.compress(b"not a tar", mtime=0)],
    ids=["empty", "no-gzip", "no-tar"],
)
def test_a_gzip_that_is_none_has_no_samples_and_a_note(tmp_path, data):
    (tmp_path / "t.tar.gz").write_bytes(data)
    _, source = opened(tmp_path / "t.tar.gz", tmp_path / "s")
    assert all(r.error == "corrupt_record" for r in read_all(source))
    assert len(source.notes()) == 1


def test_a_caption_too_long_for_a_record_costs_only_its_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_TEXT_BYTES", 100)
    monkeypatch.setattr(tars, "MAX_MEDIA_BYTES", len(IMAGE))
    parts = [("a.jpg", IMAGE), ("a.txt", b"x" * 101), ("b.jpg", IMAGE + b"x"), ("b.txt", b"t"),
             ("c.jpg", IMAGE), ("c.txt", b"x" * 100)]  # fmt: skip
    found, _ = read(tmp_path, parts)
    assert [(r.error, len(r.media)) for r in found] == [
        ("too_large", 1),
        ("too_large", 0),
        (None, 1),
    ]


NAMES = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["a", "b", "a.b", "d/a", "d.e/a", "c"]),
    st.sampled_from(["", "1", ".2"]),
    st.sampled_from(["jpg", "png", "txt", "json", "cls", "JPG", "seg.png"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, max_size=14), st.integers(1, 4), st.integers(1, 40))
def test_pieces_cut_the_same_samples_however_small(tmp_path_factory, names, samples, limit):
    folder = tmp_path_factory.mktemp("t")
    parts = [(name, b"%d" % n * (n % 7)) for n, name in enumerate(names)]
    tar = write_tar(folder / "t.tar", parts)
    whole = opened(tar, folder / "s")[1]
    small = opened(tar, folder / "s", shard_samples=samples, shard_bytes=limit)[1]
    assert read_all(small) == read_all(whole)
    assert small.notes() == whole.notes()
    media = [data for record in read_all(whole) for _, data in record.media]
    images = [d for n, d in parts if n.lower().endswith(("jpg", "png"))]
    assert media == images
