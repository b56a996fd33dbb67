"""A recipe: operators, stages and thresholds as one value, and how a user changes it."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.core.blocklist import BlockFile
from curation.core.errors import CorpusError, UsageError
from curation.core.fingerprint import plain
from curation.core.operator import Operator
from curation.core.placement import Placement, placed
from curation.core.step import NOT_ASKED, Step
from curation.core.vocabulary import Vocabulary
from curation.operators.image.pixels import ImagePixels
from curation.operators.image.probe import ImageProbe
from curation.operators.text.caption_facts import CaptionFacts
from curation.operators.text.caption_text import CaptionText
from curation.operators.text.concepts import Concepts
from curation.operators.text.source_columns import SourceColumns
from curation.operators.vision_language.caption_clip import CaptionClip
from curation.operators.vision_language.claim_check import ClaimCheck
from curation.operators.vision_language.clip import Clip
from curation.operators.vision_language.linear_head import HeadFile, LinearHead
from curation.operators.vision_language.recaption import Recaption
from curation.operators.vision_language.visual_cluster import VisualCluster
from curation.relational.balance import Balance
from curation.relational.benchmark_features import FeatureFile
from curation.relational.blocklist import Blocklist
from curation.relational.caption_frequency import CaptionFrequency
from curation.relational.choose_caption import ChooseCaption
from curation.relational.clip_select import ClipSelect
from curation.relational.decontaminate import Decontaminate
from curation.relational.exact_dedup import ExactDedup
from curation.relational.near_dedup import NearDedup
from curation.relational.select import Select
from curation.relational.semantic_dedup import SemanticDedup
from curation.relational.water_fill import WaterFill
from recaption_prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How the chosen samples are written."""

    name: str = "image-text"
    """Corpus name, in the names of shards."""
    seed: int = 0
    """Seed of the shuffle."""
    shuffle: typing.Literal["global", "grouped", "none"] = "global"
    """`global` sorts by a hash; `grouped` reads each source shard once, for object stores."""
    group_shards: int = 64
    """Source shards shuffled together under `grouped`."""
    shard_samples: int = 10_000
    """Samples a shard holds at most."""
    shard_bytes: int = 256 << 20
    """Bytes of media and text a shard holds at most (a larger sample has one to itself)."""
    scores: tuple[str, ...] = ("clip_score", "language", "luma_entropy", "blur", "caption_words")
    """Measures that travel with each sample, in its `meta.scores`."""
    blocklists: tuple[BlockFile, ...] = ()
    """Lists checked once more, on top of the recipe's blocklist stage."""
    strip_metadata: bool = False
    """Remove EXIF (GPS), XMP and comments without touching a pixel; orientation stays."""
    recaptioned: float = 0.0
    """Share of samples (0-1) exported with their `recaption`, where they have one; a hash of the
    uid draws them, so that a larger share keeps those of a smaller one."""

    def __post_init__(self) -> None:
        if self.shuffle not in ("global", "grouped", "none"):
            raise ValueError(f"shuffle must be global, grouped or none, got {self.shuffle!r}")
        for name in ("group_shards", "shard_samples", "shard_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.recaptioned <= 1:
            raise ValueError(f"recaptioned is a share, 0 to 1, got {self.recaptioned}")
        if not self.name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in self.name):
            raise ValueError(f"name takes letters, digits, - and _, got {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the bytes of a corpus and its export, beside the input."""

    family: str
    operators: tuple[Operator, ...]
    """Measured in this order; one may read what an earlier one provides."""
    stages: tuple[Step, ...]
    """Decided in this order, each over the survivors of the one before."""
    export: ExportOptions = ExportOptions()
    placement: Mapping[str, Placement] = field(default_factory=dict)
    """Engine and resources of operators and stages by name; changes no byte."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(map(self._told, self.operators)))

    def _told(self, operator: Operator) -> Operator:
        """`operator`, told of those whose work it checks: their CLIP, prompt, texts."""
        if isinstance(operator, CaptionClip):
            clip = next((o for o in self.operators if isinstance(o, Clip)), None)
            return dataclasses.replace(operator, clip=clip)
        if isinstance(operator, CaptionFacts):
            asked = [o for o in self.operators if isinstance(o, Recaption)]
            shown = [column for o in asked for column in o.evidence]
            unseen = [column for o in asked for column in o.unseen]
            return dataclasses.replace(
                operator,
                prompts=tuple(o.prompt for o in asked),
                evidence=tuple(dict.fromkeys((*operator.evidence, *shown))),
                unseen=tuple(dict.fromkeys((*operator.unseen, *unseen))),
            )
        return operator

    def described(self, asked: "Recipe | None" = None) -> dict[str, Any]:
        """The recipe as the manifest holds it.

        `asked` is the recipe before calibration settled it: stages that differ in it are told
        too, so that a later command starts from what the user asked for.
        """
        stages = [_described(step) for step in self.stages]
        said = {
            "operators": {operator.name: plain(operator) for operator in self.operators},
            "stages": stages,
        }
        before = [_described(step) for step in asked.stages] if asked else stages
        changed = [stage for stage in before if stage not in stages]
        return {**said, "asked": changed} if changed else said

    def resumed(self, described: dict[str, Any]) -> "Recipe":
        """This recipe with the operators and stages that a manifest holds in place of its own.

        Raises CorpusError for a part that this version does not know.
        """
        try:
            operators = {
                name: _rebuild(_OPERATORS[name], fields)
                for name, fields in described["operators"].items()
            }
            stages = {
                stage["name"]: _rebuild(
                    _STEPS[stage["kind"]], {k: v for k, v in stage.items() if k != "kind"}
                )
                for stage in [*described["stages"], *described.get("asked", [])]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"the recipe in the manifest cannot be used: {error!r}") from error
        return dataclasses.replace(
            self,
            operators=tuple(operators.get(o.name, o) for o in self.operators),
            stages=tuple(stages.get(s.name, s) for s in self.stages),
        )

    def limited(self, stages: tuple[str, ...]) -> "Recipe":
        """The recipe with only the named stages, in its own order. Raises UsageError."""
        names = [step.name for step in self.stages]
        for name in stages:
            if name not in names:
                raise UsageError(f"no stage {name!r}{_near(name, names)}")
        return dataclasses.replace(self, stages=tuple(s for s in self.stages if s.name in stages))

    def placed(self, settings: tuple[str, ...]) -> "Recipe":
        """The recipe placed by settings as `clip.engine=ray` or `clip.gpus=0.5`.

        Raises UsageError for one that means nothing.
        """
        measured = (operator.name for operator in self.operators)
        decided = (step.name for step in self.stages)
        names = ("ingest", *measured, *decided, "export")
        return dataclasses.replace(self, placement=placed(self.placement, settings, names))

    def with_settings(self, settings: tuple[str, ...]) -> "Recipe":
        """The recipe changed by `name.field=value` settings.

        `name` is a stage, an operator or `export`; `field` one of its fields, or the reason of one
        of a stage's rules. Raises UsageError naming what can be set instead.
        """
        recipe = self
        for setting in sorted(settings, key=_stands_on_others):
            target, equals, value = setting.partition("=")
            name, dot, part = target.strip().partition(".")
            if not (equals and dot and name and part):
                raise UsageError(f"--set {setting}: write it as stage.field=value")
            recipe = recipe._with(setting, name, part, value.strip())
        return recipe

    def _with(self, setting: str, name: str, part: str, value: str) -> "Recipe":
        if name == "export":
            export = _changed(setting, self.export, part, value)
            return dataclasses.replace(self, export=export)
        steps = tuple(
            _changed(setting, s, part, value) if s.name == name else s for s in self.stages
        )
        if name in [step.name for step in self.stages]:
            return dataclasses.replace(self, stages=steps)
        if name in [operator.name for operator in self.operators]:
            operators = tuple(
                _changed(setting, o, part, value) if o.name == name else o for o in self.operators
            )
            return dataclasses.replace(self, operators=operators)
        names = ["export", *(s.name for s in self.stages), *(o.name for o in self.operators)]
        raise UsageError(f"--set {setting}: no stage {name!r}{_near(name, names)}")


def _stands_on_others(setting: str) -> bool:
    """Whether it is taken last: servers are asked for their model unless another setting names it,
    and unseen columns are of those that others make evidence."""
    return setting.partition("=")[0].strip().endswith((".servers", ".unseen"))


def _described(step: Step) -> dict[str, Any]:
    return {"kind": type(step).__name__, **plain(step)}


_OPERATORS: dict[str, type[Operator]] = {
    kind.name: kind
    for kind in (
        ImageProbe,
        ImagePixels,
        SourceColumns,
        CaptionText,
        Concepts,
        Clip,
        VisualCluster,
        LinearHead,
        Recaption,
        CaptionFacts,
        ClaimCheck,
        CaptionClip,
    )
}
_STEPS: dict[str, type[Step]] = {
    kind.__name__: kind
    for kind in (
        Select,
        Blocklist,
        ExactDedup,
        ClipSelect,
        NearDedup,
        SemanticDedup,
        CaptionFrequency,
        Decontaminate,
        Balance,
        WaterFill,
        ChooseCaption,
    )
}
_FILES: tuple[Any, ...] = (BlockFile, Vocabulary, HeadFile, Prompt)
"""Files that a user names: each is hashed by content, and a manifest holds no path."""


def _rebuild(kind: Any, value: Any) -> Any:
    """`value` (from a manifest) as the annotated type `kind`."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        made = {name: _rebuild(hints[name], item) for name, item in value.items()}
        if kind in (*_FILES, FeatureFile):
            made["path"] = ""
        return kind(**made)
    if isinstance(value, list):
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else str
        return tuple(_rebuild(inner, item) for item in value)
    return value


def _changed(setting: str, item: Any, part: str, value: str) -> Any:
    rules = {rule.reason: rule for rule in item.rules} if isinstance(item, Select) else {}
    if part in rules and isinstance(item, Select):
        numeric = not isinstance(rules[part].threshold, tuple)
        parsed = _parse(setting, value, float if numeric else tuple[str, ...])
        return item.with_threshold(part, parsed)
    hints = typing.get_type_hints(type(item))
    fixed = {"name", "rules"} if isinstance(item, Step) else set()
    found = {"embed_dim", "checkpoint_sha256", "checks", "clip_auc", "prompts"}  # by themselves
    found |= {"clip"} if isinstance(item, CaptionClip) else set()
    names = [f.name for f in dataclasses.fields(item) if f.name not in fixed | found]
    if part not in names:
        raise UsageError(
            f"--set {setting}: {part!r} is not one of its fields{_near(part, [*names, *rules])}"
        )
    changed = {part: _parse(setting, value, hints[part])}
    if isinstance(item, Step) and item.off == NOT_ASKED and part != "off":
        changed["off"] = ""
    try:
        return dataclasses.replace(item, **changed)
    except ValueError as error:
        raise UsageError(f"--set {setting}: {error}") from error


def _parse(setting: str, value: str, kind: Any) -> Any:
    origin = typing.get_origin(kind)
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if kind in _FILES:
            return kind.at(value)
        if kind is int:
            return int(value)
        if kind is float:
            return _number(value)
        if origin is tuple:
            inner = typing.get_args(kind)[0]
            words = [word.strip() for word in value.strip("[]()").split(",") if word.strip()]
            return tuple(_parse(setting, word, inner) for word in words)
        if origin in (types.UnionType, typing.Union):
            inner = [k for k in typing.get_args(kind) if k is not type(None)]
            return None if value.lower() in ("none", "null") else _parse(setting, value, inner[0])
    except (ValueError, KeyError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise UsageError(f"--set {setting}: {value!r} is not a value of type {name}") from error
    return value


def _number(value: str) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError(value)
    return number


def _near(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{hint} (there are: {', '.join(names)})"
