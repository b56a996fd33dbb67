"""A real Spark standalone cluster of separate processes on loopback: a master and workers of one
core each, to which jobs are sent by spark-submit."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyspark

REPO = Path(__file__).resolve().parents[2]
SPARK = Path(pyspark.__file__).parent
HOST = "127.0.0.1"

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A JVM that lives for seconds does better without its second compiler."""

_ENVIRONMENT = {
    "SPARK_HOME": str(SPARK),
    "SPARK_LOCAL_IP": HOST,
    "SPARK_DAEMON_MEMORY": "256m",
    "SPARK_DAEMON_JAVA_OPTS": QUICK,
    "PYSPARK_PYTHON": sys.executable,
    "PYTHONPATH": str(REPO),
}

_SUBMIT = {
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
    "spark.port.maxRetries": "100",
}

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In a child: no process of the cluster outlives the tests, even where these are killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def wait_for(what: str, there: Callable[[], object], seconds: float = 180.0) -> None:
    """Raises TimeoutError if `there` does not come true."""
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


class SparkCluster:
    """Master and workers; ended with all their processes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spark-cluster-"))
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))},
            **_ENVIRONMENT,
        }
        self.address = f"spark://{HOST}:{free_port()}"
        self._started = 0
        self.master: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._jobs: list[subprocess.Popen[str]] = []

    def start(self, workers: int) -> None:
        """Starts what is missing of the master and so many workers."""
        if self.master is None:
            port = self.address.rpartition(":")[2]
            self.master = self._daemon("master.Master", "--port", port)
            wait_for("the master", lambda: self._says("I have been elected leader"))
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < workers:
            place = str(self.folder / f"work-{self._started}")
            options = ("--cores", "1", "--memory", "1g", "--work-dir", place, self.address)
            self.workers.append(self._daemon("worker.Worker", *options))
        wait_for(f"{workers} workers", lambda: self._registered() >= self._started - 1)

    def _daemon(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{self._started}.log"
        self._started += 1
        with log.open("wb") as out:
            return subprocess.Popen(
                [
                    str(SPARK / "bin" / "spark-class"),
                    f"org.apache.spark.deploy.{name}",
                    *("--host", HOST, "--webui-port", "0"),
                    *options,
                ],
                env=self._environment, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call, no locks
            )  # fmt: skip

    def _says(self, words: str) -> bool:
        assert self.master is not None
        assert self.master.poll() is None, (self.folder / "0.log").read_text()
        return words in (self.folder / "0.log").read_text()

    def _registered(self) -> int:
        """Workers that have ever joined."""
        return (self.folder / "0.log").read_text().count("Registering worker")

    def submit(
        self, script: Path, *arguments: str, options: tuple[str, ...] = ()
    ) -> "subprocess.Popen[str]":
        """`spark-submit` in client mode of a Python script and its arguments."""
        settings = [*options, *(f"--conf={name}={value}" for name, value in _SUBMIT.items())]
        command = [str(SPARK / "bin" / "spark-submit"), "--master", self.address]
        job = subprocess.Popen(
            [*command, "--deploy-mode", "client", *settings, str(script), *arguments],
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call, no locks
        )  # fmt: skip
        self._jobs.append(job)
        return job

    def executors(self) -> list[psutil.Process]:
        """Living executors, of all workers."""
        leaders = {worker.pid for worker in self.workers}
        return [
            process
            for process in _of_sessions(leaders)
            if "CoarseGrainedExecutorBackend" in " ".join(_command(process))
        ]

    def kill_worker(self) -> None:
        """SIGKILL to a worker and all that runs under it."""
        worker = self.workers.pop()
        kill(_of_sessions({worker.pid}))
        worker.wait()

    def close(self) -> None:
        """Ends every process, whatever has happened, and removes the folder."""
        started = [p for p in (*self._jobs, *self.workers, self.master) if p is not None]
        kill(_of_sessions({process.pid for process in started}))
        for process in started:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _of_sessions(leaders: set[int]) -> list[psutil.Process]:
    """Living processes of some sessions: children of children too, whose parents have died."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) in leaders:
                found.append(process)
    return found


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL to each."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def driver_of(job: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The JVM of spark-submit and the Python process in it."""
    return _of_sessions({job.pid})


@contextlib.contextmanager
def spark_cluster() -> Iterator[SparkCluster]:
    """A cluster that nobody else joins."""
    cluster = SparkCluster()
    try:
        yield cluster
    finally:
        cluster.close()
