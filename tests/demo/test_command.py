"""Commands that the demo prints work when they are pasted."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from curation.demo import __main__ as demo
from curation.demo import command
from curation.demo.command import curate_line

SCRIPT = Path(sys.executable).with_name("curate")


def made(folder: Path, *names: str) -> Path:
    """The folder of a virtual environment, its files executable; the first one."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder / names[0]


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the package is not installed")
def test_a_printed_command_runs_in_a_shell_that_knows_no_curate(tmp_path):
    line = curate_line("view", f"{tmp_path}/no run's")
    done = subprocess.run(
        ["/bin/sh", "-c", line], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # 127 where the shell finds no such command
    assert "no run's: no manifest.json" in done.stderr


def test_the_path_is_told_from_the_current_folder(tmp_path, monkeypatch):
    python = made(tmp_path / "a b" / ".venv" / "bin", "python", "curate")
    monkeypatch.setattr(command.sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path / "a b")
    assert curate_line("view", "demo-out/run") == ".venv/bin/curate view demo-out/run"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(curate_line("view", "x")) == ["a b/.venv/bin/curate", "view", "x"]
    monkeypatch.chdir(python.parent)
    assert curate_line("view", "x") == "./curate view x"
    made(tmp_path / "other", "file")
    monkeypatch.chdir(tmp_path / "other")
    assert shlex.split(curate_line("view")) == [str(python.with_name("curate")), "view"]


def test_a_link_on_the_way_to_the_current_folder_does_not_matter(tmp_path, monkeypatch):
    python = made(tmp_path / "real" / ".venv" / "bin", "python", "curate")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    inside = tmp_path / "link" / python.relative_to(tmp_path / "real")
    monkeypatch.setattr(command.sys, "executable", str(inside))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path / "link")
    assert curate_line("view") == ".venv/bin/curate view"


def test_a_curate_on_path_is_named_only_where_it_is_this_one(tmp_path, monkeypatch):
    python = made(tmp_path / "env" / "bin", "python", "curate")
    other = made(tmp_path / "other", "curate")
    monkeypatch.setattr(command.sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(other.parent))
    assert curate_line("view") == "env/bin/curate view"
    monkeypatch.setenv("PATH", str(python.parent))
    assert curate_line("view") == "curate view"


def test_without_a_script_the_module_is_called(tmp_path, monkeypatch):
    python = made(tmp_path / "env" / "bin", "python")
    monkeypatch.setattr(command.sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    assert curate_line("view") == "env/bin/python -m curation view"


def test_the_demo_ends_with_the_line_that_opens_the_viewer(tmp_path, monkeypatch, capsys):
    python = made(tmp_path / ".venv" / "bin", "python", "curate")
    monkeypatch.setattr(command.sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.Demo, "make", lambda self: False)
    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(demo, "score", lambda *_: None)
    monkeypatch.setattr(demo, "print_score", lambda *_: None)
    assert demo.Demo(out="demo-out").run() == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == ".venv/bin/curate view demo-out/run"
    shown = [line for line in said.err.splitlines() if line.startswith("$ ")]
    assert [line.split()[1] for line in shown] == [".venv/bin/curate"] * 2
