"""A real HTTP server on this machine that speaks chat completions, well or badly."""

import asyncio
import hashlib
import json
import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from curation.io.chat_client import PROBE

Plan = Callable[[dict[str, Any], int], str]
"""What is done with a request that is seen for the nth time (from 1): a key of `ChatServer.DO`,
`429`, `429:SECONDS` or another status."""

LONG = 1 << 20


def well(payload: dict[str, Any], seen: int) -> str:
    return "answer"


def words_of(payload: dict[str, Any]) -> str:
    """The user's message, without pictures."""
    content = payload["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def caption_of(payload: dict[str, Any]) -> str:
    """The caption that every server here gives for a request: a function of its messages."""
    said = json.dumps(payload["messages"], sort_keys=True).encode()
    return f"a caption named {hashlib.sha256(said).hexdigest()[:12]}"


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    return {
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7},
    }


Judge = Callable[[dict[str, Any]], tuple[float, float]]
"""How probable `yes` and `no` are as the answer to a request that asks for log-probabilities."""


def judged(yes: float, no: float) -> dict[str, Any]:
    """A completion of one token, in the spellings that a tokenizer has for both words."""
    shares = {"Yes": 0.5 * yes, " yes": 0.25 * yes, "YES": 0.25 * yes, "no": 0.5 * no}
    shares |= {" No": 0.5 * no, "The": max(0.0, 1 - yes - no)}
    rivals = [{"token": t, "logprob": math.log(p)} for t, p in shares.items() if p > 0]
    first = {"token": "yes" if yes > no else "no", "logprob": -1.0, "top_logprobs": rivals}
    whole = completion(first["token"], "length")
    whole["choices"][0]["logprobs"] = {"content": [first]}
    return whole


class ChatServer:
    """Serves on a free port of the loopback for as long as the context lasts."""

    def __init__(
        self,
        plan: Plan = well,
        *,
        seconds: float = 0.0,
        port: int = 0,
        models: tuple[str, ...] = ("tiny",),
        say: Callable[[dict[str, Any]], str] = caption_of,
        judge: Judge | None = None,
    ) -> None:
        self._judge = judge
        self.plan, self.seconds, self.models, self._say = plan, seconds, models, say
        self.port = port
        self.asked: list[dict[str, Any]] = []
        """Payloads in the order they came."""
        self.seen: Counter[str] = Counter()
        """Requests by their messages."""
        self.in_flight = self.most_in_flight = self.probes = 0
        self._connections: set[asyncio.Transport] = set()
        self.canary = "answer"
        """What is done with a request that only asks whether the server is back."""
        self.headers: list[dict[str, str]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        payload = await request.json()
        if payload["messages"] == PROBE:
            self.probes += 1
            return await self._do(self.canary, payload, request)
        name = json.dumps(payload["messages"], sort_keys=True)
        self.asked.append(payload)
        self.headers.append(dict(request.headers))
        self.seen[name] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        assert request.transport is not None
        self._connections.add(request.transport)
        try:
            return await self._do(self.plan(payload, self.seen[name]), payload, request)
        finally:
            self.in_flight -= 1
            self._connections.discard(request.transport)

    async def _do(
        self, what: str, payload: dict[str, Any], request: web.Request
    ) -> web.StreamResponse:
        if what.startswith("429"):
            wait = what.partition(":")[2]
            return web.Response(status=429, headers={"Retry-After": wait} if wait else {})
        if what.isdigit():
            return web.json_response({"error": "as planned"}, status=int(what))
        if what == "hang":
            await asyncio.sleep(3600)
        if what == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if what == "crash":  # whatever is in flight gets no answer
            await asyncio.sleep(self.seconds / 2)
            for connection in tuple(self._connections):
                connection.abort()
            return web.Response()
        if what == "cut off":  # the body ends before its stated length
            reply = web.StreamResponse(headers={"Content-Length": "1000"})
            await reply.prepare(request)
            await reply.write(b'{"choices": [{"mess')
            assert request.transport is not None
            request.transport.close()
            return reply
        await asyncio.sleep(self.seconds)
        if what == "no logprobs":
            said = {"error": {"message": "logprobs is not supported"}}
            return web.json_response(said, status=400)
        if what == "answer" and payload.get("logprobs") and self._judge is not None:
            return web.json_response(judged(*self._judge(payload)))
        guided = "response_format" in payload
        text = json.dumps({"caption": self._say(payload)})
        bodies = {
            "answer": json.dumps(completion(text)),
            "half": '{"choices": [{"message": {"content": "a capt',
            "schema": json.dumps({"error": {"message": "busy"}}),
            "choices": json.dumps({**completion(text), "choices": []}),
            "surrogate": json.dumps(completion('{"caption": "\\ud800"}')),
            "words": json.dumps(completion("Here is your caption!")),
            "keys": json.dumps(completion('{"caption": "a", "system": "b"}')),
            "number": json.dumps(completion('{"caption": 7}')),
            "empty": json.dumps(completion('{"caption": "  "}')),
            "long": json.dumps(completion("x" * LONG)),
            "deep": "[" * 100_000,
            "cut": json.dumps(completion('{"caption": "a ca', "length")),
            "page": "<html>It works!</html>",
            "filter": json.dumps(completion("", "content_filter")),
        }
        if what == "plain only":
            if guided:
                return web.json_response({"error": "no response_format"}, status=400)
            what = "answer"
        kind = "text/html" if what == "page" else "application/json"
        return web.Response(text=bodies[what], content_type=kind)
