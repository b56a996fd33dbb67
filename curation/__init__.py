"""Curates multimodal pretraining corpora: measure, decide, materialise.

`from curation import Corpus` opens a finished one in Python; see curation.report.notebook.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.report.notebook import Corpus

__all__ = ["Corpus"]


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: workers import this package, and need none of it."""
    if name == "Corpus":
        from curation.report.notebook import Corpus

        return Corpus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
