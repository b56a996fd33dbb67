"""Many questions at a time: in a row's order, equal ones once, one row's fault its own."""

from typing import Any

import pytest

from curation.io import chat_batch, chat_client
from curation.io.chat_batch import ChatBatch
from curation.io.chat_client import ChatClient, ChatRequest
from curation.io.chat_settings import ChatSettings
from tests.io.chat_server import ChatServer, well


class UnpreparedError(Exception):
    """A row that cannot be asked about."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of a test are short."""
    monkeypatch.setattr(chat_client, "_BACKOFF_FIRST", 0.01)


def request(words: str) -> tuple[ChatRequest, bytes]:
    payload = {"model": "tiny", "messages": [{"role": "user", "content": words}]}
    return ChatRequest(payload=payload, response_format=None, read=str), words.encode()


def prepare(row: int) -> list[tuple[ChatRequest, bytes]]:
    """Row n asks n questions; the third is one that servers refuse."""
    if row == 9:
        raise UnpreparedError("nothing to ask about")
    return [request(f"question {n}" if n != 2 else "refused") for n in range(row)]


def refusing(payload: dict[str, Any], seen: int) -> str:
    return "400" if payload["messages"][0]["content"] == "refused" else well(payload, seen)


def test_a_row_is_asked_to_its_first_question_without_an_answer():
    with ChatServer(refusing) as server:
        client = ChatClient(ChatSettings(servers=(server.url,)), "tiny")
        asking = ChatBatch(client, threads=2)
        found = asking.outcomes([0, 1, 2, 5, 9], prepare, UnpreparedError)
        said = {
            row: [outcome.error for outcome in told] if isinstance(told, list) else str(told)
            for row, told in found.items()
        }
        assert said == {
            0: [], 1: [None], 2: [None, None], 5: [None, None, "refused_by_server"],
            9: "nothing to ask about",
        }  # fmt: skip
        words = [payload["messages"][0]["content"] for payload in server.asked]
        assert sorted(words) == ["question 0", "question 1", "refused"]
        again = asking.outcomes([2], prepare, UnpreparedError)
        assert again[2] == found[2]
        assert len(server.asked) == 3


def test_no_row_is_no_request():
    client = ChatClient(ChatSettings(servers=("http://127.0.0.1:1",)), "tiny")
    assert ChatBatch(client, threads=1).outcomes([], prepare, UnpreparedError) == {}


@pytest.mark.parametrize(("bound", "most"), [("_ANSWERS", 2), ("_HELD", 40)])
def test_the_oldest_answers_are_forgotten_first(monkeypatch, bound, most):
    """Two answers, or the characters of two."""
    monkeypatch.setattr(chat_batch, bound, most)
    with ChatServer(say=lambda given: "abc") as server:
        client = ChatClient(ChatSettings(servers=(server.url,)), "tiny")
        asking = ChatBatch(client, threads=1)
        for words in ("a", "b", "a", "c", "a", "b"):
            asking.outcomes([0], lambda row, words=words: [request(words)], UnpreparedError)
        asked = [payload["messages"][0]["content"] for payload in server.asked]
    assert asked == ["a", "b", "c", "b"]
