"""Fifty people who ask a viewer at once."""

import http.client
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ASKED = (
    "/api/overview", "/api/samples?limit=60", "/api/samples?text=lantern&limit=60",
    "/api/recount?moved=heuristics.blur&set=heuristics.blur:20", "/api/sample?at=70001",
    "/api/histogram?measure=blur", "/image?at=3", "/image?at=500003&side=1200",
    "/api/samples?status=kept&offset=900000&limit=60", "/api/twins",
)  # fmt: skip
"""Of a corpus of a million samples."""
_TIMES = 15


def crowd(corpus: Path) -> list[tuple[int, float]]:
    """Status of each answer and the seconds until it was there, from a viewer's cold start on."""
    command = [sys.executable, "-m", "curation", "view", str(corpus), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)/", server.stdout.readline())
        assert found is not None
        port = int(found[1])

        def ask(path: str) -> tuple[int, float]:
            begun = time.perf_counter()
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            link.request("GET", path)
            answer = link.getresponse()
            answer.read()
            link.close()
            return answer.status, time.perf_counter() - begun

        with ThreadPoolExecutor(50) as people:
            told = list(people.map(ask, ASKED * _TIMES))
        server.terminate()
    return told
