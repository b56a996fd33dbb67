"""What commands share: workers, the run log, recipes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from curation.cli.engine import Working, engine_of
from curation.cli.progress import make_progress
from curation.cli.run_log import RunLog
from curation.core.blocklist import BlockFile
from curation.core.errors import UsageError
from curation.core.progress import Progress
from curation.engines.mixed import MixedEngine
from curation.io.corpus import Corpus
from curation.io.sources import SourceOptions
from curation.io.store import Store
from curation.pipeline.recipe import Recipe
from curation.pipeline.run import located

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.arg(name="set", metavar="STAGE.FIELD=VALUE"),
    tyro.conf.UseAppendAction,
]

Files = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass
class Job:
    """One command under way."""

    engine: MixedEngine
    progress: Progress
    log: RunLog


@contextmanager
def job(
    working: Working, target: str, scratch: Store | None, recipe: Recipe | None = None
) -> Iterator[Job]:
    """Engine, progress and log of a command that works on `target`.

    `recipe` tells which stages have an engine of their own.
    """
    working.check()
    log = RunLog(target, sys.argv[1:])
    if recipe is None and working.place:
        raise UsageError("--place: this command has no stages to place")
    placement = recipe.placed(working.place).placement if recipe else {}
    state = "failed"
    try:
        with engine_of(working, scratch, placement) as engine:
            yield Job(engine, make_progress(log), log)
        state = "finished"
    except KeyboardInterrupt:
        state = "stopped"
        raise
    finally:
        log.end(state)


def source_options(given: Any) -> SourceOptions:
    """Reader options out of a command's own. Raises UsageError for a value out of range."""
    names = [field.name for field in fields(SourceOptions)]
    try:
        return SourceOptions(**{name: getattr(given, name) for name in names})
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-', 1)}") from error


def blocklists(files: tuple[str, ...]) -> tuple[BlockFile, ...]:
    """The lists a user names."""
    return tuple(BlockFile.at(file) for file in files)


def recipe_of(corpus: Corpus, settings: tuple[str, ...]) -> Recipe:
    """The recipe of the corpus's family: as recorded where it was decided, else as shipped."""
    from jobs import shipped_recipe

    shipped = shipped_recipe(corpus.manifest.family)
    recorded = corpus.manifest.recipe
    if recorded:
        shipped = located(corpus, shipped.resumed(recorded))
    return shipped.with_settings(settings)


def log_target(path: str) -> str:
    """What a command's log belongs to: the run directory of a corpus or export in one."""
    clean = path.rstrip("/")
    folder = Path(clean)
    if "://" not in clean and folder.name in ("corpus", "export"):
        parent = folder.absolute().parent
        if (parent / "corpus").is_dir():
            return str(parent)
    return clean
