"""Every setting of a training run; the numbers themselves are in `jobs/train.py`."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from curation.core.errors import UsageError
from curation.models.device import DTYPES
from curation.models.glm4v.vision_input import VisionSettings
from curation.trainer.loss import Normalise
from curation.trainer.schedule import Schedule, Shape


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """One pretraining stage of one model."""

    stage: int
    """1 or 2."""
    config: str
    """Name of the model's shape: tiny, demo, 1b, 9b, 106b."""
    families: tuple[str, ...]
    """Families that the stage reads."""
    replay: float
    """Share of all tokens that the corpora of the stage before get, where the run starts from one
    of ours; the corpora that are named share the rest."""

    sequence_length: int
    """Tokens of a pack."""
    global_batch: int
    """Packs of a step, over all processes."""
    steps: int
    seed: int = 0

    vision: VisionSettings
    """Pixel budgets and frame rate."""

    learning_rate: float
    """Peak."""
    schedule: Shape = "cosine"
    warmup: int
    """Steps up to the peak."""
    floor: float = 0.1
    """Learning rate at the end, as a share of the peak."""
    decay: float = 0.2
    """Share of the steps in which the wsd schedule goes down."""
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    normalise: Normalise = "token"
    """What counts alike in a step's loss: tokens, or (sqrt) samples by the root of their tokens."""
    balance_rate: float = 1e-3
    """How far a step moves the routing bias of an expert (loss-free balancing)."""
    balance_loss: float = 1e-4
    """Weight of the sequence-level balance loss of the experts."""

    dtype: str
    """What multiplies: float32 or bfloat16; parameters, gradients and moments stay float32."""
    recompute: bool
    """Forget the activations of each block until the backward pass."""
    compiled: bool = False
    """torch.compile for each block."""
    loss_chunk: int = 1024
    """Positions whose logits exist at a time."""

    most_epochs: float = 1000.0
    """Times that a corpus may be read; a plan that would read one more often is refused."""
    most_unreadable: float = 0.01
    """Share of samples that cannot be decoded above which a run stops."""
    checkpoint_every: int
    """Steps between checkpoints."""
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        counts = ("global_batch", "steps", "checkpoint_every", "keep_checkpoints", "loss_chunk")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.sequence_length < _LEAST_LENGTH:
            raise ValueError(
                f"sequence_length must be at least {_LEAST_LENGTH}, got {self.sequence_length}"
            )
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be 0 to 2**63 - 1, got {self.seed}")
        for name in ("learning_rate", "clip_norm", "eps", "most_epochs"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "balance_rate", "balance_loss", "most_unreadable"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.normalise not in ("token", "sqrt"):
            raise ValueError(f"normalise must be token or sqrt, got {self.normalise!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay must be at least 0 and less than 1, got {self.replay}")
        self.rates()

    def rates(self) -> Schedule:
        """The learning rate by step. Raises ValueError for a schedule that cannot be."""
        return Schedule(
            shape=self.schedule,
            steps=self.steps,
            warmup=self.warmup,
            floor=self.floor,
            decay=self.decay,
        )

    def with_settings(self, settings: Iterable[str]) -> "TrainRecipe":
        """The recipe changed by `field=value` settings, `vision.field=value` for pixel budgets.

        Raises UsageError for a field that is not there, or a value that cannot be.
        """
        recipe = self
        for setting in settings:
            name, equals, value = (part.strip() for part in setting.partition("="))
            if not equals or not name:
                raise UsageError(f"--set {setting}: write it as field=value")
            try:
                if name.startswith("vision."):
                    changed = _changed(recipe.vision, name.removeprefix("vision."), value)
                    recipe = replace(recipe, vision=changed)
                else:
                    recipe = _changed(recipe, name, value)
            except (ValueError, TypeError) as error:
                raise UsageError(f"--set {setting}: {error}") from error
        return recipe

    def taking(self, steps: int) -> "TrainRecipe":
        """The recipe for another number of steps, warmed up for at most a tenth of them."""
        return replace(self, steps=steps, warmup=min(self.warmup, steps // 10))

    def told(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


_SHAPE = ("patch_size", "temporal_patch_size", "merge_size")
_OTHERWISE = frozenset(("stage", "config", "families", "vision", "steps", "seed", "betas", *_SHAPE))
"""Fields that `--set` does not reach: options of their own, what makes the stage, or the model's
shape."""

_LEAST_LENGTH = 16
"""Tokens of a pack: fewer hold no sample."""

Settings = TypeVar("Settings", TrainRecipe, VisionSettings)


def _changed(settings: Settings, name: str, value: str) -> Settings:
    """One field given as text. Raises ValueError."""
    known = {f.name for f in fields(settings)} - _OTHERWISE
    if name not in known:
        raise ValueError(f"no such setting (there are: {', '.join(sorted(known))})")
    before = getattr(settings, name)
    made: Any
    try:
        made = type(before)(value) if not isinstance(before, bool) else _TRUTH[value.lower()]
    except KeyError as error:
        raise ValueError(f"{name} takes true or false") from error
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}.get(type(before), "another value")
        raise ValueError(f"{name} takes {kind}") from error
    return replace(settings, **{name: made})


_TRUTH = {"true": True, "false": False}

_FREE = frozenset(
    (
        "checkpoint_every",
        "keep_checkpoints",
        "recompute",
        "compiled",
        "most_epochs",
        "most_unreadable",
    )
)
"""Settings that a resumed run may change: none moves the loss (beyond what a compiler rounds)."""


def check_same(found: dict[str, Any], asked: dict[str, Any], place: str) -> None:
    """Raises UsageError where a run is to go on with other settings or another plan.

    `found` is the record of the run in `place`, `asked` that of the command.
    """
    theirs, ours = _flat(found), _flat(asked)
    other = sorted(
        key
        for key in theirs.keys() | ours.keys()
        if key.split(".")[-1] not in _FREE and theirs.get(key) != ours.get(key)
    )
    if other:
        first = other[0]
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise UsageError(
            f"{place}: holds a run with another plan ({first} was {theirs.get(first)}, now "
            f"{ours.get(first)}{more}); name another --out, or give the settings it began with"
        )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": v for inner, v in _flat(value).items()})
        else:
            flat[key] = value
    return flat
