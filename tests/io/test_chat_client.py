"""Requests against a real server that misbehaves: answers are those of one that does not."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from curation.core.errors import ERROR_CODES, RunError, UsageError
from curation.io import chat_client, chat_servers
from curation.io.chat_answer import (
    BadAnswerError,
    named_string,
    parse_answer,
    string_schema,
)
from curation.io.chat_client import ChatClient, ChatRequest, Outcome
from curation.io.chat_models import served_model
from curation.io.chat_reply import _retry_after
from curation.io.chat_settings import ChatSettings, checked_url, key
from curation.operators.vision_language.recaption import Recaption
from tests.io.chat_server import ChatServer, caption_of, completion, well, words_of


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits of a test are short."""
    monkeypatch.setattr(chat_client, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(chat_client, "_BACKOFF_LAST", 0.1)
    monkeypatch.setattr(chat_servers, "_PROBE_FIRST", 0.05)
    monkeypatch.setattr(chat_servers, "_PROBE_LAST", 0.2)


def payload(number: int) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": f"request {number}"}]}


def request(number: int) -> ChatRequest:
    return ChatRequest(
        payload=payload(number),
        response_format=string_schema("caption"),
        read=lambda text: named_string(text, "caption"),
    )


def settings(*servers: str, **changed: Any) -> ChatSettings:
    given = {"request_seconds": 0.4, "sample_seconds": 20.0, "outage_seconds": 10.0, **changed}
    return ChatSettings(servers=servers, **given)


def client_of(*servers: str, **changed: Any) -> ChatClient:
    return ChatClient(settings(*servers, **changed), "tiny")


def ask(client: ChatClient, numbers: Iterable[int]) -> list[Outcome]:
    async def all_of_them() -> list[Outcome]:
        async with client.connected() as connection:
            return await asyncio.gather(*(connection.ask(request(n)) for n in numbers))

    return asyncio.run(all_of_them())


def texts(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.text for outcome in outcomes]


def expected(count: int) -> list[str]:
    return [caption_of(payload(number)) for number in range(count)]


@pytest.mark.parametrize(
    "fault",
    ["500", "502", "503", "hang", "half", "schema", "choices", "reset", "cut off", "429", "429:0",
     "429:1", "long", "deep", "words", "keys", "number", "empty", "surrogate", "plain only"],
)  # fmt: skip
def test_a_fault_that_passes_changes_no_answer(fault):
    def first_of_some(given: dict[str, Any], seen: int) -> str:
        number = int(given["messages"][0]["content"].split()[1])
        return fault if number % 3 == 0 and seen == 1 else "answer"

    patience = 1.0 if fault == "hang" else 10.0  # a busy machine is no fault
    with ChatServer(first_of_some) as server:
        found = ask(client_of(server.url, request_seconds=patience), range(12))
        assert texts(found) == expected(12)
        assert [o.error for o in found] == [None] * 12
        assert {o.attempts for o in found[::3]} == {2}
        assert {o.attempts for n, o in enumerate(found) if n % 3} == {1}
        assert (found[0].finish, found[0].tokens_in, found[0].tokens_out) == ("stop", 100, 7)


@pytest.mark.parametrize(
    ("fault", "error", "asked"),
    [
        ("500", "failed_by_server", 3),
        ("reset", "failed_by_server", 3),
        ("cut off", "failed_by_server", 3),
        ("half", "bad_answer", 3),
        ("schema", "bad_answer", 3),
        ("hang", "timeout", 3),
        ("long", "bad_answer", 3),
        ("words", "bad_answer", 3),
        ("surrogate", "bad_answer", 3),
        ("cut", "cut_answer", 1),
        ("filter", "refused_by_server", 1),
        ("400", "refused_by_server", 2),
    ],
)
def test_a_fault_that_stays_is_an_error_of_its_request_alone(fault, error, asked):
    def one(given: dict[str, Any], seen: int) -> str:
        return fault if given["messages"][0]["content"] == "request 1" else "answer"

    with ChatServer(one) as server:
        found = ask(client_of(server.url, attempts=3), range(3))
    assert [o.error for o in found] == [None, error, None]
    assert error in ERROR_CODES
    assert found[1].text is None
    assert found[1].attempts == asked
    assert texts(found)[::2] == expected(3)[::2]


def test_no_answer_may_be_without_end():
    with ChatServer(lambda given, seen: "long") as server:
        (found,) = ask(client_of(server.url, answer_bytes=1000), [0])
    assert found.error == "bad_answer"


def test_a_request_that_is_always_put_off_ends_with_its_time():
    with ChatServer(lambda given, seen: "429:30") as server:
        start = time.monotonic()
        (found,) = ask(client_of(server.url, sample_seconds=0.5), [0])
        assert time.monotonic() - start < 5
    assert found.error == "timeout"


def test_retry_after_is_honoured():
    with ChatServer(lambda given, seen: "429:1" if seen == 1 else "answer") as server:
        start = time.monotonic()
        (found,) = ask(client_of(server.url), [0])
    assert found.text == caption_of(payload(0))
    assert time.monotonic() - start >= 1


def test_retry_after_is_a_number_or_a_date_and_a_minute_at_most():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20))
    assert 15 < _retry_after(soon) <= 20
    assert _retry_after("2.5") == 2.5
    assert _retry_after("1e9") == 60
    for said in ("", "soon", "-3", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "1" * 5000):
        assert 0 <= _retry_after(said) <= 60


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_dead_server_of_two_costs_no_answer():
    with ChatServer() as server:
        dead = f"http://127.0.0.1:{free_port()}"
        found = ask(client_of(dead, server.url), range(40))
        assert texts(found) == expected(40)
        assert len(server.asked) == 40
        assert {o.attempts for o in found} == {1}


def test_a_server_of_two_that_only_fails_is_set_aside():
    with ChatServer() as good, ChatServer(lambda given, seen: "500") as bad:
        bad.canary = "500"
        client = client_of(bad.url, good.url)
        found = ask(client, range(60))
        assert texts(found) == expected(60)
        assert len(bad.asked) <= 16
        assert bad.probes


def test_requests_are_balanced():
    with ChatServer(seconds=0.01) as one, ChatServer(seconds=0.01) as other:
        found = ask(client_of(one.url, other.url), range(100))
        assert texts(found) == expected(100)
        assert 30 <= len(one.asked) <= 70


def test_a_server_that_starts_again_is_waited_for():
    port = free_port()
    done: list[list[Outcome]] = []
    client = client_of(f"http://127.0.0.1:{port}", concurrency=4)
    with ChatServer(port=port, seconds=0.05) as first:
        asking = threading.Thread(target=lambda: done.append(ask(client, range(60))))
        asking.start()
        while len(first.asked) < 20:
            time.sleep(0.01)
    time.sleep(0.3)
    with ChatServer(port=port) as second:
        asking.join(20)
        assert second.asked
    assert texts(done[0]) == expected(60)
    assert max(o.attempts for o in done[0]) <= 3


def test_without_any_server_the_run_ends_in_one_line():
    dead = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RunError, match="no server has answered for 0 s") as fault:
        ask(client_of(dead, outage_seconds=0.3), range(3))
    assert dead in str(fault.value)


def test_a_server_that_is_up_but_completes_nothing_is_away_and_no_row_is_to_blame():
    with ChatServer(lambda given, seen: "500" if len(server.asked) <= 8 else "answer") as server:
        server.canary = "500"
        done: list[list[Outcome]] = []
        asking = threading.Thread(target=lambda: done.append(ask(client_of(server.url), range(9))))
        asking.start()
        while server.probes < 3:
            time.sleep(0.01)
        server.canary = "answer"
        asking.join(20)
    assert texts(done[0]) == expected(9)
    assert max(o.attempts for o in done[0]) <= 3


def test_rows_that_always_fail_cost_themselves_alone():
    def fails(given, seen):
        return "500" if int(words_of(given).split()[-1]) % 3 == 0 else well(given, seen)

    with ChatServer(fails) as server:
        found = ask(client_of(server.url, attempts=3), range(60))
    errors = [outcome.error for outcome in found]
    assert errors == ["failed_by_server" if n % 3 == 0 else None for n in range(60)]


def test_servers_that_answer_nothing_but_faults_end_the_run():
    with (
        ChatServer(lambda given, seen: "500") as server,
        pytest.raises(RunError, match=r"in a row had no answer.*status 500"),
    ):
        ask(client_of(server.url, attempts=1, give_up=4), range(50))


@pytest.mark.parametrize("how", ["400", "words"])
def test_servers_that_have_no_answer_for_anybody_end_the_run(how):
    """As a server does that was started with too little room, or another chat template."""
    with (
        ChatServer(lambda given, seen: how) as server,
        pytest.raises(RunError, match="none of the first 4 samples got an answer that is one"),
    ):
        ask(client_of(server.url, give_up=4), range(50))


def test_refusals_behind_an_answer_cost_their_samples_alone():
    with ChatServer(lambda given, seen: "400" if server.asked[1:] else "answer") as server:
        client = client_of(server.url, give_up=4)
        first, *others = ask(client, range(1)) + ask(client, range(1, 12))
    assert first.error is None
    assert {outcome.error for outcome in others} == {"refused_by_server"}


@pytest.mark.parametrize("status", ["401", "402", "403", "404", "405", "407", "410"])
def test_a_wrong_key_or_model_ends_the_run(status):
    with (
        ChatServer(lambda given, seen: status) as server,
        pytest.raises(RunError, match=f"status {status}.*as planned.*model's name"),
    ):
        server.canary = status
        ask(client_of(server.url), range(3))


@pytest.mark.parametrize("status", ["301", "302", "307"])
def test_a_server_that_points_elsewhere_ends_the_run_whenever_it_does(status):
    """An expired login, a moved service: no row is to blame, and none is lost."""
    with (
        ChatServer(lambda given, seen: status if len(server.asked) > 3 else "answer") as server,
        pytest.raises(RunError, match=f"status {status}: it points elsewhere"),
    ):
        ask(client_of(server.url, concurrency=1), range(9))


def test_a_stray_refusal_does_not_end_guided_answers():
    with ChatServer(lambda given, seen: "400" if len(server.asked) == 4 else "answer") as server:
        found = ask(client_of(server.url, concurrency=1), range(9))
    assert texts(found) == expected(9)
    guided = ["response_format" in given for given in server.asked]
    assert guided == [True] * 4 + [False] + [True] * 5


def test_a_web_page_for_an_answer_ends_the_run_at_once_unless_there_were_answers():
    with ChatServer(lambda given, seen: "page") as server:
        with pytest.raises(RunError, match=r"/v1: answers with a web page; check the address"):
            ask(client_of(server.url, concurrency=1), range(50))
        assert len(server.asked) < 5  # the second may be under way
    with ChatServer(lambda given, seen: "page" if len(server.asked) == 2 else "answer") as server:
        found = ask(client_of(server.url, concurrency=1), range(4))
    assert texts(found) == expected(4)


def test_what_a_gateway_forbids_of_one_row_costs_that_row():
    def forbids(given, seen):
        return "403" if "request 0" in words_of(given) else well(given, seen)

    with ChatServer(forbids) as server:
        found = ask(client_of(server.url, concurrency=1), range(4))
    assert [outcome.error for outcome in found] == ["refused_by_server", None, None, None]
    assert texts(found)[1:] == expected(4)[1:]


def test_the_key_travels_as_a_header():
    with ChatServer() as server:
        ask(ChatClient(settings(server.url), "tiny", "sesame"), [0])
        assert server.headers[0]["Authorization"] == "Bearer sesame"
        assert "sesame" not in str(server.asked)


def test_a_server_that_cannot_guide_is_asked_plainly_from_then_on():
    with ChatServer(lambda given, seen: "plain only") as server:
        client = client_of(server.url, concurrency=1)
        found = ask(client, range(5))
        assert texts(found) == expected(5)
        assert ["response_format" in asked for asked in server.asked] == [True] + [False] * 5


def test_a_server_never_has_more_than_it_is_given():
    with ChatServer(seconds=0.02) as server:
        ask(client_of(server.url, concurrency=5), range(40))
        assert 4 <= server.most_in_flight <= 5


def test_a_server_that_says_when_it_has_enough_is_given_less():
    """It takes 6 at a time and puts off the rest; the window settles around that."""
    with ChatServer(seconds=0.02) as server:
        server.plan = lambda given, seen: "429" if server.in_flight > 6 else "answer"
        client = client_of(server.url, concurrency=64)
        found = ask(client, range(150))
        assert texts(found) == expected(150)
        assert client.servers[0].window < 14


def test_chance_decides_no_answer():
    def every_other(given: dict[str, Any], seen: int) -> str:
        return "500" if seen == 1 else "answer"

    found = []
    for seed in (1, 2):
        random.seed(seed)
        with ChatServer(every_other) as server:
            found.append(ask(client_of(server.url), range(6)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "url",
    ["", "gpu1:8000", "ftp://gpu1", "http://", "http://gpu1/?a=1", "http://gpu1:99999",
     "file:///etc/passwd", "http://a b:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match="http://host:port"):
        checked_url(url)


def test_an_address_with_a_password_is_refused_without_telling_it():
    with pytest.raises(ValueError, match="RECAPTION_API_KEY") as told:
        checked_url("http://me:secret@gpu1:8000")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/chat/completions"])
def test_an_address_is_read_with_or_without_its_path(path):
    assert checked_url(f"http://gpu1:8000{path}") == "http://gpu1:8000/v1"


def test_a_key_loses_the_line_feed_of_its_file(monkeypatch):
    monkeypatch.setenv("RECAPTION_API_KEY", "abc-123\n")
    assert key() == "abc-123"


@pytest.mark.parametrize("given", ["ab\ncd", "ab\x7f", "☃"])
def test_a_key_that_no_header_can_hold_is_refused_without_telling_it(monkeypatch, given):
    monkeypatch.setenv("RECAPTION_API_KEY", given)
    with pytest.raises(UsageError, match="RECAPTION_API_KEY holds a character") as told:
        Recaption(servers=("http://127.0.0.1:9",), model="tiny")
    assert given not in str(told.value)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"\xff", b'{"choices": [7]}', b"1" * 9999, b"[" * 99_999]
)
def test_bytes_that_are_no_completion_are_no_answer(body):
    with pytest.raises(BadAnswerError):
        parse_answer(body)


def test_what_a_model_thought_is_no_part_of_its_answer():
    text = '<think>\nA cat? {"caption": "no"}\n</think>\n{"caption": "a cat"}'
    answer = parse_answer(json.dumps(completion(text)).encode())
    assert named_string(answer.text, "caption") == "a cat"


def test_an_object_may_stand_in_a_fence():
    assert named_string('```json\n{"caption": "a cat"}\n```', "caption") == "a cat"


def test_the_model_is_named_by_its_servers():
    served_model.cache_clear()
    dead = f"http://127.0.0.1:{free_port()}"
    with ChatServer(models=("one",)) as server, ChatServer(models=("two",)) as other:
        assert served_model((dead, server.url)) == "one"
        with pytest.raises(UsageError, match="name one of them: one, two"):
            served_model((server.url, other.url))
    with pytest.raises(UsageError, match="no server says which model"):
        served_model((dead,))
