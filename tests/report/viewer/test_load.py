"""A million rows, and fifty people at once."""

import http.client
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pipeline.corpora import curate, write_pairs
from tests.report.viewer.corpora import view_of
from tests.report.viewer.large import PER_SHARD, enlarge

pytestmark = pytest.mark.slow

SHARDS = 20


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    curate(write_pairs(folder / "source", 60), folder / "small", shard_samples=60)
    return enlarge(folder / "small", folder / "large", SHARDS)


def test_a_recount_of_a_million_rows_takes_an_instant(large):
    view = view_of(large)
    assert view.fates.size == SHARDS * PER_SHARD
    view.recount("heuristics.min_side", {})
    spent = []
    for n in range(20):
        begun = time.perf_counter()
        said = view.recount("heuristics.min_side", {"heuristics.min_side": 230.0 + n})
        spent.append(time.perf_counter() - begun)
    assert said["kept"] < view.whatif.kept
    assert statistics.median(spent) < 0.2


def test_fifty_requests_at_once_all_get_their_answer(large, capsys):
    command = [sys.executable, "-m", "curation", "view", str(large), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)/", server.stdout.readline())
        assert found is not None
        port = int(found[1])
        asked = [
            "/api/overview", "/api/samples?limit=60", "/api/samples?text=lantern&limit=60",
            "/api/recount?moved=heuristics.blur&set=heuristics.blur:20", "/api/sample?at=70001",
            "/api/histogram?measure=blur", "/image?at=3", "/image?at=500003&side=1200",
            "/api/samples?status=kept&offset=900000&limit=60", "/api/twins",
        ]  # fmt: skip

        def ask(path: str) -> tuple[int, float]:
            begun = time.perf_counter()
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            link.request("GET", path)
            answer = link.getresponse()
            answer.read()
            link.close()
            return answer.status, time.perf_counter() - begun

        with ThreadPoolExecutor(50) as people:
            told = list(people.map(ask, asked * 15))
        server.terminate()
    assert {code for code, _ in told} == {200}
    spent = sorted(seconds for _, seconds in told)
    median, late = spent[len(spent) // 2], spent[len(spent) * 95 // 100]
    with capsys.disabled():
        print(f"\n50 at once: median {median:.2f} s, p95 {late:.2f} s, most {spent[-1]:.2f} s")
