"""Ctrl-C, or a scheduler's SIGTERM, while servers are waited for: the command ends at once, in one
line, and goes on later."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.media import batches
from curation.io.sources import SourceOptions
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.measure import measure
from jobs.image_text import recipe
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import write_pairs

STOPPED = "curate: stopped; run the same command again, it continues\n"
SECONDS = 60
"""Until a test gives up; all that is waited for comes in a few."""
SOON = 10
"""Seconds to end in; a tenth of one is enough on an idle machine, a worker's wait is minutes."""


@pytest.fixture
def corpus(tmp_path) -> Path:
    """18 samples in three shards, measured as far as `recaption` needs."""
    request = IngestRequest(
        source=str(write_pairs(tmp_path / "pairs", 18)), options=SourceOptions(shard_samples=6)
    )
    with LocalEngine(workers=0) as engine:
        made = ingest(request, str(tmp_path / "corpus"), engine, SILENT)
        for needed in ("image_probe", "caption_text"):
            measure(made, recipe().operators, engine, SILENT, needed)
    return tmp_path / "corpus"


def command(corpus: Path, server: str) -> list[str]:
    settings = ("recaption.model=tiny", f"recaption.servers={server}", "recaption.prompt=factual")
    asked = [word for setting in settings for word in ("--set", setting)]
    return [
        sys.executable, "-m", "curation", "measure", "recaption", str(corpus), "--workers", "2",
        *asked,
    ]  # fmt: skip


class Run:
    """A command in a group of processes of its own, as a terminal starts it."""

    def __init__(self, asked: list[str], errors: Path) -> None:
        self._errors = errors
        with errors.open("w") as file:
            self.process = subprocess.Popen(asked, stderr=file, start_new_session=True)

    @property
    def said(self) -> str:
        return self._errors.read_text()

    def wait_for(self, what: Callable[[], Any]) -> None:
        until = time.monotonic() + SECONDS
        while not what():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.02)

    def stop(self, send: Callable[[int, int], None], number: int = signal.SIGINT) -> int:
        """Exit code after one signal; checks that it comes soon and that nobody is left."""
        others = psutil.Process(self.process.pid).children(recursive=True)
        assert len(others) == 4  # two workers, what forks them, what counts semaphores
        send(self.process.pid, number)
        try:
            code = self.process.wait(SOON)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        _, left = psutil.wait_procs(others, SOON)
        assert not left
        return code


@pytest.mark.parametrize(
    ("send", "number", "code"),
    [
        (os.kill, signal.SIGINT, 130),
        (os.killpg, signal.SIGINT, 130),
        (os.kill, signal.SIGTERM, 143),
        (os.killpg, signal.SIGTERM, 143),
    ],
)
def test_one_signal_ends_a_run_whose_servers_are_all_away(corpus, tmp_path, send, number, code):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        run = Run(command(corpus, dead), tmp_path / "errors")
        away = f"no server answers ({dead}/v1: Connection refused); waiting up to 900 s\n"
        run.wait_for(lambda: run.said.count(away) == 2)
        assert run.stop(send, number) == code
    assert run.said == 2 * away + STOPPED


def test_what_was_committed_before_an_interrupt_stays(corpus, tmp_path):
    """The first shard is answered, all others hang; run again, only theirs are asked about."""
    first = {f"\n{text}\n" for text in texts(corpus, 0)}

    def plan(payload: dict[str, Any], seen: int) -> str:
        return "answer" if any(text in words_of(payload) for text in first) else "hang"

    with ChatServer(plan) as server:
        run = Run(command(corpus, server.url), tmp_path / "errors")
        run.wait_for(lambda: list(corpus.glob("layers/recaption-*/*.parquet")))
        run.wait_for(lambda: server.in_flight == 12)
        assert run.stop(os.kill) == 130
        assert run.said == STOPPED
        server.asked.clear()
        server.plan = lambda payload, seen: "answer"
        done = subprocess.run(
            command(corpus, server.url), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        assert len(server.asked) == 12
    assert "no errors" in done.stdout
    assert len(list(corpus.glob("layers/recaption-*/*.parquet"))) == 3


def texts(corpus: Path, shard: int) -> list[str]:
    store = open_corpus(str(corpus)).store
    return [t for b in batches(store, shard, images=False) for t in b["text"].to_pylist()]
