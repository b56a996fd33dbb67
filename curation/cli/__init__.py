"""The `curate` command."""

from curation.cli.main import entry, main, submitted, submitted_training

__all__ = ["entry", "main", "submitted", "submitted_training"]
