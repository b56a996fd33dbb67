"""How `curate` is called from the folder that the demo was started in."""

import shlex
import shutil
import sys
from pathlib import Path


def curate_line(*arguments: str) -> str:
    """A line for the shell that runs `curate` with `arguments`, whatever is on PATH.

    It calls what belongs to the Python that runs: `curate` where PATH leads to that very one,
    else the script beside it, else the module; by its path from the current folder where it lies
    under that.
    """
    # The folder of links is kept: what a virtual environment's `python` points to knows nothing.
    python = Path(sys.executable).absolute()
    script = python.with_name("curate")
    if not script.is_file():
        return shlex.join([_from_here(python), "-m", "curation", *arguments])
    found = shutil.which("curate")
    if found and Path(found).resolve() == script.resolve():
        return shlex.join(["curate", *arguments])
    return shlex.join([_from_here(script), *arguments])


def _from_here(file: Path) -> str:
    """A path that a shell takes for a file, never for a name on PATH."""
    here = Path.cwd()
    for path in (file, file.parent.resolve() / file.name):
        if path.is_relative_to(here):
            inside = str(path.relative_to(here))
            return inside if "/" in inside else f"./{inside}"
    return str(file)
