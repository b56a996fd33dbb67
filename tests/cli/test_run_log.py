"""The log of a command: what it says of the time of one that is killed, fails or ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from curation.cli import run_log
from curation.cli.run_log import RunLog
from curation.report.cost import cost_of
from curation.report.run_record import run_records


def written(target: Path) -> dict[str, Any]:
    (path,) = target.with_name(f"{target.name}.runs").glob("*.json")
    said: dict[str, Any] = json.loads(path.read_text())
    return said


KILLED = """
import sys, time
from curation.cli import run_log
run_log._PULSE = 0.1
log = run_log.RunLog(sys.argv[1], ["run"])
with log.stage("ingest"):
    pass
with log.stage("measure recaption"):
    log.beat("measure recaption", 4000, 5000)
    print("begun", flush=True)
    time.sleep(60)
"""


def hold(size: int) -> int:
    """Touches so many bytes, and gives them back."""
    return len(bytearray(size))


PEAK = """
import sys
from curation.cli import run_log
from curation.engines.local import LocalEngine
from tests.cli.test_run_log import hold
run_log._LOOK = 0.0
log = run_log.RunLog(sys.argv[1], ["run"])
with log.stage("measure"), LocalEngine(workers=1) as engine:
    for done in engine.map(hold, [int(sys.argv[2])]):
        log.beat("measure", done, None)
log.end("finished")
"""


def test_the_peak_is_that_of_the_largest_process_workers_included(tmp_path):
    """Workers come from a fork server, and are gone before the command is."""
    size = 700 << 20
    command = [sys.executable, "-c", PEAK, str(tmp_path / "out"), str(size)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    assert size < written(tmp_path / "out")["peak_memory_bytes"] < 2 * size


def test_the_time_of_a_killed_stage_counts_though_it_said_nothing_for_long(tmp_path):
    """The kill comes in the middle of a part, long after the last sample that was told of."""
    target = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "begun\n"
        start = time.monotonic()
        time.sleep(1.5)
        took = time.monotonic() - start
        os.kill(command.pid, signal.SIGKILL)
    (record,) = run_records(str(target))
    assert (record.state, record.seconds) == ("running", None)
    assert record.stages[-1].seconds is None
    assert record.stages[-1].done == 4000
    assert record.stages[-1].spent == pytest.approx(took, abs=0.7)
    assert record.spent >= record.stages[-1].spent
    cost = cost_of([record], 5000)
    assert cost is not None
    assert cost.seconds == record.spent
    assert (cost.steps[0].name, cost.steps[0].seconds) == (
        "measure recaption",
        record.stages[-1].spent,
    )


def test_notes_of_time_are_made_every_few_seconds_and_no_more_often(tmp_path, monkeypatch):
    log = RunLog(str(tmp_path / "out"), ["run"])
    writes = []
    monkeypatch.setattr(log, "_write", lambda: writes.append(time.monotonic()))
    monkeypatch.setattr(log, "_last", time.monotonic())
    with log.stage("measure"):
        for done in range(2000):
            log.beat("measure", done, None)
    assert len(writes) == 2  # begun and ended
    monkeypatch.setattr(log, "_last", time.monotonic() - run_log._BEAT)
    with log.stage("measure"):
        log.beat("measure", 1, None)
    assert len(writes) == 5


def test_a_stage_that_fails_keeps_its_time_and_an_ended_command_has_one_time(tmp_path):
    target = tmp_path / "out"
    log = RunLog(str(target), ["run"])
    with log.stage("ingest"):
        time.sleep(0.02)
    with pytest.raises(ValueError, match="broken"), log.stage("measure"):
        time.sleep(0.02)
        raise ValueError("broken")
    running = written(target)
    assert running["elapsed"] >= 0.04
    ingest, measure = running["stages"]
    assert ingest["seconds"] >= 0.02
    assert "elapsed" not in ingest
    assert measure["seconds"] is None
    assert measure["elapsed"] >= 0.02
    log.end("failed")
    ended = written(target)
    assert ended["state"] == "failed"
    assert ended["seconds"] >= running["elapsed"]
    assert "elapsed" not in ended


def test_after_its_end_a_log_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "_PULSE", 0.02)
    target = tmp_path / "out"
    log = RunLog(str(target), ["run"])
    with log.stage("ingest"):
        pass
    log.end("finished")
    said = written(target)
    time.sleep(0.1)
    assert written(target) == said
    assert said["state"] == "finished"
