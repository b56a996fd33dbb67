"""What went in, what each stage took away and why: the manifest's counts, ready to draw."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.core.errors import ERROR_CODES
from curation.core.funnel import BLOCKED, INGEST, funnel_lines
from curation.report.plain_words import reason_title, rule_words, stage_words
from curation.report.wording import rule_text, settings_text
from schemas.manifest import StageSummary, Totals


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Samples that one reason of one stage took away."""

    reason: str
    count: int
    rule: str = ""
    """What was asked for, as `min_side ≥ 200`."""
    source: str = ""
    """Where the threshold comes from, or what the error means."""
    says: str = ""
    """What a rule takes away, as `the shorter side is under 200 pixels`."""
    quarantined: bool = False
    off: bool = False
    """A rule whose list is empty."""

    @property
    def title(self) -> str:
        """The reason as a heading."""
        return reason_title(self.reason)

    @property
    def words(self) -> str:
        """What the reason means, in plain words; empty for one that is not known here."""
        return self.says or self.source


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: entered = kept + the sum of its losses."""

    name: str
    kind: str
    settings: str
    entered: int
    kept: int
    losses: list[Loss]
    """In the order of the recipe; rules that dropped nothing are there too."""
    notes: dict[str, int] = field(default_factory=dict)
    off: str = ""
    """Why the stage was switched off; empty where it ran."""
    words: str = ""
    """What it is for, in plain words."""

    @property
    def lost(self) -> int:
        return self.entered - self.kept

    def largest(self) -> list[Loss]:
        """Losses that took something, the largest first."""
        return sorted((x for x in self.losses if x.count), key=lambda x: (-x.count, x.reason))


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """ingested = kept + dropped + quarantined, and the stages between."""

    ingested: int
    kept: int
    dropped: int
    quarantined: int
    stages: list[Stage]
    """Where nothing has been decided: ingest alone, with what it could not read."""
    decided: bool = True


def stage_recipes(recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Stages of a manifest's recipe by name."""
    return {str(stage["name"]): stage for stage in recipe.get("stages", [])}


def stage_rules(stage: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rules of a stage of a manifest's recipe by reason; none where it is no Select."""
    return {str(rule["reason"]): rule for rule in stage.get("rules", [])}


def funnel(totals: Totals, stages: list[StageSummary], recipe: Mapping[str, Any]) -> Funnel:
    """The funnel of a decided corpus; what ingest and operators lost comes before its stages."""
    recipes = stage_recipes(recipe)
    return Funnel(
        ingested=totals.ingested,
        kept=totals.kept,
        dropped=totals.dropped,
        quarantined=totals.quarantined,
        stages=[_stage(line, recipes.get(line.stage, {})) for line in funnel_lines(stages)],
    )


def undecided_funnel(ingested: int, errors: dict[str, int], blocked: int) -> Funnel:
    """The funnel of a corpus that was only ingested: what could not be read, what was blocked."""
    unread = sum(errors.values())
    left = ingested - unread - blocked
    summary = StageSummary(
        stage=INGEST,
        fingerprint="",
        entered=ingested,
        kept=left,
        dropped=blocked,
        quarantined=unread,
        reasons={BLOCKED: blocked} if blocked else {},
        errors=dict(sorted(errors.items())),
    )
    return Funnel(
        ingested=ingested,
        kept=left,
        dropped=blocked,
        quarantined=unread,
        stages=[_stage(summary, {})],
        decided=False,
    )


def _stage(summary: StageSummary, recipe: Mapping[str, Any]) -> Stage:
    rules = stage_rules(recipe)
    losses = [
        Loss(
            reason=reason,
            count=summary.reasons.get(reason, 0),
            rule=rule_text(rule),
            source=str(rule.get("source", "")),
            says=rule_words(rule),
            off=rule["threshold"] == [],
        )
        for reason, rule in rules.items()
    ]
    losses += [
        Loss(reason=reason, count=count, source=_REASONS.get(reason, ""))
        for reason, count in summary.reasons.items()
        if reason not in rules
    ]
    losses += [
        Loss(reason=error, count=count, quarantined=True, source=error_meaning(error))
        for error, count in summary.errors.items()
    ]
    return Stage(
        name=summary.stage,
        kind=str(recipe.get("kind", "")),
        settings=settings_text(recipe),
        entered=summary.entered,
        kept=summary.kept,
        losses=losses,
        notes=summary.notes | summary.choices,
        off=summary.off,
        words=stage_words(summary.stage, recipe),
    )


_REASONS = {
    BLOCKED: "stopped by a blocklist at ingest; no bytes were stored",
    "blocked_sha256": "a blocklist names the image's bytes",
    "blocked_phash": "looks like an image that a blocklist names",
    "blocked_url": "a blocklist names the address",
    "blocked_domain": "a blocklist names the domain",
    "blocked_uid": "a blocklist names the sample",
    "same_uid": "the same image and caption; the best twin stays",
    "same_image_caption": "the same image with the same caption; the best twin stays",
    "same_image": "the same image with another caption; the best twin stays",
    "near_image": "looks like a better image that stays",
    "caption_on_many_images": "one caption on many images says nothing about any of them",
    "clip_score": "caption and image agree less than is asked for",
    "not_in_top_fraction": "others agree better with their captions",
    "no_clip_score": "the pair could not be scored",
    "semantic_twin": "shows the same as a better image that stays",
    "benchmark_phash": "looks like an image of a benchmark",
    "benchmark_ngram": "shares a run of words with a text of a benchmark",
    "benchmark_clip": "shows the same as an image of a benchmark",
    "balanced_out": "all that it matches is common, and its draws were too high",
    "unmatched": "matches nothing that is balanced",
    "over_allotment": "its group has as many as it was allotted",
}


def error_meaning(error: str) -> str:
    """What `stage: code`, or a code alone, means."""
    return ERROR_CODES.get(error.rpartition(": ")[2], "")


def reason_meaning(reason: str) -> str:
    """What a drop by a stage without rules means; empty for a reason that is not known here."""
    return _REASONS.get(reason, "")
