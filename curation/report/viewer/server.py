"""The web server: loopback, read-only, and a guard that every request passes.

A page of another site in the same browser can send requests to loopback. It is kept out by the
names that the server answers to (a rebound DNS name is not among them), by headers that keep
answers from being read or embedded elsewhere, and by a policy that runs no script but ours.
"""

import contextlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.core.errors import RunError, UsageError
from curation.report.viewer.answers import Answers

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

_OURS = "x-curate-view"
"""Header of a request that our own page makes."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """Lets a request through that only reads, names us as its host, and has the token if any.

    Only `/api/picture` takes something, a picture to search by, and only with a header that pages
    of other sites cannot send unasked.

    The token comes once, in the address that the command prints; from then on it is a cookie that
    scripts cannot read.
    """

    def __init__(self, app: App, *, hosts: frozenset[str], token: str, cookie: str) -> None:
        """`hosts` are the names we answer to, empty for any; an empty `token` asks for none."""
        self._app, self._hosts, self._token, self._cookie = app, hosts, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                extra = {**_HEADERS, "cache-control": "no-store"}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in extra.items()
                        if name.encode() not in said
                    ),
                ]
            await send(message)

        refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, guarded)

    def _refused(self, request: Request) -> Response | None:
        given = request.method == "POST" and request.url.path == "/api/picture"
        ours = request.headers.get(_OURS) == "yes"
        if request.method not in ("GET", "HEAD") and not (given and ours):
            return _plain("this server only shows", 405)
        name = _host_name(request.headers.get("host", ""))
        if self._hosts and name not in self._hosts:
            return _plain("this server does not answer to that name", 421)
        if not self._token or self._same(request.cookies.get(self._cookie, "")):
            return None
        token = parse_qs(request.url.query).get("token", [""])[0]
        if request.url.path != "/" or not self._same(token):
            return _plain("open the address that the command printed: it holds a token", 403)
        entered = Response(status_code=303, headers={"location": "/"})
        entered.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return entered

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def application(answers: Answers, *, hosts: frozenset[str], token: str, cookie: str) -> App:
    """The whole viewer as an ASGI application."""
    files = {
        f"/{file.relative_to(_STATIC).as_posix()}": file
        for file in sorted(_STATIC.rglob("*"))
        if file.suffix in _TYPES
    }
    routes = [Route(path, _file(file), methods=["GET"]) for path, file in files.items()]
    routes.append(Route("/", _file(_STATIC / "index.html"), methods=["GET"]))
    app = Starlette(routes=[*routes, *answers.routes()])
    return Guard(app, hosts=hosts, token=token, cookie=cookie)


def _file(file: Path) -> Callable[[Request], Response]:
    data, kind = file.read_bytes(), _TYPES[file.suffix]
    return lambda _: Response(data, headers={"content-type": kind, "cache-control": "no-cache"})


def _plain(text: str, code: int) -> Response:
    return Response(f"{text}\n", status_code=code, media_type="text/plain")


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].lower()


def serve(answers: Answers, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until interrupted; `say` is given each address to open.

    Raises UsageError for a host that cannot be, RunError for a port that is taken.
    """
    with _bound(host, port) as listening:
        bound, port = listening.getsockname()[:2]
        own = ipaddress.ip_address(bound.partition("%")[0])
        loopback = own.is_loopback
        token = "" if loopback else secrets.token_urlsafe(24)
        names = frozenset({"127.0.0.1", "localhost", "::1", host.lower()})
        app = application(
            answers,
            hosts=names if loopback else frozenset(),
            token=token,
            cookie=f"curate-view-{port}",
        )
        for name in own_names(own.version) if own.is_unspecified else [host]:
            shown = f"[{name}]" if ":" in name else name
            say(f"http://{shown}:{port}/{f'?token={token}' if token else ''}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        _Server(config, answers.close).run(sockets=[listening])


def own_names(version: int) -> list[str]:
    """Addresses and name by which other machines may know this one; loopback where it has none.

    `version` of IP that is listened to: 6 takes both.
    """
    found = []
    for family, outside in list(_OUTSIDE.items())[: 2 if version == 6 else 1]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))  # sends nothing; it only chooses the way out
            found.append(str(probe.getsockname()[0]))
    away = [name for name in found if not ipaddress.ip_address(name).is_loopback]
    return [*away, socket.gethostname()] if away else ["127.0.0.1"]


_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): nobody has them."""


class _Server(uvicorn.Server):
    """Ends long work when it is told to stop: it would wait for the answer otherwise."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close()
        await super().shutdown(sockets)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"--host {host} --port {port}: not an address of this machine") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise RunError(f"{host}:{port} is taken or not ours; choose another --port") from error
    return listening
