"""The `curate` command."""

from curation.cli.main import entry, main

__all__ = ["entry", "main"]
