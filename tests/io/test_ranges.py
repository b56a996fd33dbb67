"""Range reads: exactly the bytes asked for, in the order asked, in few requests."""

import io
import uuid
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.core.corpus import tar_path
from curation.io import ranges
from curation.io.ranges import GAP, WINDOW_BYTES, RangeReader, windows
from curation.io.store import Store

SIZE = 200_000
SHARDS = [bytes((n * 31 + k * 7 + k // 256) % 256 for k in range(SIZE)) for n in range(3)]


@pytest.fixture(scope="module", params=["local", "memory"])
def store(request, tmp_path_factory) -> Store:
    local = request.param == "local"
    store = Store(str(tmp_path_factory.mktemp("s")) if local else f"memory://{uuid.uuid4().hex}")
    for shard, data in enumerate(SHARDS):
        store.write(tar_path(shard), data)
    return store


@st.composite
def wanted(draw) -> tuple[int, int, int]:
    offset = draw(st.integers(0, SIZE))
    longest = draw(st.sampled_from([0, 10, 600, SIZE]))
    return draw(st.integers(0, 2)), offset, draw(st.integers(0, min(longest, SIZE - offset)))


@settings(max_examples=150)
@given(st.lists(wanted(), max_size=12))
def test_every_range_is_what_lies_there_in_any_order_and_overlap(store, asked):
    with RangeReader(store) as reader:
        expected = [SHARDS[shard][low : low + size] for shard, low, size in asked]
        assert reader.fetch(asked) == expected
        assert reader.fetch(asked[::-1]) == expected[::-1]


class CountingFile(io.BytesIO):
    def __init__(self, data: bytes, log: list[tuple[int, int]]) -> None:
        super().__init__(data)
        self.log = log

    def read(self, size: int | None = -1) -> bytes:
        self.log.append((self.tell(), size or 0))
        return super().read(size)


class CountingStore(Store):
    """A store over `SHARDS` that remembers what was asked of it, until the next test."""

    log: ClassVar[list[tuple[int, int]]] = []
    files: ClassVar[list[CountingFile]] = []

    def open(self, name: str) -> CountingFile:
        self.files.append(CountingFile(SHARDS[int(name[7:16]) % 3], self.log))
        return self.files[-1]


@pytest.fixture
def counting() -> CountingStore:
    CountingStore.log.clear()
    CountingStore.files.clear()
    return CountingStore("counting")


def test_neighbours_are_one_request_and_far_ones_are_not(counting):
    near = [(0, 0, 100), (0, 100 + GAP, 50), (0, 120, 10)]
    far = [(0, 100_000, 5), (0, 100_005 + GAP + 1, 5)]
    with RangeReader(counting) as reader:
        reader.fetch(far + near)
    assert counting.log == [(0, 150 + GAP), (100_000, 5), (100_006 + GAP, 5)]


def test_few_files_are_open_at_once_and_none_afterwards(counting):
    with RangeReader(counting) as reader:
        for shard in range(200):
            assert reader.fetch([(shard, 3, 4)]) == [SHARDS[shard % 3][3:7]]
            assert sum(not file.closed for file in counting.files) <= ranges._OPEN_FILES
        reader.fetch([(199, 0, 1)])
        assert len(counting.files) == 200
    assert all(file.closed for file in counting.files)


@pytest.mark.parametrize("asked", [(1, SIZE - 3, 4), (1, SIZE + 100, 1)])
def test_a_shard_shorter_than_its_index_is_named(store, asked):
    with (
        RangeReader(store) as reader,
        pytest.raises(ValueError, match=r"shards/000000001\.tar is shorter"),
    ):
        reader.fetch([(0, 0, 10), asked])


@given(
    st.lists(
        st.sampled_from(
            [0, 1, WINDOW_BYTES // 3, WINDOW_BYTES // 2, WINDOW_BYTES, WINDOW_BYTES * 2]
        ),
        max_size=20,
    )
)
def test_windows_keep_order_and_bound(sizes):
    rows = [{"size": size, "n": n} for n, size in enumerate(sizes)]
    made = list(windows(rows))
    assert [row for window in made for row in window] == rows
    for window, after in zip(made, [*made[1:], None], strict=False):
        total = sum(row["size"] for row in window)
        assert total <= WINDOW_BYTES or len(window) == 1
        assert after is None or total + after[0]["size"] > WINDOW_BYTES
