"""Worker processes: results, crashes, and what stands in for an item that kills."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from curation.core.errors import RunError
from curation.engines.local import LocalEngine, _interrupts_after


def square(number: int) -> int:
    return number * number


def deadly(number: int) -> int:
    """Kills its process on 13."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def fails(number: int) -> int:
    raise ValueError(number)


def probe(number: int) -> None:
    deadly(number)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_item_is_worked_once(workers):
    with LocalEngine(workers=workers) as engine:
        assert sorted(engine.map(square, range(50))) == [n * n for n in range(50)]


def process(_: int) -> int:
    return os.getpid()


def test_tasks_with_threads_of_their_own_get_fewer_processes_and_a_fresh_pool():
    with LocalEngine(workers=3) as engine:
        plain = set(engine.map(process, range(30)))
        modelled = set(engine.map(process, range(30), threads=2))
        again = set(engine.map(process, range(30), threads=2))
        wide = set(engine.map(process, range(30), threads=8))
        single = set(engine.map(process, range(30), threads=1))
    assert len(modelled) == len(wide) == 1
    assert modelled == again
    assert 1 <= len(single) <= 3
    assert not (plain & modelled) | (modelled & wide) | (wide & single) | (single & plain)


def test_items_are_taken_as_workers_get_free():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with LocalEngine(workers=1) as engine:
        results = engine.map(square, items())
        next(results)
        assert len(taken) < 10
        assert len(list(results)) == 99


def test_an_item_that_kills_its_worker_is_named():
    with (
        LocalEngine(workers=2) as engine,
        pytest.raises(RunError, match=r"died .* on 13"),
    ):
        list(engine.map(deadly, range(30)))


def test_a_milder_item_stands_in_for_one_that_kills():
    asked = []

    def milder(number, survives):
        asked.append((number, survives(probe, 13), survives(probe, 12)))
        return 1000

    with LocalEngine(workers=2) as engine:
        results = sorted(engine.map(deadly, range(30), on_crash=milder))
    assert results == [*(n for n in range(30) if n != 13), 1000]
    assert asked == [(13, False, True)]


def test_an_item_is_not_lost_where_a_worker_died_before_it_was_handed_out():
    with LocalEngine(workers=1) as engine:
        results = engine.map(square, range(6))
        found = [next(results)]
        for process in list(engine._pool._processes.values()):
            process.kill()
            process.join()
        while not engine._pool._broken:  # which its own thread finds out
            time.sleep(0.01)
        found += results
    assert sorted(found) == [square(n) for n in range(6)]


def test_an_exception_in_a_task_reaches_the_caller():
    with LocalEngine(workers=1) as engine, pytest.raises(ValueError, match="0"):
        list(engine.map(fails, range(3)))


def noted(name: str) -> None:
    """Fails on a name that ends in `bad`."""
    Path(name).touch()
    if name.endswith("bad"):
        raise RunError(name)


def test_nothing_is_begun_behind_a_task_that_failed(tmp_path):
    """Two more have been handed out by then: each could wait for the same server as long again."""
    names = [str(tmp_path / name) for name in ("good", "bad", "next", "last")]
    with LocalEngine(workers=1) as engine:
        with pytest.raises(RunError, match="bad"):
            list(engine.map(noted, names))
        assert {path.name for path in tmp_path.iterdir()} == {"good", "bad"}
        assert list(engine.map(square, [7])) == [49]


def test_an_interrupt_is_put_off_while_a_worker_starts():
    done = []
    with pytest.raises(KeyboardInterrupt), _interrupts_after():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("started")
    assert done == ["started"]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_scratch_space_is_gone_afterwards(tmp_path):
    with LocalEngine(workers=0, scratch=tmp_path) as engine:
        with engine.session() as session, engine.folder() as folder:
            session.create("t", "SELECT 1 AS a")
            assert Path(folder).is_dir()
        assert list(tmp_path.iterdir()) == []


SLEEPER = """
import sys, time
sys.path[:0] = {path!r}
from curation.engines.local import LocalEngine
from tests.engines.test_local import told_and_asleep

if __name__ == "__main__":
    with LocalEngine(workers=2) as engine:
        list(engine.map(told_and_asleep, [sys.argv[1]] * 2))
"""


def told_and_asleep(folder: str) -> None:
    deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    told = Path(folder) / f"{os.getpid()}"
    told.with_suffix(".part").write_text("deaf" if deaf else "hears")
    told.with_suffix(".part").rename(told)
    time.sleep(600)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, -signal.SIGTERM),
     (signal.SIGINT, -signal.SIGINT)],
)  # fmt: skip
def test_workers_end_with_an_engine_that_is_killed_or_interrupted(tmp_path, sent, code):
    repo = str(Path(__file__).parents[2])
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER.format(path=[repo]))
    (tmp_path / "told").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "told")], stderr=subprocess.PIPE, text=True
    )
    told: list[str] = []
    until = time.monotonic() + 60
    while len(told) < 2 and time.monotonic() < until:
        time.sleep(0.05)
        told = [path.name for path in (tmp_path / "told").iterdir() if not path.suffix]
    # Of a terminal's interrupt they know nothing, not even before they can ignore it.
    assert {path.read_text() for path in (tmp_path / "told").iterdir()} == {"deaf"}
    process.send_signal(sent)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors.count("Traceback") == (sent == signal.SIGINT)
    if sent == signal.SIGINT:
        assert "leaked" not in errors
    workers = [int(name) for name in told]
    assert len(workers) == 2
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, workers))
