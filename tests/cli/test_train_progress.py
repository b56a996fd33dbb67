"""How a training shows itself: plain lines, and a live line at any width."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from curation.cli.train_progress import PlainWatcher, TerminalWatcher, live, make_watcher
from curation.core.progress import SILENT
from curation.trainer.metrics import StepRecord


def _record(step: int) -> StepRecord:
    return StepRecord(
        step=step,
        loss=2.5,
        learning_rate=1e-3,
        gradient_norm=1.0,
        tokens=1_000,
        supervised_tokens=500,
        samples=3,
        quarantined=2,
        seconds=1.0,
        data_wait=0.5,
        tokens_per_second=1_000.0,
        supervised_per_second=500.0,
        tflops=1.0,
        mfu=0.41,
        hfu=0.5,
        memory=1,
    )


def test_plain_lines_come_now_and_then_and_at_the_end(capsys) -> None:
    watcher = PlainWatcher(50)
    for step in range(1, 51):
        watcher.step(_record(step))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("step 1 of 50: loss 2.500, grad 1.00, lr 0.001, 1,000 tok/s")
    assert "MFU 41.0%, waits 50% for data, 2 unreadable" in told[0] and told[0].endswith("left")
    assert told[1].startswith("step 50 of 50") and not told[1].endswith("left")


def test_a_terminal_has_one_live_line(monkeypatch, capfd) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with make_watcher(3, SILENT) as watcher:
        watcher.say("before the first step")
        for step in (1, 2, 3):
            watcher.step(_record(step))
    told = capfd.readouterr().err
    assert "3/3" in told and "loss 2.500" in told


@pytest.mark.parametrize(
    ("width", "held", "left_out"),
    [
        (60, ["loss 7.216"], ["2 unreadable"]),
        (80, ["loss 7.216", "2 unreadable"], ["MFU"]),
        (120, ["━" * 20, "loss 7.216", "2 unreadable", "grad 1.35"], ["MFU"]),
        (200, ["━" * 20, "loss 7.216, 2 unreadable, grad 1.35, lr 5e-05", "MFU 41.0%"], []),
    ],
)
def test_a_live_line_of_a_long_run_has_steps_and_times_at_any_width(width, held, left_out) -> None:
    """120,000 steps of 20 seconds, resumed at step 61,233: 13 days are left at that pace."""
    sink = io.StringIO()
    console = Console(width=width, file=sink, force_terminal=True, color_system=None)
    bars = live(console)
    watcher = TerminalWatcher(120_000, bars, console)
    pace = {"seconds": 20.0, "data_wait": 0.0, "tokens_per_second": 612_345.0}
    told = {"loss": 7.216, "gradient_norm": 1.35, "learning_rate": 5e-5}
    watcher.step(replace(_record(61_234), **pace, **told))
    console.print(bars.get_renderable())
    (line,) = sink.getvalue().splitlines()
    assert len(line) <= width and "…" not in line
    assert "61,234/120,000  0:20, 13d 14h left" in line
    assert all(part in line for part in held) and not any(part in line for part in left_out)


def test_a_live_line_that_ended_has_no_time_left() -> None:
    sink = io.StringIO()
    console = Console(width=80, file=sink, force_terminal=True, color_system=None)
    bars = live(console)
    TerminalWatcher(3, bars, console).step(_record(3))
    console.print(bars.get_renderable())
    assert sink.getvalue().startswith("done train 3/3  0:01  loss 2.500")
