"""Whether each sentence of a new caption is true of the picture, as a model that sees it judges."""

from dataclasses import dataclass, field

import pyarrow as pa

from curation.core.operator import IMAGE, BatchFn
from curation.operators.vision_language.chat_operator import EMBEDDED, ChatOperator, lacking
from recaption_prompts import ASKING, SHIPPED, Prompt

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
class ClaimCheck(ChatOperator):
    """How probable `yes` and `no` are as the first word of `model`'s answer for each sentence.

    Records no verdict. Names and numbers that no picture shows are not its matter but that of
    `caption_facts`; the original caption is not shown to the model, so that nothing in it can ask
    for an answer. Measures nothing until servers or a model are named; best another model than
    the one that wrote the captions, which believes what it wrote. `claims_asked` counts requests
    that reached a server. All is null for a row without a new caption or a readable image, and
    for one of which a sentence had no answer (`error`).
    """

    name = "claim_check"
    version = 2
    follows = "recaption"

    prompt: Prompt = field(default_factory=lambda: Prompt.at("claim"))
    """claim, or a prompt file of your own; it takes the sentence as its caption, and the picture.
    `small-claim` is the embedded model's, and the only one that it takes."""
    rivals: int = 20
    """First words whose probabilities are asked for, 1-20; `yes` and `no` are among few."""
    max_tokens: int = 1
    """Of an answer; more for a model that begins with white space."""
    max_sentences: int = 40
    """Of a caption that are asked about; a caption has a handful."""

    def __post_init__(self) -> None:
        if self.max_sentences < 1:
            raise ValueError(f"max_sentences must be at least 1, got {self.max_sentences}")
        if not 1 <= self.rivals <= 20:
            raise ValueError(f"rivals must be 1 to 20, got {self.rivals}")
        if self.prompt.variables != ("caption",) or not self.prompt.image:
            raise ValueError(
                f"the prompt {self.prompt.name} does not take a picture and one caption"
            )
        if self.prompt.path and (output := self.prompt.load().output) != "text":
            raise ValueError(
                f"the prompt {self.prompt.name} gives {output}; one of claim_check gives text"
            )
        self._take_embedded("claim", "small-claim")
        if self.prompt.name in SHIPPED and self.prompt.name not in ASKING:
            raise ValueError(f"the prompt {self.prompt.name} asks for a caption, not for the truth")
        super().__post_init__()

    @property
    def patience(self) -> float:
        if self.model == EMBEDDED:
            return self.max_sentences * _EMBEDDED_SECONDS
        return self.max_sentences * self.sample_seconds + self.outage_seconds

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
        self.need_server()
        try:
            from curation.operators.vision_language.claim_check_batch import ClaimChecker
        except ImportError as error:
            raise lacking(self.name, error) from error
        return ClaimChecker(self, self.prompt.load())
