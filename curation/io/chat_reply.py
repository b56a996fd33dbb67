"""What a server's reply to a request is: an answer, or a fault and whose."""

import email.utils
import os
import time
from dataclasses import dataclass
from typing import Literal

import aiohttp

from curation.core.errors import RunError
from curation.io.chat_answer import Answer, BadAnswerError, parse_answer

DONE, FORBIDDEN = 200, 403
_WRONG_ADDRESS = (401, 402, FORBIDDEN, 404, 405, 407, 410)
"""No row is to blame: a key, an account, a path or the name of the model is wrong. A gateway also
forbids what it takes for an attack: then another request is done, and the row alone is refused."""
_RETRY_AFTER_MOST = 60.0

Kind = Literal["unreachable", "busy", "timeout", "failed", "content", "refused"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request has no answer."""

    kind: Kind
    words: str
    code: str = ""
    retry_after: float = 0.0
    finish: str | None = None
    dropped: bool = False
    """Whether the connection ended without an answer."""


def said_of(error: aiohttp.ClientError) -> str:
    """Why no connection came about, in the words of the system."""
    cause = getattr(error, "os_error", None)
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)
    return str(getattr(cause, "strerror", None) or error)


async def bounded(reply: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body; null, and the rest unread, where it is larger than `most` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > most:
            reply.close()
            return None
        parts.append(part)
    return b"".join(parts)


def judged(
    url: str, reply: aiohttp.ClientResponse, body: bytes | None, answered: bool
) -> Answer | Fault:
    """What a whole reply of the server at `url` says; `answered`: it has given answers before.

    Raises RunError where no request is to blame: a wrong address, key or model.
    """
    status = reply.status
    words = f"{url}: status {status}"
    if status == DONE:
        if reply.content_type == "text/html" and not answered:
            raise RunError(f"{url}: answers with a web page; check the address")
        if body is None:
            return Fault("content", f"{url}: an answer without end", "bad_answer")
        try:
            return parse_answer(body)
        except BadAnswerError as fault:
            return Fault("failed", f"{url}: {fault}", "bad_answer")
    if status == 429 or (status == 503 and "Retry-After" in reply.headers):
        return Fault("busy", words, "timeout", _retry_after(reply.headers.get("Retry-After", "")))
    if 300 <= status < 400:
        to = reply.headers.get("Location", "")[:200]
        raise RunError(f"{words}: it points elsewhere ({to!r}); name the address of the server")
    if status in _WRONG_ADDRESS:
        told = " ".join((body or b"")[:200].decode("utf-8", "replace").split())
        raise RunError(
            f"{words}: {told}; check the address, the model's name and the key (RECAPTION_API_KEY)"
        )
    if status >= 500 or status in (408, 425):
        return Fault("failed", words, "failed_by_server")
    return Fault("refused", words, "refused_by_server")


def _retry_after(said: str) -> float:
    """Seconds that a server wants to be left alone: a number or an HTTP date; a minute at most."""
    try:
        seconds = float(said)
    except ValueError:
        try:
            then = email.utils.parsedate_to_datetime(said)
            seconds = then.timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(_RETRY_AFTER_MOST, seconds) if seconds > 0 else 0.0
