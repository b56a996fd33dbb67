"""A real Ray cluster of separate processes on loopback: a head and workers of one core each."""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

REPO = Path(__file__).resolve().parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
HOST = "127.0.0.1"

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node that is killed is missed after some seconds, one on a busy machine is not.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "5",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex((HOST, port)) == 0


def wait_for(what: str, there: Callable[[], object], seconds: float = 120.0) -> None:
    """Raises TimeoutError if `there` does not come true."""
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)


def _end_with_parent() -> None:
    """A node ends, and all its processes, with a test process that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class RayCluster:
    """Head and workers, each node with its own folder; ended with all its processes."""

    def __init__(self, package: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))  # sockets want a short path
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            **_ENVIRONMENT,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": str(REPO) if package else "",
        }
        self._port, self._dashboard = free_ports(2)
        self._agent = 0
        self.head: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int) -> None:
        """Starts what is missing of the head and so many workers."""
        if self.head is None:
            self.head = self._node(
                "--head",
                *("--port", str(self._port)),
                *("--dashboard-host", HOST, "--dashboard-port", str(self._dashboard)),
                "--include-dashboard=true",
            )
            wait_for("the head", self._answers)
        self.workers = [node for node in self.workers if node.poll() is None]
        while len(self.workers) < workers:
            self.workers.append(self._node("--address", f"{HOST}:{self._port}"))
        wait_for(f"{workers} workers", lambda: self.living() == workers + 1)
        wait_for("what takes jobs on the head", lambda: _listens(self._agent))

    def _node(self, *options: str) -> subprocess.Popen[bytes]:
        number = len(list(self.folder.iterdir()))
        place = self.folder / str(number)
        place.mkdir()
        agent, grpc, metrics, env = (str(port) for port in free_ports(4))
        if number == 0:
            self._agent = int(agent)
        command = [
            *(RAY, "start", "--block", "--disable-usage-stats", *options),
            *("--node-ip-address", HOST, "--num-cpus", "1", "--num-gpus", "0"),
            *("--object-store-memory", str(100 << 20), "--temp-dir", str(place)),
            *("--min-worker-port", "0", "--max-worker-port", "0"),
            *("--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", grpc),
            *("--metrics-export-port", metrics, "--runtime-env-agent-port", env),
        ]
        with (place / "out.txt").open("wb") as out:  # jobs begin in the folder of their node
            return subprocess.Popen(
                command, cwd=place, env=self._environment,
                stdout=out, stderr=out, start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call, before anything is loaded
            )  # fmt: skip

    def _answers(self) -> bool:
        assert self.head is not None
        assert self.head.poll() is None, (self.folder / "0" / "out.txt").read_text()
        return _listens(self._dashboard)

    def living(self) -> int:
        """Nodes that the head knows to be alive."""
        asked = urllib.request.Request(
            f"http://{HOST}:{self._dashboard}/nodes?view=summary",
            headers={"Authorization": f"Bearer {self._environment['RAY_AUTH_TOKEN']}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except OSError:  # not up yet
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)

    def submit(
        self, *command: str, options: tuple[str, ...] = (), **environment: str
    ) -> "subprocess.Popen[str]":
        """`ray job submit` of a Python script and its arguments, which ends as the job does."""
        address = f"http://{HOST}:{self._dashboard}"
        sent = [*options, "--", sys.executable, *command]
        return subprocess.Popen(
            [RAY, "job", "submit", "--address", address, *sent],
            env={**self._environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def kill_worker(self) -> None:
        """SIGKILL to a worker node: to its raylet, its workers and all else at once."""
        node = self.workers.pop()
        for process in family(node.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def processes(self, *words: str) -> list[psutil.Process]:
        """Living processes of this cluster with all of some words in their command."""
        nodes = [node for node in (self.head, *self.workers) if node is not None]
        found = []
        for process in (process for node in nodes for process in family(node.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                if all(word in command for word in words):
                    found.append(process)
        return found

    def close(self) -> None:
        """Ends every process, whatever has happened, and removes the folder."""
        nodes = [node for node in (*self.workers, self.head) if node is not None]
        everybody = [process for node in nodes for process in family(node.pid)]
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for node in nodes:
            node.wait()
        for path in Path("/proc").iterdir():  # those whose parent had died before
            with contextlib.suppress(OSError, ValueError):
                if str(self.folder).encode() in (path / "cmdline").read_bytes():
                    os.kill(int(path.name), signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that came of it, as far as they live."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextlib.contextmanager
def ray_cluster(*, package: bool = True) -> Iterator[RayCluster]:
    """A cluster that nobody else joins. Without `package` its nodes are not told of this one."""
    cluster = RayCluster(package)
    try:
        yield cluster
    finally:
        cluster.close()
