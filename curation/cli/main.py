"""Parses the command line, runs one command, turns errors into one line and an exit code."""

import os
import sys
from typing import Any

import tyro

from curation.core.errors import CurationError

EPILOG = "Exit codes: 0 well, 1 a failed run or check, 2 a command that means nothing."


def commands() -> dict[str, Any]:
    """Commands by name."""
    from curation.cli import concepts, ingest, look, stages
    from curation.cli.report import Report

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
        "concepts": concepts.Concepts,
        "status": look.Status,
        "inspect": look.Inspect,
        "verify": look.Verify,
        "diff": look.Diff,
        "report": Report,
        "gc": look.Gc,
    }


def entry() -> None:
    """The command itself: runs `main`, then ends the process without tearing it down.

    All files are written and all workers are gone by then. Threads of native libraries can abort
    an interpreter that is being torn down ("terminate called without an active exception"), and a
    command that did its work would then end with exit code 134.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
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
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"curate: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    return code
