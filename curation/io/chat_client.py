"""Asks OpenAI-compatible chat servers, many requests at a time, until each has its answer.

Faults of the way (a server that is away, restarts, is overloaded or answers nonsense) cost time and
tries, never an answer: what comes back is the same whenever it comes. Chance spreads retries in
time and decides nothing else.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from curation.core.errors import RunError, check_code
from curation.io.chat_answer import (
    CUT,
    FINISHED,
    Answer,
    BadAnswerError,
    First,
)
from curation.io.chat_outage import Outage
from curation.io.chat_reply import DONE, FORBIDDEN, Fault, bounded, judged, said_of
from curation.io.chat_servers import Server, Servers
from curation.io.chat_settings import ChatSettings, checked_url

_BACKOFF_FIRST, _BACKOFF_LAST = 0.25, 20.0
"""Seconds; the longest wait doubles with each fault from the first to the second."""
_CONNECT_SECONDS = 10.0
_PROBE_SECONDS = 10.0
_CRASHES = 3
"""That a request was part of; then it has a server for itself, to see whose fault it was."""
_CONTENT_TRIES = 3
"""For a whole answer of the wrong shape: at temperature 0 the model will not think again."""
_SLOW_SHARE = 0.5
"""Of a request's deadline: an answer that takes longer is a sign of overload."""
PROBE = [{"role": "user", "content": "Hello"}]
"""Messages of the request that asks a server whether it is back."""
_NO_RIVALS = (
    "a server gives no log-probabilities, which are all that is asked for; name one that does, as "
    "vLLM"
)


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One request, and how its answer is read."""

    payload: Mapping[str, Any]
    response_format: Mapping[str, Any] | None
    """Asked for where a server takes it."""
    read: Callable[[str], str]
    """What is wanted out of the model's words; raises BadAnswerError for what is not it."""
    rivals: int = 0
    """Asks for the log-probabilities of that many first tokens; then no answer is too short."""

    def body(self, *, guided: bool) -> bytes:
        """What is sent."""
        whole = dict(self.payload)
        if self.rivals:
            whole |= {"logprobs": True, "top_logprobs": self.rivals}
        if guided and self.response_format is not None:
            whole["response_format"] = self.response_format
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a request."""

    text: str | None = None
    finish: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    attempts: int = 0
    """Requests that reached a server."""
    first: First = ()
    """Probabilities of first tokens, where they were asked for."""
    error: str | None = None
    """A record error code; null where there is a text."""


class ChatClient:
    """What is learnt of the servers, kept while connections come and go with event loops."""

    def __init__(self, settings: ChatSettings, model: str, key: str = "") -> None:
        self.settings, self.model = settings, model
        roots = dict.fromkeys(checked_url(url) for url in settings.servers)
        self.servers = [Server(url=root, most=settings.concurrency) for root in roots]
        self.headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.lost_in_a_row = 0
        self.refused_at_first = 0
        self.answered = False
        self.rivals_given = False
        self.outage = Outage()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["ChatConnection"]:
        """Connections for requests of one event loop."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            headers=self.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a small body must not become a large one
        ) as session:
            connection = ChatConnection(self, session)
            try:
                yield connection
            finally:
                await connection.servers.close()


@dataclass
class _Tries:
    """What a request has cost so far."""

    sent: int = 0
    faults: int = 0
    content_faults: int = 0
    crashes: int = 0
    """Times that the server went down, or seemed to, with this and maybe others."""
    spent: float = 0.0
    waits: int = 0
    avoid: Server | None = field(default=None)


class ChatConnection:
    """Asks, on one event loop."""

    def __init__(self, client: ChatClient, session: aiohttp.ClientSession) -> None:
        self._client, self._settings, self._session = client, client.settings, session
        seconds = client.settings.outage_seconds
        self.servers = Servers(
            client.servers, self._probe, seconds, client.outage, client.settings.request_seconds
        )

    async def ask(self, request: ChatRequest) -> Outcome:
        """The answer, or the error code of a request that has none.

        Raises RunError where no request is to blame: servers that are all away for too long,
        refuse the key or the model's name, give no log-probabilities where they are asked for, or
        fail one request after the other.
        """
        tries = _Tries()
        while True:
            alone = tries.crashes >= _CRASHES
            server = await self.servers.take(tries.avoid, alone=alone)
            found = await self._try(server, request, tries)
            if isinstance(found, Outcome):
                self._client.lost_in_a_row = 0
                self._client.answered = True
                return found
            ended = self._ended(found, tries)
            if ended is not None:
                return ended
            await self._wait(server, found, tries)

    async def _try(self, server: Server, request: ChatRequest, tries: _Tries) -> Outcome | Fault:
        """One request; what it says of the server is noted."""
        loop = asyncio.get_running_loop()
        sent = loop.time()
        left = self._settings.sample_seconds - tries.spent
        seconds = max(0.01, min(self._settings.request_seconds, left))
        guided, alone = server.guided and request.response_format is not None, server.alone
        try:
            found = await self._post(server, request, guided, seconds)
            refused = isinstance(found, Fault) and found.kind == "refused"
            if guided and refused:
                tries.sent += 1
                found = await self._post(server, request, False, seconds)
                if not server.guides:  # else it was that which it refused, and refuses always
                    server.guided = isinstance(found, Fault)
        finally:
            now = loop.time()
            tries.spent += now - sent
            self.servers.give_back(server)
        if not isinstance(found, Fault):
            tries.sent += 1
            server.guides = server.guides or (guided and not refused)
            self._note_answer(server, sent, now)
            return self._read(server, request, found, tries)
        tries.sent += found.kind != "unreachable"
        self._note_fault(server, found, sent, now)
        if alone and found.kind == "failed":  # nothing else can have done it
            self.servers.set_aside(server)
        tries.crashes += found.dropped or (found.kind == "failed" and server.aside)
        return found

    def _read(
        self, server: Server, request: ChatRequest, answer: Answer, tries: _Tries
    ) -> Outcome | Fault:
        if request.rivals:
            if answer.first is None:
                raise RunError(f"{server.url}: {_NO_RIVALS}")
            self._client.rivals_given = True
        if answer.finish == CUT and not request.rivals:
            return Fault("refused", "answer cut", "cut_answer", finish=CUT)
        if answer.finish not in (FINISHED, CUT):
            said = f"the model ended with {answer.finish}"
            return Fault("refused", said, "refused_by_server", finish=answer.finish)
        try:
            text = request.read(answer.text)
        except BadAnswerError as fault:
            return Fault("content", str(fault), "bad_answer", finish=answer.finish)
        return Outcome(
            text=text,
            finish=answer.finish,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            attempts=tries.sent,
            first=answer.first or (),
        )

    def _note_answer(self, server: Server, sent: float, now: float) -> None:
        server.answered()
        self.servers.note_life()
        if now - sent > self._settings.request_seconds * _SLOW_SHARE:
            server.overloaded(sent, now)
        self.servers.wake()

    def _note_fault(self, server: Server, fault: Fault, sent: float, now: float) -> None:
        if fault.kind in ("busy", "timeout"):
            server.overloaded(sent, now)
        if fault.kind in ("busy", "refused", "content"):
            self.servers.note_life()
        if fault.retry_after:
            self.servers.pause(server, fault.retry_after)
        server.why = fault.words
        again_and_again = fault.kind in ("timeout", "failed") and server.failed()
        if fault.kind == "unreachable" or again_and_again:
            self.servers.set_aside(server)

    def _ended(self, fault: Fault, tries: _Tries) -> Outcome | None:
        """What a request ends with after a fault; null where it is tried again."""
        settings = self._settings
        tries.content_faults += fault.kind == "content"
        tries.faults += fault.kind in ("timeout", "failed")
        enough = (
            fault.kind == "refused"
            or tries.content_faults >= _CONTENT_TRIES
            or tries.faults >= settings.attempts
        )
        late = tries.spent + fault.retry_after >= settings.sample_seconds
        if not enough and not late:
            return None
        code = fault.code if enough else "timeout"
        if fault.kind in ("busy", "timeout", "failed"):
            self._client.lost_in_a_row += 1
            if self._client.lost_in_a_row >= settings.give_up:
                raise RunError(
                    f"{settings.give_up} samples in a row had no answer from the servers; the last "
                    f"one: {fault.words}; see to the servers and run the same command again"
                )
        else:
            self._client.lost_in_a_row = 0
            self._note_refusal(fault)
        return Outcome(finish=fault.finish, attempts=tries.sent, error=check_code(code))

    def _note_refusal(self, fault: Fault) -> None:
        """Raises RunError where nobody was ever given an answer: it is not the samples then."""
        self._client.refused_at_first += 1
        most = self._settings.give_up
        if not self._client.answered and self._client.refused_at_first >= most:
            raise RunError(
                f"none of the first {most} samples got an answer that is one; the last one: "
                f"{fault.words}; see to the servers and the prompt, and run the same command again"
            )

    async def _wait(self, server: Server, fault: Fault, tries: _Tries) -> None:
        """Before the next try: full jitter (Brooker 2015), so that retries do not come at once."""
        tries.avoid = server
        if fault.kind == "unreachable":  # nothing was asked; the servers know when to go on
            return
        tries.waits += 1
        longest = min(_BACKOFF_LAST, _BACKOFF_FIRST * 2.0**tries.waits)
        seconds = random.uniform(0, longest)  # noqa: S311 - decides when, never what
        tries.spent += max(seconds, fault.retry_after)
        await asyncio.sleep(seconds)

    async def _post(
        self, server: Server, request: ChatRequest, guided: bool, seconds: float
    ) -> Answer | Fault:
        """Sends one request. Raises RunError for a wrong address, key or model."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(
                    f"{server.url}/chat/completions",
                    data=request.body(guided=guided),
                    allow_redirects=False,
                ) as reply,
            ):
                body = await bounded(reply, self._settings.answer_bytes)
                refused = request.rivals and reply.status in (400, 422)
                if refused and not self._client.rivals_given and b"logprobs" in (body or b""):
                    raise RunError(f"{server.url}: {_NO_RIVALS}")
                if reply.status == FORBIDDEN and await self._word(server) == DONE:
                    return Fault("refused", f"{server.url}: status 403", "refused_by_server")
                return judged(server.url, reply, body, self._client.answered)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Fault("unreachable", f"{server.url}: {said_of(error)}")
        except TimeoutError:
            return Fault("timeout", f"{server.url}: no answer in {seconds:.0f} s", "timeout")
        except (aiohttp.ClientError, OSError) as error:
            said = f"{server.url}: {type(error).__name__} {error}".strip()
            return Fault("failed", said, "failed_by_server", dropped=True)

    async def _probe(self, server: Server) -> bool:
        """Whether the server completes one word; any answer but a fault of its own will do."""
        status = await self._word(server)
        return status is not None and status < 500

    async def _word(self, server: Server) -> int | None:
        """Status of a request for one word: many list their models while the engine is dead."""
        word = {"model": self._client.model, "messages": PROBE, "max_tokens": 1}
        try:
            async with (
                asyncio.timeout(_PROBE_SECONDS),
                self._session.post(
                    f"{server.url}/chat/completions", json=word, allow_redirects=False
                ) as reply,
            ):
                return reply.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
