"""Thresholds of a recipe that can be moved: what they are held against and what sets them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.io.corpus import Corpus
from curation.report.axis import Limit
from curation.report.funnel import stage_recipes
from curation.report.histogram import limits_of
from curation.report.stage_tables import stage_table, stages_of
from schemas.manifest import CorpusManifest

CLIP_RULE = "clip_score"
"""Reason of a drop by the threshold of ClipSelect; `--set` calls it `threshold`."""
TOP_RULE = "not_in_top_fraction"
"""Reason of a drop by the top fraction of ClipSelect; `--set` calls it `top_fraction`."""

CLIP_FIELDS = {CLIP_RULE: "threshold", TOP_RULE: "top_fraction"}
"""What `--set` calls the rules of ClipSelect, by reason."""

Settings = Mapping[str, float]
"""Thresholds that differ from the recipe, by `stage.reason`, as `--set` has them: of a top fraction
the share that stays."""
Limits = Mapping[str, float]
"""The same in the measure's own unit: of a top fraction the lowest score that stays."""


@dataclass(frozen=True, kw_only=True)
class Movable:
    """One threshold that can be moved."""

    limit: Limit
    flag: str
    """What `--set` calls it."""
    share: float | None = None
    """What the recipe sets where it is a top fraction; `limit` has the score that it comes to."""

    @property
    def setting(self) -> float:
        """What the recipe sets."""
        return self.threshold if self.share is None else self.share

    @property
    def name(self) -> str:
        return name_of(self.limit)

    @property
    def threshold(self) -> float:
        """In the measure's unit, as the recipe has it."""
        assert not isinstance(self.limit.threshold, tuple)
        return self.limit.threshold


def rules_of(manifest: CorpusManifest) -> list[Limit]:
    """Every rule of `Select` and `ClipSelect`, of the stages that ran, in order.

    Of a top fraction the threshold is the share.
    """
    recipe = stage_recipes(manifest.recipe)
    ran = [limit for limit in limits_of(manifest) if not recipe[limit.stage].get("off")]
    clip = [
        _clip(name, stage, reason, float(stage[field]))
        for name, stage in recipe.items()
        for reason, field in CLIP_FIELDS.items()
        if _selects_by_clip(stage) and not stage.get("off") and stage.get(field) is not None
    ]
    order = list(recipe)
    return sorted(ran + clip, key=lambda limit: order.index(limit.stage))


def _selects_by_clip(stage: Mapping[str, Any]) -> bool:
    return stage.get("kind") == "ClipSelect"


def _clip(name: str, stage: Mapping[str, Any], reason: str, threshold: float) -> Limit:
    return Limit(
        stage=name,
        reason=reason,
        column="clip_score",
        kind="at_least",
        threshold=threshold,
        source="",
        drops_missing=stage.get("missing") == "drop",
        dropped=0,
    )


def idle_rules(manifest: CorpusManifest) -> dict[str, list[str]]:
    """Of each measure the stages that would hold a threshold against it and are off, and why."""
    found: dict[str, list[str]] = {}
    for name, stage in stage_recipes(manifest.recipe).items():
        if not (why := str(stage.get("off") or "")):
            continue
        columns = [str(rule["column"]) for rule in stage.get("rules", [])]
        if _selects_by_clip(stage):
            columns.append("clip_score")
        for column in dict.fromkeys(columns):
            found.setdefault(column, []).append(f"{name} is off: {why}")
    return found


def name_of(rule: Limit) -> str:
    """What settings call it."""
    return f"{rule.stage}.{rule.reason}"


def flag_of(rule: Limit) -> str:
    return f"{rule.stage}.{CLIP_FIELDS.get(rule.reason, rule.reason)}"


def recorded_cuts(corpus: Corpus) -> dict[str, float]:
    """The scores that top fractions came to when the corpus was decided, as the stages say."""
    found = {}
    for stage in stages_of(corpus, "ClipSelect"):
        table = stage_table(corpus, stage, "cutoffs")
        for row in table.to_pylist() if table is not None else []:
            if row["rule"] == TOP_RULE:
                found[f"{stage.stage}.{TOP_RULE}"] = float(row["threshold"])
    return found


def is_unscored(stage: str, cause: str, stages: set[str]) -> bool:
    """Whether one of `stages` drops for want of a CLIP score, which a rule of it does too."""
    return cause == "no_clip_score" and stage in stages
