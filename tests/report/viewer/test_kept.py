"""An answer is made once, however many ask for it, and the oldest make room."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from curation.report.viewer.kept import Kept


def test_many_who_ask_at_once_share_one_answer():
    kept: Kept[str, int] = Kept(4)
    made = []
    ready = threading.Barrier(16)

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return 7

    def ask(_: int) -> int:
        ready.wait()
        return kept.get("a", make)

    with ThreadPoolExecutor(16) as people:
        assert set(people.map(ask, range(16))) == {7}
    assert len(made) == 1


def test_the_answer_that_was_used_longest_ago_goes_first():
    kept: Kept[str, bytes] = Kept(10, len)
    for name in "abc":
        kept.get(name, lambda: b"1234")  # the third is one too many
    made = []
    for name in "bca":
        kept.get(name, lambda name=name: made.append(name) or b"1234")  # type: ignore[misc]
    assert made == ["a"]
    assert kept.get("large", lambda: bytes(99)) == bytes(99)


def test_what_fails_is_asked_again():
    kept: Kept[str, int] = Kept(4)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 3) == 3
