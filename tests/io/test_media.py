"""Batches of a shard: rows in order, images bounded by bytes, nulls where there is no image."""

import uuid
from collections.abc import Generator

import pyarrow as pa
import pytest

from curation.core.corpus import index_path, sample_key, tar_path
from curation.core.errors import CorpusError
from curation.core.step import INDEX_COLUMNS
from curation.io import media
from curation.io.media import BATCH_ROWS, batches, read_member
from curation.io.store import Store
from curation.io.tables import read_table, write_table
from curation.io.tar import TarWriter
from schemas import INDEX
from tests.memory import grown


def shard(store: Store, samples: list[dict]) -> None:
    """A shard of samples: `images`, `text`, `error`, `blocked`."""
    rows = []
    with store.writer(tar_path(0)) as file:
        tar = TarWriter(file)
        for row, sample in enumerate(samples):
            key = sample_key(0, row)
            parts = [("jpg", data, f"{row:064x}") for data in sample.get("images", [])]
            if sample.get("text") is not None:
                parts.append(("txt", sample["text"].encode(), None))
            rows.append(
                {
                    "shard": 0,
                    "row": row,
                    "uid": f"{row:032x}",
                    "key": key,
                    "text": sample.get("text"),
                }
                | {"error": sample.get("error"), "blocked": sample.get("blocked"), "width": row}
                | {
                    "members": [
                        {
                            "ext": ext,
                            "offset": tar.add(f"{key}.{ext}", data),
                            "size": len(data),
                            "sha256": sha,
                        }
                        for ext, data, sha in parts
                    ]
                }
            )
        tar.finish()
    write_table(store, index_path(0), pa.Table.from_pylist(rows, INDEX), INDEX, {})


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> Store:
    return Store(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


MIXED = [
    {"images": [b"first"], "text": "one"},
    {"text": "only words"},
    {"images": [b"bad"], "text": "two", "error": "many_media"},
    {"blocked": "abuse"},
    {"images": [b"a", b"b"], "text": "three"},
    {"images": [b""], "text": "zero"},
    {},
    {"images": [b"last" * 999]},
]


def test_rows_carry_their_first_image_or_null(store):
    shard(store, MIXED)
    (batch,) = batches(store, 0, images=True)
    assert batch["image"].to_pylist() == [
        b"first",
        None,
        None,
        None,
        b"a",
        b"",
        None,
        b"last" * 999,
    ]
    assert batch["row"].to_pylist() == list(range(8))
    assert batch["text"].to_pylist() == [sample.get("text") for sample in MIXED]
    assert batch["error"].to_pylist() == [sample.get("error") for sample in MIXED]
    assert batch["blocked"].to_pylist() == [sample.get("blocked") for sample in MIXED]
    assert [bool(sha) for sha in batch["media_sha256"].to_pylist()] == [1, 0, 1, 0, 1, 1, 0, 1]
    names = ["shard", "row", "uid", *INDEX_COLUMNS.names, "error", "blocked", "image"]
    assert batch.schema.names == names
    assert batch.schema.field("image").type == pa.large_binary()


def test_without_images_the_tar_is_not_opened(store):
    shard(store, MIXED)
    with_images = pa.Table.from_batches(batches(store, 0, images=True))
    store.remove("shards")
    without = pa.Table.from_batches(batches(store, 0, images=False))
    assert without.equals(with_images.drop_columns("image"))


def test_batches_hold_at_most_their_rows(store):
    shard(store, [{"images": [b"%d" % n], "text": "x"} for n in range(BATCH_ROWS * 2 + 3)])
    for images in (True, False):
        made = list(batches(store, 0, images=images))
        assert [batch.num_rows for batch in made] == [BATCH_ROWS, BATCH_ROWS, 3]
    images = [
        image for batch in batches(store, 0, images=True) for image in batch["image"].to_pylist()
    ]
    assert images == [b"%d" % n for n in range(BATCH_ROWS * 2 + 3)]


def test_batches_hold_at_most_their_bytes(store, monkeypatch):
    monkeypatch.setattr(media, "BATCH_BYTES", 10_000)
    sizes = [3000, 3000, 3000, 9999, 30_000, 1, 5000, 4000, 0, 5000]
    shard(store, [{"images": [bytes([n]) * size]} for n, size in enumerate(sizes)])
    made = list(batches(store, 0, images=True))
    images = [image for batch in made for image in batch["image"].to_pylist()]
    assert images == [bytes([n]) * size for n, size in enumerate(sizes)]
    for batch in made:
        assert batch.num_rows == 1 or batch["image"].nbytes <= 10_000 + 8 * (batch.num_rows + 1)
    assert len(made) < len(sizes)


def read_between(size: int) -> Generator[None, None, None]:
    media.BATCH_BYTES = 1 << 16
    big = bytes(size)
    samples = [{"images": [b"small"], "text": "x"}, {"images": [big], "error": "many_media"}]
    samples += [{"images": [b"small"], "text": "long " * 20_000}]
    few, many = Store("memory://few"), Store("memory://many")
    shard(few, samples)
    shard(many, samples * 8)
    assert len(list(batches(few, 0, images=True))) > 0  # what it imports is not counted
    yield
    for batch in batches(many, 0, images=True):
        assert set(batch["image"].to_pylist()) <= {b"small", None}


def test_what_lies_between_the_images_counts_too():
    """On an object store, long captions and quarantined images are read with their neighbours."""
    assert grown(read_between, 8 << 20) < 24 << 20  # all of them are 64 MB


def test_a_shard_shorter_than_its_index_is_one_line(store):
    shard(store, MIXED)
    store.write(tar_path(0), store.read(tar_path(0))[:-4000])
    with pytest.raises(CorpusError, match=r"000000000\.tar: shorter than its index says"):
        list(batches(store, 0, images=True))


def test_an_empty_shard_has_no_batches(store):
    shard(store, [])
    assert list(batches(store, 0, images=True)) == []
    assert list(batches(store, 0, images=False)) == []


def test_one_member_is_read_alone(store):
    shard(store, MIXED)
    members = read_table(store, index_path(0))["members"].to_pylist()
    assert read_member(store, 0, members[4][1]) == b"b"
    assert read_member(store, 0, members[0][1]) == b"one"
