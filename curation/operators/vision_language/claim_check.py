"""Whether each sentence of a new caption is true of the picture, as a model that sees it judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.operator import IMAGE, BatchFn, Operator
from curation.io.chat_models import served_model
from curation.io.chat_settings import ChatSettings, key
from curation.operators.vision_language.recaption import EMBEDDED, embedded_identity
from recaption_prompts import Prompt

CLAIM = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("p_yes", pa.float32()),
        ("p_no", pa.float32()),
    ]
)
"""A sentence of the new caption by its characters, and how probable both answers are, 0-1."""

_EMBEDDED_SECONDS = 1.0
"""That a sentence may take the embedded model; it takes some hundredths."""


@dataclass(frozen=True, kw_only=True)
class ClaimCheck(Operator):
    """How probable `yes` and `no` are as the first word of `model`'s answer for each sentence.

    Records no verdict. Names and numbers that no picture shows are not its matter but that of
    `caption_facts`; the original caption is not shown to the model, so that nothing in it can ask
    for an answer. Measures nothing until servers or a model are named; best another model than
    the one that wrote the captions, which believes what it wrote. `claims_asked` counts requests
    that reached a server. All is null for a row without a new caption or a readable image, and
    for one of which a sentence had no answer (`error`).
    """

    name = "claim_check"
    follows = "recaption"
    libraries = ("pillow",)

    servers: tuple[str, ...] = field(default=(), metadata={"hashed": False})
    """Addresses of servers that give log-probabilities; all serve the same model."""
    model: str = ""
    """Name that the servers know the model by; found from them if only they are named. `embedded`:
    the small model that ships, without a server; it knows the demo's pictures only."""
    prompt: Prompt = field(default_factory=lambda: Prompt.at("claim"))
    """claim, or a prompt file of your own; it takes the sentence as its caption, and the picture.
    `small-claim` is the embedded model's, and the only one that it takes."""
    rivals: int = 20
    """First words whose probabilities are asked for, 1-20; `yes` and `no` are among few."""
    max_tokens: int = 1
    """Of an answer; more for a model that begins with white space."""
    max_sentences: int = 40
    """Of a caption that are asked about; a caption has a handful."""
    max_chars: int = 4000
    """Of a sentence; the rest is cut off."""
    image_side: int = 1024
    """Pixels of the longer side of what is sent, at most."""
    max_pixels: int = 89_478_485
    """Pixels (claimed by the header) above which an image is a bomb; Pillow's own limit."""
    concurrency: int = field(default=64, metadata={"hashed": False})
    """Requests that a server is given at a time by each worker, at most; it starts with fewer."""
    request_seconds: float = field(default=120.0, metadata={"hashed": False})
    """After which a request is given up and tried again."""
    sample_seconds: float = field(default=600.0, metadata={"hashed": False})
    """For all tries of a sentence; waiting while no server is there does not count."""
    outage_seconds: float = field(default=900.0, metadata={"hashed": False})
    """Without any server, after which the run ends."""
    attempts: int = field(default=5, metadata={"hashed": False})
    """Faults of one sentence, after which its row has an error."""
    decoders: int = field(default=2, metadata={"hashed": False})
    """Threads that decode and encode pictures beside the requests."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_sentences", "max_chars", "max_pixels", "decoders"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 28 <= self.image_side <= 16_384:
            raise ValueError(f"image_side must be 28 to 16384 pixels, got {self.image_side}")
        if not 1 <= self.rivals <= 20:
            raise ValueError(f"rivals must be 1 to 20, got {self.rivals}")
        if self.prompt.variables != ("caption",) or not self.prompt.image:
            raise ValueError(
                f"the prompt {self.prompt.name} does not take a picture and one caption"
            )
        if self.model == EMBEDDED:
            self._check_embedded()
        settings = self.settings  # checks its own
        if settings.servers and not self.model:
            object.__setattr__(self, "model", served_model(settings.servers, key()))

    def _check_embedded(self) -> None:
        if self.servers:
            raise ValueError("the embedded model needs no server: name one or the other")
        if self.prompt == Prompt.at("claim"):  # the default
            object.__setattr__(self, "prompt", Prompt.at("small-claim"))
        if self.prompt.name != "small-claim":
            raise ValueError(
                f"the embedded model takes the prompt small-claim, not {self.prompt.name}"
            )

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
        if self.model == EMBEDDED:
            return self.max_sentences * _EMBEDDED_SECONDS
        return self.max_sentences * self.sample_seconds + self.outage_seconds

    def identity(self) -> Mapping[str, str]:
        """Weights, device and libraries of the embedded model; others are known by name alone."""
        return embedded_identity() if self.model == EMBEDDED else {}

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([IMAGE, ("recaption", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        if not self.model:
            return pa.schema([])
        return pa.schema([("claims_checked", pa.list_(CLAIM)), ("claims_asked", pa.int32())])

    def open(self) -> BatchFn:
        if self.model == EMBEDDED:
            from curation.operators.vision_language.claim_check_embedded import EmbeddedChecker

            return EmbeddedChecker(self, self.prompt.load())
        if not self.servers:
            raise UsageError(
                f"claim_check: no server of {self.model} is named "
                "(--set claim_check.servers=http://HOST:8000)"
            )
        try:
            from curation.operators.vision_language.claim_check_batch import ClaimChecker
        except ImportError as error:
            raise UsageError(
                f"claim_check needs {error.name}, which is not installed "
                "(pip install 'curation[recaption]')"
            ) from error
        return ClaimChecker(self, self.prompt.load())
