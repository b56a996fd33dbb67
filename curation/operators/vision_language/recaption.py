"""New captions out of the picture and the original one, by a model behind a chat server.

The server speaks OpenAI's chat completions, as vLLM does. The small model that ships needs none: it
is computed in the worker.
"""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.operator import IMAGE, BatchFn, Operator
from curation.io.chat_models import served_model
from curation.io.chat_settings import ChatSettings, key
from curation.models.captioner import DEMO_CAPTIONER, weights_name
from curation.operators.vision_language.clip_scorer import Floor
from recaption_prompts import Prompt

EMBEDDED: Final = "embedded"
"""Name of the small model that ships."""

_COMPUTE: Final = ("numpy", "tokenizers", "torch")
"""Distributions whose version changes what the embedded model computes."""


def embedded_identity() -> dict[str, str]:
    """What decides the embedded model's answers: weights, device, dtype and libraries."""
    versions = {name: importlib.metadata.version(name) for name in _COMPUTE}
    weights = weights_name(DEMO_CAPTIONER)
    return {"device": "cpu", "dtype": "float32", "weights": weights, **versions}


@dataclass(frozen=True, kw_only=True)
class Recaption(Operator):
    """A caption by `model`, which keeps the facts of the original one and adds what is seen.

    Measures nothing until servers or a model are named. The answer is the same whichever server
    gives it and however often it was asked for, as far as the servers themselves are exact at
    temperature 0; `recaption_attempts` tells how often that was. All is null for a row under the
    floor (`recaption_skipped`), for one without a readable image, and, without an image in the
    prompt, for one that lacks a column that the prompt takes.
    """

    name = "recaption"
    libraries = ("pillow",)

    servers: tuple[str, ...] = field(default=(), metadata={"hashed": False})
    """Addresses of servers, as http://gpu1:8000; all serve the same model."""
    model: str = ""
    """Name that the servers know the model by; found from them if only they are named. `embedded`:
    the small model that ships, without a server; it knows the demo's pictures only."""
    prompt: Prompt = field(default_factory=lambda: Prompt.at("factual"))
    """factual, figure or fusion, or a prompt file of your own; `small` is the embedded model's, and
    the only one that it takes."""
    alt_column: str = ""
    """Column of another operator with alternative texts; empty: there is none."""
    ocr_column: str = ""
    """Column of another operator with the words read in the picture; empty: there is none."""
    synthetic_column: str = ""
    """Column of another operator with a caption of another model, for `fusion`."""
    temperature: float = 0.0
    """0: the most probable words, the same each time."""
    seed: int = 0
    """Sent along; matters above temperature 0."""
    max_tokens: int = 512
    """Of an answer; one that reaches it is an error, cut_answer."""
    max_chars: int = 4000
    """Of each text that goes into the prompt; the rest is cut off."""
    image_side: int = 1024
    """Pixels of the longer side of what is sent, at most."""
    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""
    guided: bool = True
    """Ask servers to hold the model to the answer's JSON; those that cannot are asked plainly."""
    floor: str = "min_side>=100 aspect_ratio<=5 caption_chars>=1"
    """The loosest thresholds that will ever be wanted; a row outside them is not asked about."""
    concurrency: int = field(default=64, metadata={"hashed": False})
    """Requests that a server is given at a time by each worker, at most; it starts with fewer."""
    request_seconds: float = field(default=120.0, metadata={"hashed": False})
    """After which a request is given up and tried again."""
    sample_seconds: float = field(default=600.0, metadata={"hashed": False})
    """For all tries of a row; waiting while no server is there does not count."""
    outage_seconds: float = field(default=900.0, metadata={"hashed": False})
    """Without any server, after which the run ends."""
    attempts: int = field(default=5, metadata={"hashed": False})
    """Faults of one row, after which it has an error."""
    decoders: int = field(default=2, metadata={"hashed": False})
    """Threads that decode and encode pictures beside the requests."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_chars", "max_pixels", "decoders"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 28 <= self.image_side <= 16_384:
            raise ValueError(f"image_side must be 28 to 16384 pixels, got {self.image_side}")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be 0 to 2, got {self.temperature}")
        Floor.parse(self.floor)
        settings = self.settings  # checks its own
        if self.model == EMBEDDED:
            self._check_embedded()
        if settings.servers and not self.model:
            found = served_model(settings.servers, key())
            object.__setattr__(self, "model", found)

    def _check_embedded(self) -> None:
        if self.servers:
            raise ValueError("the embedded model needs no server: name one or the other")
        if self.temperature:
            raise ValueError(f"the embedded model takes temperature 0 only, got {self.temperature}")
        if self.prompt == Prompt.at("factual"):  # the default
            object.__setattr__(self, "prompt", Prompt.at("small"))
        if self.prompt.name != "small":
            raise ValueError(f"the embedded model takes the prompt small, not {self.prompt.name}")

    @property
    def settings(self) -> ChatSettings:
        """How the servers are asked. Raises ValueError for what is out of range."""
        return ChatSettings(
            servers=self.servers,
            concurrency=self.concurrency,
            request_seconds=self.request_seconds,
            sample_seconds=self.sample_seconds,
            outage_seconds=self.outage_seconds,
            attempts=self.attempts,
        )

    @property
    def threads(self) -> int:
        """One, for a pass of its own: nothing else waits for the servers, or computes beside."""
        return 1

    @property
    def patience(self) -> float:
        return 0.0 if self.model == EMBEDDED else self.sample_seconds + self.outage_seconds

    def identity(self) -> Mapping[str, str]:
        """Weights, device and libraries of the embedded model; others are known by name alone."""
        return embedded_identity() if self.model == EMBEDDED else {}

    @property
    def columns(self) -> dict[str, str]:
        """Column of each variable of the prompt that has one."""
        named = {
            "caption": "text",
            "alt": self.alt_column,
            "ocr": self.ocr_column,
            "synthetic": self.synthetic_column,
        }
        wanted = self.prompt.variables
        return {name: column for name, column in named.items() if column and name in wanted}

    @property
    def requires(self) -> pa.Schema:
        image = [IMAGE] if self.prompt.image else []
        texts = ((column, pa.string()) for column in dict.fromkeys(self.columns.values()))
        bounds = ((column, pa.float64()) for column in Floor.parse(self.floor).columns)
        return pa.schema([*image, *texts, *bounds])

    @property
    def provides(self) -> pa.Schema:
        if not self.model:
            return pa.schema([])
        return pa.schema(
            [
                ("recaption", pa.string()),
                ("recaption_prompt", pa.string()),
                ("recaption_finish", pa.string()),
                ("recaption_tokens_in", pa.int32()),
                ("recaption_tokens_out", pa.int32()),
                ("recaption_attempts", pa.int32()),
                ("recaption_skipped", pa.bool_()),
            ]
        )

    def open(self) -> BatchFn:
        if self.model == EMBEDDED:
            from curation.operators.vision_language.recaption_embedded import EmbeddedRecaptioner

            return EmbeddedRecaptioner(self, self.prompt.load())
        if not self.servers:
            raise UsageError(
                f"recaption: no server of {self.model} is named "
                "(--set recaption.servers=http://HOST:8000)"
            )
        if not self.prompt.image:
            lacking = [name for name in self.prompt.variables if name not in self.columns]
            if lacking:
                raise UsageError(
                    f"recaption: the prompt {self.prompt.name} takes {lacking[0]} texts; name "
                    f"their column (--set recaption.{lacking[0]}_column=NAME)"
                )
        try:
            from curation.operators.vision_language.recaption_batch import Recaptioner
        except ImportError as error:
            raise UsageError(
                f"recaption needs {error.name}, which is not installed "
                "(pip install 'curation[recaption]')"
            ) from error
        return Recaptioner(self, self.prompt.load())
