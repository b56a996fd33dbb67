"""Rows that a server had no answer for are asked about again, and no others."""

from pathlib import Path
from typing import Any

import pytest

from curation.core.errors import UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.operators.vision_language import chat_operator
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.operators.vision_language.recaption import Recaption
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import layers_of, measure
from tests.io.chat_server import ChatServer, well, words_of
from tests.pipeline.corpora import write_pairs

ROWS = 24
FAIL = ("number 3 ", "number 4 ", "number 17 ")
"""Of three shards of eight, all but the second have rows that fail."""


def refusing(payload: dict[str, Any], seen: int) -> str:
    number = int(words_of(payload).split("number ")[1].split()[0])
    return "answer" if number % 3 else "400"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    request = IngestRequest(
        source=str(write_pairs(tmp_path / "source", ROWS)), options=SourceOptions(shard_samples=8)
    )
    with LocalEngine(workers=0) as engine:
        return ingest(request, str(tmp_path / "corpus"), engine, SILENT)


def failing(payload: dict[str, Any], seen: int) -> str:
    return "500" if any(name in words_of(payload) for name in FAIL) else well(payload, seen)


def asked(corpus: Corpus, server: ChatServer, again: int, workers: int = 0) -> list[dict[str, Any]]:
    """The layer's rows, measured if they are not there."""
    operator = Recaption(servers=(server.url,), model="tiny", floor="", attempts=1, again=again)
    with LocalEngine(workers=workers) as engine:
        measure(corpus, (operator,), engine, SILENT)
    layer = layers_of((operator,), corpus.shards_sha256)[operator.name]
    return [
        row
        for shard in corpus.shards
        for row in read_table(corpus.store, layer.path(shard.shard)).to_pylist()
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_only_rows_without_an_answer_are_asked_about_again(corpus, workers):
    with ChatServer(failing) as server:
        first = asked(corpus, server, 0, workers)
    wrong = [n for n, row in enumerate(first) if row["error"]]
    assert {first[n]["error"] for n in wrong} == {"failed_by_server"}
    assert len(wrong) == len(FAIL)
    with ChatServer() as server:
        second = asked(corpus, server, 1, workers)
        assert len(server.asked) == len(FAIL)
        assert all(any(name in words_of(given) for name in FAIL) for given in server.asked)
        undisturbed = asked(corpus, server, 2, workers)  # mends a layer without a fault
        assert len(server.asked) == len(FAIL)
    assert not any(row["error"] for row in second)
    assert undisturbed == second
    assert [row for n, row in enumerate(second) if n not in wrong] == [
        row for n, row in enumerate(first) if n not in wrong
    ]


def test_what_stays_away_stays_an_error(corpus):
    with ChatServer(failing) as server:
        first = asked(corpus, server, 0)
        before = len(server.asked)
        second = asked(corpus, server, 1)
        assert len(server.asked) == before + len(FAIL)
    assert [row["error"] for row in first] == [row["error"] for row in second]


def test_rows_that_are_refused_for_good_end_no_run(corpus, monkeypatch):
    """That all that is asked about fails is no wonder where only failures are asked about."""
    with ChatServer(refusing) as server:
        first = asked(corpus, server, 0)
        monkeypatch.setattr(chat_operator, "GIVE_UP", 4)
        again = asked(corpus, server, 1)
    assert [row["error"] for row in first].count("refused_by_server") == 8
    assert [row["error"] for row in again] == [row["error"] for row in first]


def test_the_newest_layer_there_is_is_mended(corpus):
    with ChatServer(failing) as server:
        asked(corpus, server, 0)
    with ChatServer() as server:
        found = asked(corpus, server, 3)
        assert len(server.asked) == len(FAIL)
    assert not any(row["error"] for row in found)


def checked(corpus: Corpus, server: ChatServer, *again: int) -> list[dict[str, Any]]:
    """Rows of `claim_check` on top."""
    common = {"servers": (server.url,), "attempts": 1}
    writer = Recaption(model="tiny", floor="", again=again[0], **common)
    checker = ClaimCheck(model="eye", again=again[1], **common)
    with LocalEngine(workers=0) as engine:
        measure(corpus, (writer, checker), engine, SILENT)
    layer = layers_of((writer, checker), corpus.shards_sha256)[checker.name]
    return [
        row
        for shard in corpus.shards
        for row in read_table(corpus.store, layer.path(shard.shard)).to_pylist()
    ]


def claims(server: ChatServer) -> int:
    """Requests of the checker since it was last looked at."""
    count = sum("logprobs" in given for given in server.asked)
    del server.asked[:]
    return count


def test_captions_that_stayed_are_not_checked_again(corpus):
    with ChatServer(failing, judge=lambda given: (0.9, 0.1)) as server:
        checked(corpus, server, 0, 0)
        assert claims(server) == ROWS - len(FAIL)
    with ChatServer(judge=lambda given: (0.8, 0.1)) as server:
        found = checked(corpus, server, 1, 0)
        assert claims(server) == len(FAIL)
        sure = [round(row["claims_checked"][0]["p_yes"], 2) for row in found]
        assert sorted(sure) == [0.8] * len(FAIL) + [0.9] * (ROWS - len(FAIL))
        assert checked(corpus, server, 2, 0) == found
        assert checked(corpus, server, 2, 1) == found
        assert claims(server) == 0


def test_what_the_layer_before_lacks_is_asked_as_at_first(corpus):
    """As where it was collected, or its run killed."""
    with ChatServer() as server:
        whole = asked(corpus, server, 0)
        layer = layers_of((Recaption(model="tiny", floor=""),), corpus.shards_sha256)["recaption"]
        corpus.store.remove(layer.path(1))
        del server.asked[:]
        assert asked(open_corpus(corpus.store.path("")), server, 1) == whole
        assert len(server.asked) == 8


def test_nothing_is_asked_less_than_once():
    with pytest.raises((ValueError, UsageError), match="again must be 0 to 99"):
        Recaption(again=-1)
