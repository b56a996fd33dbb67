"""New captions out of the picture and the original one, by a model behind a chat server.

The server speaks OpenAI's chat completions, as vLLM does. The small model that ships needs none: it
is computed in the worker.
"""

from dataclasses import dataclass, field

import pyarrow as pa

from curation.core.errors import UsageError
from curation.core.operator import IMAGE, BatchFn
from curation.operators.vision_language.chat_operator import EMBEDDED, ChatOperator, lacking
from curation.operators.vision_language.clip_scorer import Floor
from recaption_prompts import ASKING, Prompt


@dataclass(frozen=True, kw_only=True)
class Recaption(ChatOperator):
    """A caption by `model`, which keeps the facts of the original one and adds what is seen.

    Measures nothing until servers or a model are named. The answer is the same whichever server
    gives it and however often it was asked for, as far as the servers themselves are exact at
    temperature 0; `recaption_attempts` tells how often that was. All is null for a row under the
    floor (`recaption_skipped`), for one without a readable image, and, without an image in the
    prompt, for one that lacks a column that the prompt takes.
    """

    name = "recaption"

    prompt: Prompt = field(default_factory=lambda: Prompt.at("factual"))
    """factual, figure or fusion, or a prompt file of your own; `small` is the embedded model's, and
    the only one that it takes."""
    alt_column: str = ""
    """Column with alternative texts, as source_alt of `source_columns`; empty: there is none."""
    ocr_column: str = ""
    """Column with the words read in the picture; empty: there is none."""
    synthetic_column: str = ""
    """Column with a caption of another model, for `fusion`."""
    temperature: float = 0.0
    """0: the most probable words, the same each time."""
    seed: int = 0
    """Sent along; matters above temperature 0."""
    max_tokens: int = 512
    """Of an answer; one that reaches it is an error, cut_answer."""
    guided: bool = True
    """Ask servers to hold the model to the answer's JSON; those that cannot are asked plainly."""
    floor: str = "min_side>=100 aspect_ratio<=5 caption_chars>=1"
    """The loosest thresholds that will ever be wanted; a row outside them is not asked about."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be 0 to 2, got {self.temperature}")
        Floor.parse(self.floor)
        self._take_embedded("factual", "small")
        if self.prompt.name in ASKING:
            raise ValueError(
                f"the prompt {self.prompt.name} asks whether a sentence is true, and for no caption"
            )
        if self.model == EMBEDDED and self.temperature:
            raise ValueError(f"the embedded model takes temperature 0 only, got {self.temperature}")
        super().__post_init__()

    @property
    def patience(self) -> float:
        return 0.0 if self.model == EMBEDDED else self.sample_seconds + self.outage_seconds

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
    def evidence(self) -> tuple[str, ...]:
        """Columns, beside the original caption, whose facts a new caption may state."""
        return tuple(self.columns[name] for name in ("alt", "ocr") if name in self.columns)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Those of them that a reader of the page did not see."""
        return tuple(self.columns[name] for name in ("alt",) if name in self.columns)

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
        self.need_server()
        if not self.prompt.image:
            bare = [name for name in self.prompt.variables if name not in self.columns]
            if bare:
                raise UsageError(
                    f"recaption: the prompt {self.prompt.name} takes {bare[0]} texts; name "
                    f"their column (--set recaption.{bare[0]}_column=NAME)"
                )
        try:
            from curation.operators.vision_language.recaption_batch import Recaptioner
        except ImportError as error:
            raise lacking(self.name, error) from error
        return Recaptioner(self, self.prompt.load())
