"""What is said while servers are away: real sockets, a line each way, nothing of a short break."""

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from curation.core.errors import RunError
from curation.io import chat_client, chat_servers
from curation.io.chat_client import ChatClient, ChatRequest, Outcome
from curation.io.chat_outage import Outage
from curation.io.chat_settings import ChatSettings
from tests.io.chat_server import ChatServer

BACK = "a server answers again; the run goes on"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of a test are short."""
    monkeypatch.setattr(chat_client, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(chat_servers, "_PROBE_FIRST", 0.05)
    monkeypatch.setattr(chat_servers, "_PROBE_LAST", 0.1)
    monkeypatch.setattr(chat_servers, "_TOLD_AFTER", 0.2)


@pytest.fixture
def port() -> Iterator[int]:
    """One where nobody listens."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        number = asked.getsockname()[1]
    yield number


def client_of(*urls: str, outage_seconds: float = 30.0) -> ChatClient:
    return ChatClient(ChatSettings(servers=urls, outage_seconds=outage_seconds), "tiny")


def ask(client: ChatClient, count: int) -> list[Outcome]:
    async def all_of_them() -> list[Outcome]:
        async with client.connected() as connection:
            return await asyncio.gather(*(connection.ask(request(n)) for n in range(count)))

    return asyncio.run(all_of_them())


def request(number: int) -> ChatRequest:
    payload = {"model": "tiny", "messages": [{"role": "user", "content": f"request {number}"}]}
    return ChatRequest(payload=payload, response_format=None, read=str)


def test_all_that_are_away_are_named_once_with_how_long_they_are_waited_for(port, capsys):
    urls = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    with pytest.raises(RunError, match="no server has answered for 1 s"):
        ask(client_of(*urls, outage_seconds=0.8), 20)
    assert capsys.readouterr().err == (
        f"no server answers ({urls[0]}/v1: Connection refused; "
        f"{urls[1]}/v1: Connection refused); waiting up to 1 s\n"
    )


def test_a_server_that_comes_is_told_once_and_each_row_has_its_answer(port, capsys):
    client = client_of(f"http://127.0.0.1:{port}")
    done: list[list[Outcome]] = []
    asking = threading.Thread(target=lambda: done.append(ask(client, 20)))
    asking.start()
    time.sleep(0.5)
    with ChatServer(port=port):
        asking.join(20)
    assert [outcome.error for outcome in done[0]] == [None] * 20
    assert {outcome.attempts for outcome in done[0]} == {1}
    away, back = capsys.readouterr().err.splitlines()
    why = f"http://127.0.0.1:{port}/v1: Connection refused"
    assert away == f"no server answers ({why}); waiting up to 30 s"
    assert back == BACK


def test_a_second_outage_is_told_too(capsys):
    outage = Outage()
    for _ in range(2):
        outage.end()
        outage.begin(["http://a/v1"], 900)
        outage.begin(["http://a/v1"], 900)
        outage.end()
    away = "no server answers (http://a/v1); waiting up to 900 s"
    assert capsys.readouterr().err.splitlines() == [away, BACK, away, BACK]


def test_a_short_break_and_a_server_of_two_are_no_news(port, monkeypatch, capsys):
    with ChatServer() as server:
        assert ask(client_of(f"http://127.0.0.1:{port}", server.url), 20)
    monkeypatch.setattr(chat_servers, "_TOLD_AFTER", 5)
    client = client_of(f"http://127.0.0.1:{port}")
    asking = threading.Thread(target=ask, args=(client, 5))
    asking.start()
    time.sleep(0.3)
    with ChatServer(port=port):
        asking.join(20)
        assert not asking.is_alive()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_line_takes_the_place_of_the_progress_bar(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        Outage().begin(["http://a/v1"], 900)
        seen = os.read(ours, 1000)
    os.close(ours)
    assert seen.startswith(b"\r\x1b[2Kno server answers")
    assert seen.endswith(b"s\r\n")


def test_a_reader_that_is_gone_stops_nothing(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    pipe = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stderr", pipe)
    Outage().begin(["http://a/v1"], 900)
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError):  # what it could not write was kept
        pipe.close()
