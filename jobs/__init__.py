"""One recipe a family: every threshold lives here."""

import importlib
from collections.abc import Callable
from typing import Final, cast

from curation.core.errors import UsageError
from curation.pipeline.recipe import Recipe

RECIPES: Final[dict[str, str]] = {"image-text": "jobs.image_text"}
"""Module of each family's recipe; loaded when it is asked for, so that it can be run itself."""


_USED: Final[dict[str, Callable[[], Recipe]]] = {}
"""Recipes of a submitted script, in place of those that ship."""


def use(family: str, recipe: Callable[[], Recipe]) -> None:
    """Lets this process run `recipe` where it is asked for that of `family`."""
    _USED[family] = recipe


def shipped_recipe(family: str) -> Recipe:
    """The recipe of a family. Raises UsageError for one that has none."""
    if family in _USED:
        return _USED[family]()
    if family not in RECIPES:
        raise UsageError(f"no recipe for {family!r}; there are: {', '.join(RECIPES)}")
    return cast(Recipe, importlib.import_module(RECIPES[family]).recipe())
