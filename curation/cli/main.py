"""Parses the command line, runs one command, turns errors into one line and an exit code."""

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import tyro

from curation.core.errors import CurationError
from curation.version import __version__

if TYPE_CHECKING:
    from curation.pipeline.recipe import Recipe

EPILOG = (
    "Exit codes: 0 well, 1 a failed run or check, 2 a command that means nothing. "
    "`curate --version` prints the version."
)


def commands() -> dict[str, Any]:
    """Commands by name."""
    from curation.cli import concepts, ingest, look, stages, train
    from curation.cli.recaption_report import RecaptionReport
    from curation.cli.report import Report
    from curation.cli.tune import Tune
    from curation.cli.view import View

    return {
        "run": ingest.Run,
        "ingest": ingest.Ingest,
        "measure": stages.Measure,
        "calibrate": stages.Calibrating,
        "select": stages.Selecting,
        "dedup": stages.Dedup,
        "balance": stages.Balancing,
        "decide": stages.Deciding,
        "export": stages.Export,
        "train": train.Train,
        "sample": train.Sample,
        "concepts": concepts.Concepts,
        "status": look.Status,
        "inspect": look.Inspect,
        "verify": look.Verify,
        "diff": look.Diff,
        "report": Report,
        "recaption-report": RecaptionReport,
        "view": View,
        "tune": Tune,
        "gc": look.Gc,
    }


def entry() -> None:
    """The command itself: runs `main`, then ends the process without tearing it down.

    All files are written and all workers are gone by then. Threads of native libraries can abort
    an interpreter that is being torn down ("terminate called without an active exception"), and a
    command that did its work would then end with exit code 134.
    """
    _leave()


def submitted(family: str, recipe: "Callable[[], Recipe]") -> None:
    """A recipe's file as a script: `curate run FAMILY` of that recipe, with the script's arguments.

    The engine is the one that the script was submitted to, unless --engine names one.
    """
    from jobs import use

    use(family, recipe)
    arguments = sys.argv[1:]
    if not any(word.partition("=")[0] == "--engine" for word in arguments):
        engine = next((name for sign, name in _SUBMITTED if sign in os.environ), "local")
        arguments = ["--engine", engine, *arguments]
    _leave(["run", family, *arguments])


def submitted_training() -> None:
    """The training recipe's file as a script: `curate train` with the script's arguments."""
    _leave(["train", *sys.argv[1:]])


_SUBMITTED = (("PYSPARK_GATEWAY_PORT", "spark"), ("RAY_JOB_CONFIG_JSON_ENV_VAR", "ray"))
"""What spark-submit and ray job submit put into the environment of what they start."""


_stopped_by = [signal.SIGINT]
"""What interrupts a command: libraries raise a KeyboardInterrupt of their own for any signal."""


def _terminated(number: int, _: object) -> NoReturn:
    """A scheduler asks the command to end (SIGTERM), as Ctrl-C does."""
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    _stopped_by[0] = signal.SIGTERM
    raise KeyboardInterrupt


def _leave(arguments: list[str] | None = None) -> None:
    signal.signal(signal.SIGTERM, _terminated)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"curate {__version__}")
        return 0
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            commands(),
            prog="curate",
            description=f"Curates multimodal pretraining corpora. {EPILOG}",
            args=arguments,
        )
        code: int = command.run()
    except CurationError as error:
        print(f"curate: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("curate: stopped; run the same command again, it continues", file=sys.stderr)
        return 128 + _stopped_by[0]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"curate: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    return code
