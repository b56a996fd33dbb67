"""What readers of a corpus ask for, and whether anything measured it."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.manifest import Calibration, LayerRef, StageSummary

_ASKED: Final[dict[str, tuple[str, ...]]] = {
    "NSFW and other unsafe content": ("nsfw", "unsafe", "safety"),
    "aesthetic quality": ("aesthetic",),
    "watermarks": ("watermark",),
    "whether caption and image agree (CLIP score)": ("clip", "similarity", "itm"),
    "faces and other personal data in the pixels": ("face", "people"),
    "toxic language": ("toxic",),
}
"""What readers of a report ask for, and words in the name of a column that measures it."""


def unmeasured(names: list[str]) -> list[str]:
    """What no operator measured, given the names of operators and of all measured columns."""
    said = " ".join(names).lower()
    return [what for what, words in _ASKED.items() if not any(w in said for w in words)]


_ON_CLIP = frozenset({"clip", "visual_cluster", "linear_head"})
"""Operators whose values mean nothing where the CLIP behind them does not know such images."""


def clip_fails(
    recipe: Mapping[str, Any], stages: list[StageSummary], calibration: Calibration | None = None
) -> bool:
    """Whether the corpus's CLIP was not let decide, since it cannot judge the corpus.

    Without a calibration at hand, as in an export, it is taken for one that cannot where selection
    by its score is switched off.
    """
    kinds = {stage["name"]: stage.get("kind") for stage in recipe.get("stages", [])}
    selects = [stage for stage in stages if kinds.get(stage.stage) == "ClipSelect"]
    if any(not stage.off for stage in selects):
        return False
    return bool(selects) if calibration is None else not calibration.passed


def measured_names(layers: list[LayerRef], *, without_clip: bool) -> list[str]:
    """Operators and columns for `unmeasured`; `without_clip`: none that rest on CLIP."""
    return [
        name
        for layer in layers
        if not (without_clip and layer.operator in _ON_CLIP)
        for name in (layer.operator, *layer.columns)
    ]


def described_names(recipe: Mapping[str, Any], *, without_clip: bool) -> list[str]:
    """As `measured_names`, where only the recipe is known: operators, and columns of rules."""
    operators = [o for o in recipe.get("operators", {}) if not (without_clip and o in _ON_CLIP)]
    ran = [stage for stage in recipe.get("stages", []) if not stage.get("off")]
    return operators + [str(rule["column"]) for stage in ran for rule in stage.get("rules", [])]
