"""A small corpus whose captions are hostile, and requests to a viewer of it without a socket."""

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from curation.report.viewer.answers import Answers
from curation.report.viewer.server import App, application
from curation.report.viewer.view import View, open_view
from tests.io.chat_server import ChatServer
from tests.pipeline.corpora import curate, picture, write_pairs

SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> a red barn"
MIRRORED = "a cat \u202egnp.exe\u202c and \u2066a dog by the sea"
TOLD = (
    "Here is the caption. A painting of a boat in Lisbon. "
    "<img src=x onerror='window.hacked = 3'> by the sea \u202egnp.exe"
)
"""What the server of `recaptioned_corpus` says of every picture."""
LONG = "a very long story of a lantern, " * 32_000
"""A megabyte."""


def hostile_source(folder: Path) -> Path:
    """16 pairs: 1 a script, 2 turns direction, 3 a megabyte, 4 small, 5 like 6, 7 unreadable."""
    write_pairs(folder, 16)
    images = folder / "images"
    picture(4, (190, 180)).save(images / "4.jpg")
    picture(5).resize((520, 480)).save(images / "6.jpg", quality=90)
    (images / "7.jpg").write_bytes(b"")
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    for n, text in {1: SCRIPT, 2: MIRRORED, 3: LONG}.items():
        lines[n]["text"] = text
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def hostile_corpus(folder: Path, *settings: str) -> Path:
    """A run over `hostile_source`, whose long caption and HTML it keeps; five samples a shard."""
    source = hostile_source(folder / "source")
    kept = (*settings, "heuristics.long_caption=2e6", "heuristics.html_tag=9", "heuristics.html=9",
            "heuristics.repetition=1", "heuristics.symbols=1")  # fmt: skip
    curate(source, folder / "out", *kept, shard_samples=5)
    return folder / "out"


def recaptioned_corpus(folder: Path) -> Path:
    """`hostile_corpus` with a new caption, TOLD, for every sample."""
    with ChatServer(say=lambda _: TOLD) as server:
        named = ("recaption.model=tiny", f"recaption.servers={server.url}", "recaption.floor=")
        return hostile_corpus(folder, *named)


def viewer(*views: View, token: str = "", hosts: frozenset[str] = frozenset({"localhost"})) -> App:
    """The application over one view, or two."""
    named = dict(zip("ab", views, strict=False))
    return application(Answers(views=named), hosts=hosts, token=token, cookie="seen")


def get(
    app: App, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    sent: list[MutableMapping[str, Any]] = []
    given = {"host": "localhost:8765", **headers}
    where, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": where, "raw_path": where.encode(), "root_path": "",
        "query_string": query.encode(), "server": ("localhost", 8765), "client": ("localhost", 1),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    raw = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return int(sent[0]["status"]), raw, body


def asked(app: App, path: str) -> Any:
    """The JSON of an answer that went well."""
    code, _, body = get(app, f"/api/{path}")
    assert code == 200, body
    return json.loads(body)


def view_of(path: Path) -> View:
    return open_view(str(path))
