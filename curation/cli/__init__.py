"""The `curate` command."""

from curation.cli.main import main

__all__ = ["main"]
