"""Every command of the README runs as written."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.io.corpus import open_corpus
from tests.io.chat_server import ChatServer
from tests.pipeline.corpora import ledger, write_pairs

REPO = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(
    r"^```sh\n(.*?)^```", (REPO / "README.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with what the README's commands name."""
    write_pairs(tmp_path / "my-pairs", 40)
    write_pairs(tmp_path / "more-pairs", 5, start=900)
    (tmp_path / "takedowns.txt").write_text("domain:site1.example\n")
    return tmp_path


@pytest.fixture
def servers() -> Iterator[tuple[ChatServer, ChatServer]]:
    """What the README has on its GPU machines: servers that speak as vLLM's do."""
    with ChatServer(models=("captioner",)) as one, ChatServer(models=("captioner",)) as other:
        yield one, other


def test_commands_run_in_the_order_that_they_are_written(place, servers):
    lines = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
    assert len(lines) > 20
    binary = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binary}:{os.environ['PATH']}"}
    assert shutil.which("curate", path=str(binary))
    for line in lines:
        if (place / "run1" / "corpus" / "manifest.json").exists():
            first = ledger(open_corpus(str(place / "run1")))["uid"][0].as_py()
            environment["UID_OF_A_SAMPLE"] = first
        done = subprocess.run(
            line.replace("http://gpu1:8000", servers[0].url).replace(
                "http://gpu2:8000", servers[1].url
            ),
            shell=True,
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        expected = 1 if "# exit code 1" in line else 0
        assert done.returncode == expected, f"{line}\n{done.stderr}"
    assert all(server.asked for server in servers)
    for made in (
        "report.html", "captions.html", "look.jpg",
        *(f"export{n}/README.md" for n in (1, 2, 3)),
    ):  # fmt: skip
        assert (place / made).stat().st_size > 0


def test_the_two_commands_of_the_first_screen_are_targets_of_the_makefile():
    first_screen = (REPO / "README.md").read_text().splitlines()[:15]
    named = re.findall(r"^make (\w+)", "\n".join(first_screen), re.MULTILINE)
    assert named == ["demo", "test"]
    targets = re.findall(r"^(\w+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert {*named, "setup", "check", "bench"} <= set(targets)
