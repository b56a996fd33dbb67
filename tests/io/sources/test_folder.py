"""Folders of images: what belongs together, and what a file that cannot be read costs."""

import json
from pathlib import Path

import pytest

from curation.core.corpus import index_path
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.sources import Record
from curation.io.sources.files import OutsideSourceError, inside, read_bytes, tree
from curation.io.store import Store
from curation.io.tables import read_table
from curation.pipeline.ingest import IngestRequest, ingest
from tests.io.images import encoded, scene
from tests.io.sources.pairs import opened, read_all, write_tar

IMAGE = encoded(scene((9, 9)), "PNG")


def write(folder: Path, **files: bytes | str) -> Path:
    """Files by name, `__` standing for a slash and `_dot_` for a dot."""
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def read(folder: Path, **options) -> tuple[list[Record], list[str]]:
    _, source = opened(folder, folder.parent / "scratch", **options)
    return read_all(source), source.notes()


def test_files_of_one_name_are_one_sample(tmp_path):
    folder = write(
        tmp_path / "f",
        a_dot_jpg=IMAGE, a_dot_txt="one", a_dot_json=json.dumps({"id": 1, "url": "https://x.y/a"}),
        b_dot_png=IMAGE, b_dot_caption="two",
        c_dot_jpg=IMAGE, c_dot_json=json.dumps({"caption": "three", "license": "CC0"}),
        d__a_dot_jpg=IMAGE, d__a_dot_txt="another a",
        e_dot_txt="no image",
        f_dot_jpg=IMAGE,
    )  # fmt: skip
    found, notes = read(folder)
    assert [(r.source["path"], r.text, len(r.media), r.error) for r in found] == [
        ("a.jpg", "one", 1, None),
        ("b.png", "two", 1, None),
        ("c.jpg", "three", 1, None),
        ("e.txt", "no image", 0, "no_media"),
        ("f.jpg", None, 1, None),
        ("d/a.jpg", "another a", 1, None),
    ]
    assert (found[0].source["columns"], found[0].source_url) == ({"id": 1}, "https://x.y/a")
    assert found[2].license == "CC0"
    assert notes == []


def test_each_image_of_one_name_is_a_sample_with_the_text(tmp_path):
    folder = write(
        tmp_path / "f", a_dot_jpg=IMAGE, a_dot_png=IMAGE, a_dot_txt="t", a_dot_b_dot_jpg=IMAGE
    )
    found, _ = read(folder)
    assert [(r.source["path"], r.text) for r in found] == [
        ("a.jpg", "t"),
        ("a.png", "t"),
        ("a.b.jpg", None),
    ]


def test_endings_and_names_pair_up_in_any_case(tmp_path):
    folder = write(
        tmp_path / "f",
        IMG_1_dot_JPG=IMAGE, IMG_1_dot_TXT="one", IMG_1_dot_Json='{"id": 1}',
        IMG_2_dot_Jpg=IMAGE, img_2_dot_Txt="two", Img_2_dot_JSON='{"id": 2}',
        a_dot_jpg=IMAGE, A_dot_txt="not theirs alone", A_dot_JPG=IMAGE,
        b_dot_jpg=IMAGE, B_dot_PNG=IMAGE, bb_dot_txt="nobody's",
        c_dot_jpg=IMAGE, c_dot_txt="its own", C_dot_txt="another's",
    )  # fmt: skip
    found, notes = read(folder)
    assert [(r.source["path"], r.text, r.source.get("columns"), r.error) for r in found] == [
        ("A.JPG", "not theirs alone", None, None),
        ("B.PNG", None, None, None),
        ("C.txt", "another's", None, "no_media"),
        ("IMG_1.JPG", "one", {"id": 1}, None),
        ("IMG_2.Jpg", "two", {"id": 2}, None),
        ("a.jpg", None, None, None),
        ("b.jpg", None, None, None),
        ("bb.txt", "nobody's", None, "no_media"),
        ("c.jpg", "its own", None, None),
    ]
    assert {record.media[0][0] for record in found if record.media} == {"jpg", "png"}
    assert notes == []


def test_a_second_text_of_one_name_is_told(tmp_path):
    folder = write(
        tmp_path / "f", a_dot_jpg=IMAGE, a_dot_TXT="first", a_dot_txt="second", a_dot_caption="3",
        a_dot_json='{"id": 2}', a_dot_JSON='{"id": 1}',
    )  # fmt: skip
    (record,), notes = read(folder)
    assert (record.text, record.source["columns"]) == ("first", {"id": 1})
    assert notes == [
        "texts beside a text, or JSONs beside a JSON, of the same name, passed over: 1 .caption, "
        "1 .json, 1 .txt"
    ]


def test_other_files_are_told_and_hidden_folders_passed_over(tmp_path):
    folder = write(
        tmp_path / "f", a_dot_jpg=IMAGE, b_dot_mp4="x", c_dot_mp4="x", README="x", _dot_hidden="x",
        _dot_git__x_dot_jpg=IMAGE, _dot_cache__y_dot_txt="x",
    )  # fmt: skip
    found, notes = read(folder)
    assert [r.source["path"] for r in found] == ["a.jpg"]
    assert notes == ["files that are neither image, text nor JSON, passed over: 1 .(none), 2 .mp4"]


def test_a_file_that_cannot_be_read_costs_only_its_sample(tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    folder = write(
        tmp_path / "f", a_dot_jpg=IMAGE, b_dot_jpg=IMAGE, c_dot_jpg=IMAGE, d_dot_jpg=IMAGE,
        e_dot_jpg=b"", f_dot_jpg=IMAGE, f_dot_txt=b"caf\xe9", g_dot_jpg=IMAGE, g_dot_json="{",
        h_dot_jpg=IMAGE, h_dot_json=b"[" * 950 + b"]" * 950, deep__x_dot_jpg=IMAGE, z_dot_jpg=IMAGE,
    )  # fmt: skip
    (folder / "a.txt").symlink_to(folder / "deep")  # a folder under a file's name
    (folder / "b.txt").symlink_to(folder / "gone.txt")
    (folder / "c.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "d.txt").symlink_to("d.txt")  # a link to itself
    (folder / "i.jpg").symlink_to(folder / "deep")
    (folder / "j.jpg").symlink_to("/etc/passwd")
    found, _ = read(folder)
    assert {r.source["path"]: r.error for r in found} == {
        "a.jpg": "unreadable_file",
        "b.jpg": "unreadable_file",
        "c.jpg": "outside_source",
        "d.jpg": "unreadable_file",
        "e.jpg": None,  # ingest sees that it is empty
        "f.jpg": "invalid_utf8",
        "g.jpg": "corrupt_record",
        "h.jpg": "corrupt_record",
        "i.jpg": "unreadable_file",
        "j.jpg": "outside_source",
        "deep/x.jpg": None,
        "z.jpg": None,
    }
    assert all(r.media for r in found if r.source["path"] not in ("i.jpg", "j.jpg"))


def test_names_that_are_not_utf8_or_odd_are_read(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    names = [
        "caf\udce9.jpg",
        "日本 語.jpg",
        "a\nb.jpg",
        "-rf.jpg",
        "UPPER.JPEG",
        "a%20b.jpg",
        "a\\b.jpg",
    ]
    for name in names:
        (folder / name).write_bytes(IMAGE)
    found, _ = read(folder)
    assert [r.error for r in found] == [None] * len(names)
    assert [r.media[0][1] for r in found] == [IMAGE] * len(names)


@pytest.mark.parametrize("kind", ["folder", "table", "tar"])
def test_names_that_are_not_utf8_pass_through_a_whole_ingest(tmp_path, kind):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "caf\udce9.png").write_bytes(IMAGE)
    if kind == "table":
        (folder / "caf\udce9.csv").write_text("path\ncaf\udce9.png\n", errors="surrogateescape")
    elif kind == "tar":
        write_tar(folder / "caf\udce9.tar", [("caf\udce9.png", IMAGE), ("b.png", b"")])
    with LocalEngine(workers=0) as engine:
        corpus = ingest(IngestRequest(source=str(folder)), str(tmp_path / "c"), engine, SILENT)
    index = read_table(corpus.store, index_path(0)).to_pylist()
    assert [row["error"] for row in index] == [None] + ["empty_file"] * (kind == "tar")
    assert index[0]["members"][0]["size"] == len(IMAGE)
    assert corpus.manifest == open_corpus(str(tmp_path / "c")).manifest
    if kind != "tar":
        assert json.loads(index[0]["source"])["path"] == "caf\udce9.png"


def test_a_tree_is_walked_in_one_order_files_before_folders(tmp_path):
    folder = write(tmp_path / "f", b="x", a="x", B__x="x", a2__y__z="x", c="x")
    expected = [("", ["a", "b", "c"]), ("B/", ["x"]), ("a2/", []), ("a2/y/", ["z"])]
    assert list(tree(Store(str(folder)))) == expected
    remote = Store(f"memory://{tmp_path.name}/tree")
    for name in ("b", "a", "a2/y/z", "B/x", "c", ".git/x"):
        remote.write(name, b"x")
    remote.remove(".tmp")
    assert list(tree(remote)) == expected


INSIDE = [
    "x.jpg",
    "a/x.jpg",
    "a/./x.jpg",
    "a//x.jpg",
    "{root}/a/x.jpg",
    "link.jpg",
    "a\\x.jpg",
    "up/x.jpg",
]
OUTSIDE = ["", "../x.jpg", "a/../../x.jpg", "/etc/passwd", "{root}x/x.jpg", "out.jpg", "a\x00b",
           "{root}/../x.jpg", "..\\x.jpg", "outside/x.jpg", "a/.."]  # fmt: skip


@pytest.fixture
def store(tmp_path) -> Store:
    root = write(tmp_path / "root", x_dot_jpg=IMAGE, a__x_dot_jpg=IMAGE)
    write(tmp_path / "rootx", x_dot_jpg=b"secret")
    (root / "link.jpg").symlink_to(root / "a" / "x.jpg")
    (root / "up").symlink_to(root / "a")
    (root / "out.jpg").symlink_to(tmp_path / "rootx" / "x.jpg")
    (root / "outside").symlink_to(tmp_path / "rootx")
    return Store(str(root))


@pytest.mark.parametrize("name", INSIDE)
def test_paths_that_stay_inside_are_read(store, name):
    assert read_bytes(store, inside(store, name.format(root=store.path("")))) == IMAGE


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_that_lead_outside_are_refused(store, name):
    with pytest.raises(OutsideSourceError):
        inside(store, name.format(root=store.path("")))


@pytest.mark.parametrize("name", ["", "/x.jpg", "../x.jpg", "a/../x.jpg", "s3://other/x.jpg"])
def test_paths_that_leave_an_object_store_are_refused(name):
    with pytest.raises(OutsideSourceError):
        inside(Store("memory://bucket/a"), name)


def test_a_file_that_an_object_store_lacks_is_an_error_of_one_record():
    with pytest.raises(FileNotFoundError):
        read_bytes(Store("memory://bucket/nowhere"), "x.jpg")


def test_endings_in_any_case_give_the_same_shards(tmp_path):
    shards = []
    for name in ("jpg txt", "JPG TXT", "Jpg Text"):
        ending, text = name.split()
        folder = tmp_path / name
        folder.mkdir()
        for n in range(3):
            (folder / f"Img_{n}.{ending}").write_bytes(encoded(scene((9, 9), seed=n), "JPEG"))
            (folder / f"Img_{n}.{text}").write_text(f"words {n}")
        out = tmp_path / f"{name} corpus"
        with LocalEngine(workers=0) as engine:
            ingest(IngestRequest(source=str(folder)), str(out), engine, SILENT)
        shards.append((out / "shards" / "000000000.tar").read_bytes())
    assert shards[1:] == shards[:1] * 2
