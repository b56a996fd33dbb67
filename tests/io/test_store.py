"""The store: a file is seen whole or not at all, and every refusal is one line."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.errors import CorpusError, StorageError
from curation.io.store import TEMPORARY, Store


@pytest.fixture(params=["local", "file", "memory"])
def store(request, tmp_path) -> Store:
    """A store of each kind, empty."""
    urls = {
        "local": str(tmp_path / "s"),
        "file": f"file://{tmp_path}/s/",
        "memory": f"memory://{uuid.uuid4().hex}/s",
    }
    return Store(urls[request.param])


class Interruption(BaseException):
    """What no handler for errors catches, as a KeyboardInterrupt."""


def test_what_is_written_is_read(store):
    store.write("a/b/c.bin", b"\x00\xff" * 1000)
    assert store.read("a/b/c.bin") == b"\x00\xff" * 1000
    assert store.size("a/b/c.bin") == 2000
    assert store.exists("a/b/c.bin")
    assert store.exists("a/b")
    assert not store.exists("a/c.bin")
    with store.open("a/b/c.bin") as file:
        file.seek(1999)
        assert file.read(10) == b"\xff"


def test_an_empty_file_is_a_file(store):
    store.write("empty", b"")
    assert store.exists("empty")
    assert (store.read("empty"), store.size("empty")) == (b"", 0)


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=100), max_size=5))
@pytest.mark.parametrize("remote", [False, True])
def test_pieces_written_are_one_file(remote, tmp_path_factory, pieces):
    url = f"memory://{uuid.uuid4().hex}" if remote else str(tmp_path_factory.mktemp("s"))
    store = Store(url)
    with store.writer("f") as file:
        for piece in pieces:
            file.write(piece)
    assert store.read("f") == b"".join(pieces)


@pytest.mark.parametrize("fault", [ValueError, Interruption])
def test_nothing_is_seen_of_a_block_that_raises(store, fault):
    with pytest.raises(fault), store.writer("x/half") as file:
        file.write(b"half of it")
        raise fault
    assert not store.exists("x/half")
    assert store.names("x") == []
    assert store.names(TEMPORARY) == []


@pytest.mark.parametrize("fault", [ValueError, Interruption])
def test_the_old_file_stays_when_a_block_raises(store, fault):
    store.write("x/whole", b"the old one")
    with pytest.raises(fault), store.writer("x/whole") as file:
        file.write(b"the new")
        raise fault
    assert store.read("x/whole") == b"the old one"


def test_nothing_is_seen_before_the_block_ends(store):
    store.write("x/other", b"")
    with store.writer("x/late") as file:
        file.write(b"all of it")
        assert not store.exists("x/late")
        assert store.names("x") == ["other"]
    assert store.names("x") == ["late", "other"]


def test_a_file_is_replaced_whole(store):
    store.write("f", b"a long first version")
    store.write("f", b"short")
    assert store.read("f") == b"short"


def _write_for_ever(url: str) -> None:
    store = Store(url)
    with store.writer("shards/0.tar") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()


def test_a_killed_writer_leaves_no_final_file(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_write_for_ever, args=(str(tmp_path),)
    )
    process.start()
    deadline = time.monotonic() + 60
    while not any(f.stat().st_size for f in (tmp_path / TEMPORARY).glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(str(tmp_path))
    assert store.names("shards") == []
    assert len(store.names(TEMPORARY)) == 1
    store.write("shards/0.tar", b"whole")
    store.remove(TEMPORARY)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["0.tar"]


def test_names_are_those_directly_in_a_folder(store):
    for name in ("f/b", "f/a", "f/deep/c", "g"):
        store.write(name, b"x")
    assert store.names("f") == ["a", "b", "deep"]
    assert store.names("nowhere") == []
    assert [n for n in store.names("") if n != TEMPORARY] == ["f", "g"]


def test_remove_takes_a_file_or_a_folder_and_forgives(store):
    for name in ("f/a", "f/b/c", "g"):
        store.write(name, b"x")
    store.remove("f/a")
    assert store.names("f") == ["b"]
    store.remove("f")
    assert not store.exists("f/b/c")
    store.remove("g")
    assert not store.exists("g")
    store.remove("g")
    store.remove("f/b/c")


def test_remove_of_a_link_leaves_what_it_points_to(tmp_path):
    store = Store(str(tmp_path / "s"))
    store.write("real/file", b"x")
    (tmp_path / "s" / "link").symlink_to(tmp_path / "s" / "real")
    store.remove("link")
    assert store.names("real") == ["file"]
    assert not store.exists("link")


def test_a_missing_file_is_one_line(store):
    with pytest.raises(CorpusError, match=r"gone\.parquet: no such file"):
        store.read("gone.parquet")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: Is a directory"):
        Store(str(tmp_path)).read("folder")


def test_a_parent_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as caught:
        Store(str(tmp_path / "file")).write("a", b"x")
    assert "\n" not in str(caught.value)


def test_a_store_travels_to_a_worker(store):
    store.write("f", b"x")
    sent = pickle.loads(pickle.dumps(store))
    assert sent == store
    assert sent.read("f") == b"x"


def test_paths_and_places(tmp_path):
    local, remote = Store(f"{tmp_path}/"), Store("memory://bucket/key/")
    assert local.is_local
    assert not remote.is_local
    assert Store(f"file://{tmp_path}").local("a/b") == tmp_path / "a" / "b" == local.local("a/b")
    assert local.path("") == str(tmp_path)
    assert remote.path("a").endswith("bucket/key/a")


def test_settle_takes_any_folder(store):
    store.write("f/a", b"x")
    store.settle("f")
    store.settle("nowhere")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_line_and_gives_its_space_back(small_disk: Path):
    store = Store(str(small_disk))
    store.write("kept", b"x" * 1000)
    with pytest.raises(StorageError, match=f"{small_disk}/big: the disk is full"):
        store.write("big", bytes(1 << 20))
    assert not store.exists("big")
    assert store.names(TEMPORARY) == []
    store.write("fits", bytes(100_000))
    assert store.read("kept") == b"x" * 1000


def test_a_read_only_place_is_one_line(small_disk: Path):
    store = Store(str(small_disk))
    store.write("f", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="g: the file system is read-only"):
        store.write("g", b"x")
    assert store.read("f") == b"x"
