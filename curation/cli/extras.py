"""Whether the extra that a command rests on is installed."""

import importlib.util

from curation.core.errors import UsageError


def require(extra: str, what: str, *modules: str) -> None:
    """Raises UsageError, which says what to install, where one of `modules` is missing."""
    for module in modules:
        if not _is_there(module):
            raise UsageError(
                f"{what} needs {module}: pip install 'curation[{extra}]' "
                f"(in a checkout: make setup EXTRAS={extra})"
            )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # what find_spec makes of a module that is blocked
        return False
