"""What a corpus cost, out of logs as commands leave them."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.report.cost import STEPS, cost_of
from curation.report.run_record import run_records


def log(folder: Path, name: str, **said: Any) -> None:
    """A log as a command writes it, changed by `said`."""
    folder.mkdir(exist_ok=True)
    record = {
        "command": ["run", "image-text"], "version": "1", "host": "h", "python": "3", "cpus": 2,
        "started": "2020-01-01T00:00:00+00:00", "state": "finished", "seconds": 90.0,
        "peak_memory_bytes": 5_000_000,
        "stages": [{"stage": "ingest", "seconds": 2.0, "done": 24, "total": 24}],
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps({**record, **said}))


def test_all_commands_count_together(tmp_path):
    logs = tmp_path / "out.runs"
    log(logs, "1", state="running", seconds=None, peak_memory_bytes=None, stages=[
        {"stage": "ingest", "seconds": 8.0, "done": 900},
        {"stage": "measure", "seconds": 2.0, "done": 900},
        {"stage": "measure clip", "seconds": None, "done": 20},
    ])  # fmt: skip
    log(logs, "2", seconds=90.0, stages=[
        {"stage": "measure clip", "seconds": 70.0, "done": 900},
        {"stage": "near_dedup: read", "seconds": 4.0, "done": 900},
        {"stage": "near_dedup", "seconds": 6.0, "done": 900},
    ])  # fmt: skip
    records = run_records(str(tmp_path / "out"))
    assert [record.spent for record in records] == [10.0, 90.0]
    cost = cost_of(records, 1000)
    assert cost is not None
    assert (cost.commands, cost.unfinished, cost.seconds, cost.rate) == (2, 1, 100.0, 10.0)
    assert cost.machine_hours == pytest.approx(100 / 3600)
    assert cost.per_million == pytest.approx(1e5 / 3600)
    assert cost.peak_memory_bytes == 5_000_000
    assert [(step.name, step.seconds) for step in cost.steps] == [
        ("measure clip", 70.0), ("near_dedup", 10.0), ("ingest", 8.0), ("measure", 2.0),
        ("start and the rest", 10.0),
    ]  # fmt: skip
    assert len(cost.steps) == STEPS + 1
    assert sum(step.share for step in cost.steps) == pytest.approx(1)


def test_a_killed_command_counts_until_its_last_note(tmp_path):
    logs = tmp_path / "out.runs"
    log(logs, "1", state="running", seconds=None, elapsed=310.0, stages=[
        {"stage": "ingest", "seconds": 70.0, "done": 5000},
        {"stage": "measure recaption", "seconds": None, "elapsed": 230.0, "done": 4000},
    ])  # fmt: skip
    log(logs, "2", seconds=143.0, stages=[
        {"stage": "measure recaption", "seconds": 57.0, "done": 5000},
    ])  # fmt: skip
    records = run_records(str(tmp_path / "out"))
    assert [record.spent for record in records] == [310.0, 143.0]
    assert records[0].stages[-1].rate == pytest.approx(4000 / 230)
    cost = cost_of(records, 5000)
    assert cost is not None
    assert (cost.seconds, cost.unfinished) == (453.0, 1)
    assert [(step.name, step.seconds) for step in cost.steps] == [
        ("measure recaption", 287.0), ("ingest", 70.0), ("start and the rest", 96.0),
    ]  # fmt: skip


def test_a_pace_is_told_only_of_logs_that_tell_of_the_ingest(tmp_path):
    log(tmp_path / "out.runs", "1", stages=[{"stage": "near_dedup", "seconds": 1.0, "done": 5}])
    cost = cost_of(run_records(str(tmp_path / "out")), 1000)
    assert cost is not None
    assert (cost.seconds, cost.rate, cost.per_million) == (90.0, None, None)


@pytest.mark.parametrize(
    ("command", "cluster"),
    [
        (["run", "image-text", "--input", "spark-talks"], False),
        (["run", "image-text", "--engine", "ray"], True),
        (["run", "image-text", "--engine=spark"], True),
        (["run", "image-text", "--place", "clip=ray"], True),
    ],
)
def test_a_cluster_is_told_from_this_machine(tmp_path, command, cluster):
    log(tmp_path / "out.runs", "1", command=command)
    cost = cost_of(run_records(str(tmp_path / "out")), 24)
    assert cost is not None
    assert cost.cluster is cluster


def test_without_logs_there_is_no_cost(tmp_path):
    assert run_records("s3://bucket/run") == run_records(str(tmp_path / "out")) == []
    assert cost_of([], 10) is None
    log(tmp_path / "out.runs", "1", state="running", seconds=None, stages=[])
    (tmp_path / "out.runs" / "2.json").write_text('{"command": ["cut')
    assert cost_of(run_records(str(tmp_path / "out")), 10) is None
