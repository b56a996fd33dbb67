"""The `curate` command."""

from curation.cli.main import entry, main, submitted

__all__ = ["entry", "main", "submitted"]
