"""How chat servers are asked, and where they are; says it without a connection."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from curation.core.errors import UsageError

GIVE_UP = 32
"""Samples in a row without an answer that tell of the servers rather than of themselves."""

_MOST_SECONDS = 1e9
"""Thirty years: clocks of event loops count no further."""


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """How to ask; nothing here changes an answer."""

    servers: tuple[str, ...]
    """Addresses, as http://gpu1:8000, with or without /v1."""
    concurrency: int = 64
    """Requests that a server is given at a time at most, by each process that asks."""
    request_seconds: float = 120.0
    """After which a request is given up and tried again."""
    sample_seconds: float = 600.0
    """For all tries of a sample; waiting while no server is there does not count."""
    outage_seconds: float = 900.0
    """Without any server, after which the run ends."""
    attempts: int = 5
    """Faults of one sample, after which it has an error."""
    give_up: int = GIVE_UP
    """Samples in a row that end in a fault of the servers, after which the run ends."""
    answer_bytes: int = 256 << 10
    """Of an answer; a longer one is none."""

    def __post_init__(self) -> None:
        for url in self.servers:
            checked_url(url)
        for name in ("concurrency", "attempts", "give_up", "answer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("request_seconds", "sample_seconds", "outage_seconds"):
            if not 0 < getattr(self, name) <= _MOST_SECONDS:
                raise ValueError(
                    f"{name} must be above 0 and at most {_MOST_SECONDS:.0f}, got "
                    f"{getattr(self, name)}"
                )


_KEY_VARIABLE = "RECAPTION_API_KEY"


def key() -> str:
    """Key of the servers, from the environment; a secret belongs into no recipe.

    Raises UsageError for one that no header can hold.
    """
    given = os.environ.get(_KEY_VARIABLE, "").strip()
    if not (given.isascii() and given.isprintable()):
        raise UsageError(f"{_KEY_VARIABLE} holds a character that no key has; set it anew")
    return given


def checked_url(url: str) -> str:
    """The root of a server's API, with /v1. Raises ValueError for what is no http address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if good and parts.username is not None:
        raise ValueError(
            f"a server's address holds no name or password; put its key into {_KEY_VARIABLE}"
        )
    if not good or parts.query or parts.fragment or any(map(str.isspace, url)):
        raise ValueError(f"a server is written as http://host:port, got {url!r}")
    root = url.rstrip("/").removesuffix("/chat/completions")
    return root if root.endswith("/v1") else f"{root}/v1"
