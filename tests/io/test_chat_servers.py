"""Which server takes a request, and how many; who brings servers down is tried alone."""

import asyncio
import threading
import time
from typing import Any

import pytest

from curation.core.errors import RunError
from curation.io import chat_client, chat_servers
from curation.io.chat_servers import Server, Servers
from tests.io.chat_server import ChatServer, words_of
from tests.io.test_chat_client import ask, client_of, expected, texts


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of a test are short."""
    monkeypatch.setattr(chat_client, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(chat_client, "_BACKOFF_LAST", 0.05)
    monkeypatch.setattr(chat_servers, "_PROBE_FIRST", 0.02)


def deadly(*numbers: int) -> Any:
    """A plan: these requests end all that are in flight with them."""
    return lambda given, seen: "crash" if int(words_of(given).split()[-1]) in numbers else "answer"


def test_requests_that_bring_a_server_down_cost_no_other_its_answer():
    bad = {3, 11, 12, 25, 31, 38}
    company: list[tuple[int, int]] = []

    def plan(given: dict[str, Any], seen: int) -> str:
        number = int(words_of(given).split()[-1])
        company.append((number, server.in_flight))
        return deadly(*bad)(given, seen)

    with ChatServer(plan, seconds=0.04) as server:
        found = ask(client_of(server.url, request_seconds=10.0), range(40))
    wanted = [None if n in bad else text for n, text in enumerate(expected(40))]
    assert texts(found) == wanted
    assert {found[n].error for n in bad} == {"failed_by_server"}
    for number in bad:
        last = [beside for asked, beside in company if asked == number][-2:]
        assert last == [1, 1]


def test_with_several_servers_the_others_go_on():
    with (
        ChatServer(deadly(5), seconds=0.03) as one,
        ChatServer(deadly(5), seconds=0.03) as other,
    ):
        found = ask(client_of(one.url, other.url, request_seconds=10.0), range(120))
    assert texts(found) == [None if n == 5 else text for n, text in enumerate(expected(120))]
    assert min(len(one.asked), len(other.asked)) > 30


def test_a_server_that_takes_a_moment_to_come_back_costs_no_other_its_answer():
    """Every one of many that want no company brings down a server that others have yet to ask."""
    bad, down = range(5, 15), [0.0]

    def plan(given: dict[str, Any], seen: int) -> str:
        if time.monotonic() < down[0]:
            return "reset"
        if int(words_of(given).split()[-1]) in bad:
            down[0] = time.monotonic() + 0.3
            server.canary = "reset"
            threading.Timer(0.3, setattr, (server, "canary", "answer")).start()
            return "crash"
        return "answer"

    with ChatServer(plan, seconds=0.02) as server:
        found = ask(client_of(server.url, request_seconds=10.0), range(40))
    assert texts(found) == [None if n in bad else text for n, text in enumerate(expected(40))]


def test_a_server_that_hangs_does_not_idle_another():
    """The other fails now and then, so that rows would rather have had the one that hangs."""

    def plan(given: dict[str, Any], seen: int) -> str:
        return "500" if seen == 1 and len(server.asked) % 4 == 3 else "answer"

    with ChatServer(plan, seconds=0.01) as server, ChatServer(lambda given, seen: "hang") as other:
        client = client_of(server.url, other.url, request_seconds=2.0, concurrency=4)
        start = time.monotonic()
        found = ask(client, range(120))
        took = time.monotonic() - start
    assert texts(found) == expected(120)
    assert took < 15  # five here; thirty and more where it idles


def test_a_server_that_is_back_has_the_time_of_an_answer():
    """Away for most of the outage, then at work on its first request when that is over."""

    async def alive(server: Server) -> bool:
        return True

    async def wait(answer_seconds: float) -> str:
        server = Server(url="one", most=4)
        servers = Servers([server], alive, 0.3, None, answer_seconds)
        servers.set_aside(server)
        taken = await servers.take()
        await asyncio.sleep(0.5)  # no answer yet
        servers.give_back(taken)
        try:
            return (await servers.take()).url
        finally:
            await servers.close()

    assert asyncio.run(wait(5.0)) == "one"
    with pytest.raises(RunError, match="no server has answered"):
        asyncio.run(wait(0.05))


async def _alive(server: Server) -> bool:
    return True


def _servers(*names: str) -> Servers:
    return Servers([Server(url=name, most=8) for name in names], _alive, outage_seconds=60)


async def _pending(task: "asyncio.Task[Any]") -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


def test_one_that_wants_no_company_waits_for_an_empty_server_and_is_not_joined():
    async def go() -> None:
        servers = _servers("only")
        first = await servers.take()
        alone = asyncio.create_task(servers.take(alone=True))
        assert await _pending(alone)
        late = asyncio.create_task(servers.take())
        assert await _pending(late)  # else an empty server might never come
        servers.give_back(first)
        assert not await _pending(alone) and await _pending(late)
        servers.give_back(alone.result())
        assert not await _pending(late)

    asyncio.run(go())


def test_those_that_want_no_company_share_one_server_and_leave_the_other():
    async def go() -> None:
        servers = _servers("one", "other")
        alone = [asyncio.create_task(servers.take(alone=True)) for _ in range(3)]
        assert [await _pending(task) for task in alone] == [False, True, True]
        free = [await servers.take() for _ in range(8)]
        assert {server.url for server in free} == {"other"}
        for task, following in zip(alone, [*alone[1:], None], strict=True):
            servers.give_back(task.result())
            assert following is None or not await _pending(following)
        assert (await servers.take()).url == "one"

    asyncio.run(go())


def test_one_that_gives_up_waiting_holds_nobody_up():
    async def go() -> None:
        servers = _servers("only")
        first = await servers.take()
        alone = asyncio.create_task(servers.take(alone=True))
        late = asyncio.create_task(servers.take())
        assert await _pending(alone) and await _pending(late)
        alone.cancel()
        assert not await _pending(late)
        servers.give_back(first)

    asyncio.run(go())


def test_a_late_answer_of_a_server_that_is_away_does_not_stop_the_clock():
    async def away(server: Server) -> bool:
        return False

    async def wait() -> None:
        server = Server(url="one", most=4)
        servers = Servers([server], away, outage_seconds=0.3)
        servers.set_aside(server)
        servers.note_life()
        try:
            await asyncio.wait_for(servers.take(), 5)
        finally:
            await servers.close()

    with pytest.raises(RunError, match="no server has answered"):
        asyncio.run(wait())


def test_a_probe_that_breaks_leaves_nobody_waiting():
    async def broken(server: Server) -> bool:
        raise ValueError("as planned")

    async def wait() -> None:
        server = Server(url="one", most=4)
        servers = Servers([server], broken, outage_seconds=60)
        servers.set_aside(server)
        await asyncio.wait_for(servers.take(), 5)

    with pytest.raises(RunError, match="as planned"):
        asyncio.run(wait())


def test_a_server_that_is_back_is_asked_as_at_first():
    """But for one request at a time: rows that always fail do not keep it away ever longer."""

    async def alive(server: Server) -> bool:
        return True

    async def fail_often() -> list[tuple[int, int, int]]:
        server = Server(url="one", most=16)
        servers = Servers([server], alive, outage_seconds=60)
        found = []
        for _ in range(2):
            assert [server.failed() for _ in range(3)] == [False, False, True]
            servers.set_aside(server)
            await asyncio.wait_for(servers.take(), 5)
            servers.give_back(server)
            found.append((server.faults, server.probes, server.room(0.0)))
        await servers.close()
        return found

    assert asyncio.run(fail_often()) == [(0, 0, 1)] * 2


def test_a_window_grows_with_answers_and_is_halved_once_for_what_was_sent_together():
    server = Server(url="", most=64)
    for _ in range(100):
        server.answered()
    assert server.window == 64
    for _ in range(10):
        server.overloaded(sent=1.0, now=2.0)
    assert server.window == 32
    server.overloaded(sent=2.5, now=3.0)
    assert server.window == 16
    for _ in range(16):
        server.answered()
    assert 16.9 < server.window < 17.1
