"""One recipe a family: every threshold lives here."""

from collections.abc import Callable
from typing import Final

from curation.core.errors import UsageError
from curation.pipeline.recipe import Recipe
from jobs import image_text

RECIPES: Final[dict[str, Callable[[], Recipe]]] = {"image-text": image_text.recipe}
"""Recipes by family."""


def shipped_recipe(family: str) -> Recipe:
    """The recipe of a family. Raises UsageError for one that has none."""
    if family not in RECIPES:
        raise UsageError(f"no recipe for {family!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[family]()
