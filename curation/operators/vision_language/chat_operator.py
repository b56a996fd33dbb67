"""An operator whose values a model behind a chat server gives: servers, pictures and patience."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from curation.core.errors import UsageError
from curation.core.operator import Operator
from curation.io.chat_models import served_model
from curation.io.chat_settings import GIVE_UP, ChatSettings, key
from curation.models.captioner import DEMO_CAPTIONER, weights_name
from recaption_prompts import Prompt

EMBEDDED: Final = "embedded"
"""Name of the small model that ships."""

_COMPUTE: Final = ("numpy", "tokenizers", "torch")
"""Distributions whose version changes what the embedded model computes."""

_MOST_AGAIN: Final = 99
_NEVER: Final = 1 << 62


@dataclass(frozen=True, kw_only=True)
class ChatOperator(Operator):
    """Asks `model`, behind `servers` or embedded, about pictures; measures nothing without."""

    libraries = ("pillow",)
    mends = True

    servers: tuple[str, ...] = field(default=(), metadata={"hashed": False})
    """Addresses of servers, as http://gpu1:8000; all serve the same model."""
    model: str = ""
    """Name that the servers know the model by; found from them if only they are named. `embedded`:
    the small model that ships, without a server; it knows the demo's pictures only."""
    prompt: Prompt
    """Name of a prompt that ships, or a prompt file of your own."""
    max_tokens: int
    """Of an answer."""
    max_chars: int = 4000
    """Of each text that goes into the prompt; the rest is cut off."""
    image_side: int = 1024
    """Pixels of the longer side of what is sent, at most."""
    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""
    concurrency: int = field(default=64, metadata={"hashed": False})
    """Requests that a server is given at a time by each worker, at most; it starts with fewer."""
    request_seconds: float = field(default=120.0, metadata={"hashed": False})
    """After which a request is given up and tried again."""
    sample_seconds: float = field(default=600.0, metadata={"hashed": False})
    """For all tries of one answer; waiting while no server is there does not count."""
    outage_seconds: float = field(default=900.0, metadata={"hashed": False})
    """Without any server, after which the run ends."""
    attempts: int = field(default=5, metadata={"hashed": False})
    """Faults of one answer, after which its row has an error."""
    decoders: int = field(default=2, metadata={"hashed": False})
    """Threads that decode and encode pictures beside the requests."""
    again: int = 0
    """One more than before: rows that servers had no answer for are asked about again; all other
    rows are taken from the layer before."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_chars", "max_pixels", "decoders"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.again <= _MOST_AGAIN:
            raise ValueError(f"again must be 0 to {_MOST_AGAIN}, got {self.again}")
        if not 28 <= self.image_side <= 16_384:
            raise ValueError(f"image_side must be 28 to 16384 pixels, got {self.image_side}")
        settings = self.settings  # checks its own
        secret = key() if settings.servers else ""  # here, that a wrong one costs no row
        if settings.servers and not self.model:
            object.__setattr__(self, "model", served_model(settings.servers, secret))

    def _take_embedded(self, usual: str, small: str) -> None:
        """Where the embedded model is named: `small`, the only prompt it takes, for `usual`."""
        if self.model != EMBEDDED:
            return
        if self.servers:
            raise ValueError("the embedded model needs no server: name one or the other")
        if self.prompt == Prompt.at(usual):
            object.__setattr__(self, "prompt", Prompt.at(small))
        if self.prompt.name != small:
            raise ValueError(f"the embedded model takes the prompt {small}, not {self.prompt.name}")

    @property
    def before(self) -> Operator | None:
        return dataclasses.replace(self, again=self.again - 1) if self.again else None

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
            # Nothing but what failed before: that all of it fails again tells nothing of servers.
            give_up=_NEVER if self.again else GIVE_UP,
        )

    @property
    def threads(self) -> int:
        """One, for a pass of its own: nothing else waits for the servers, or computes beside."""
        return 1

    def identity(self) -> Mapping[str, str]:
        """Weights, device and libraries of the embedded model; others are known by name alone."""
        if self.model != EMBEDDED:
            return {}
        versions = {name: importlib.metadata.version(name) for name in _COMPUTE}
        weights = weights_name(DEMO_CAPTIONER)
        return {"device": "cpu", "dtype": "float32", "weights": weights, **versions}

    def need_server(self) -> None:
        """Raises UsageError where a model is named, but nobody who serves it."""
        if not self.servers:
            raise UsageError(
                f"{self.name}: no server of {self.model} is named "
                f"(--set {self.name}.servers=http://HOST:8000)"
            )


def lacking(name: str, error: ImportError) -> UsageError:
    """What operator `name` says where the client's libraries are not installed."""
    return UsageError(
        f"{name} needs {error.name}, which is not installed (pip install 'curation[recaption]')"
    )
