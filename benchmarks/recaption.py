"""What `recaption` adds to its servers: captions a second against a bare loop of requests.

The server, a process of its own, reads a request and answers after a fixed time, as a model with
room for all that are in flight. The bare loop sends requests that were rendered before.
"""

import asyncio
import itertools
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import aiohttp
import pyarrow as pa
from aiohttp import web

from benchmarks.figure import REALDATA, Figure
from curation.core.operator import IMAGE
from curation.operators.vision_language.recaption import Recaption
from curation.operators.vision_language.recaption_request import Sampling, payload, picture

SECONDS = 0.5
"""Of an answer; a model of 9 billion parameters takes longer for a caption."""
CONCURRENCY = 32
ROWS = 512
"""About what a batch of photographs holds (64 MB)."""
ROUNDS = 3


def _serve(said: Connection, takes: float) -> None:
    answer = json.dumps(
        {
            "choices": [
                {"message": {"content": '{"caption": "a caption"}'}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
    )

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(takes)
        return web.Response(text=answer, content_type="application/json")

    async def run() -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        said.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def _server(takes: float = SECONDS) -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, takes))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _bare(url: str, bodies: list[bytes]) -> None:
    async def some(session: aiohttp.ClientSession, todo: Iterator[bytes]) -> None:
        for body in todo:
            async with session.post(f"{url}/v1/chat/completions", data=body) as reply:
                assert (await reply.json())["choices"]

    async def run() -> None:
        todo = iter(bodies)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(some(session, todo) for _ in range(CONCURRENCY)))

    asyncio.run(run())


def _measured(images: list[bytes], takes: float) -> dict[str, float]:
    """Seconds of the operator and of a bare loop, beside a server that takes so long an answer."""
    with _server(takes) as url:
        operator = Recaption(model="none", servers=(url,), floor="", concurrency=CONCURRENCY)
        opened = operator.open()
        template = operator.prompt.load()
        sampling = Sampling(model="none", temperature=0.0, seed=0, max_tokens=512)
        jpegs = [picture(image, operator.max_pixels, operator.image_side) for image in images]
        bodies = [
            json.dumps(payload(template, {"caption": f"row {n}"}, 4000, jpeg, sampling)).encode()
            for n, jpeg in enumerate(jpegs)
        ]
        seconds = dict.fromkeys(("operator", "bare"), float("inf"))
        for turn in range(ROUNDS + 1):  # by turns, so that another's load falls on both
            texts = [f"row {n} of turn {turn}" for n in range(ROWS)]  # answers are remembered
            columns = [pa.array(images, IMAGE.type), pa.array(texts)]
            batch = pa.RecordBatch.from_arrays(columns, ["image", "text"])
            start = time.perf_counter()
            made = opened(batch)
            middle = time.perf_counter()
            _bare(url, bodies)
            end = time.perf_counter()
            assert made["recaption"].null_count == 0
            if turn:  # the first one finds out how much the server takes
                seconds["operator"] = min(seconds["operator"], middle - start)
                seconds["bare"] = min(seconds["bare"], end - middle)
    return seconds


def figures() -> list[Figure]:
    """Captions a second of real pictures, decoded and encoded within the operator's time."""
    files = sorted((REALDATA / "pairs" / "images").glob("*.jpg"))
    images = [file.read_bytes() for file in itertools.islice(itertools.cycle(files), ROWS)]
    seconds = _measured(images, SECONDS)
    ratio = seconds["bare"] / seconds["operator"]
    rates = ", ".join(f"{name} {ROWS / spent:.1f}" for name, spent in seconds.items())
    at_once = _measured(images, 0.0)
    return [
        Figure(
            f"recaption, {CONCURRENCY} in flight, {SECONDS} s an answer, against a bare loop",
            f"{ratio:.2f}x ({rates} captions/s)",
            "at least 0.9x",
            ratio >= 0.9,
        ),
        Figure(
            "recaption, a server that answers at once: what one worker can keep busy, decoding and "
            "encoding on the cores that the server has too, against requests rendered before",
            f"{at_once['bare'] / at_once['operator']:.2f}x (operator "
            f"{ROWS / at_once['operator']:.1f}, bare {ROWS / at_once['bare']:.1f} captions/s)",
            "stated",
            True,
        ),
    ]
