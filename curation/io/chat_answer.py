"""What a chat server answered, checked before anything of it is believed.

The shape is that of OpenAI's chat completions, which vLLM and others speak.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

FINISHED = "stop"
CUT = "length"

_THOUGHT = "</think>"
"""What a model writes before it is no answer; not every server takes that apart itself."""

_MOST_TOKENS = 2**31 - 1

_MOST_RIVALS = 64
"""Tokens whose probabilities are read; servers give 20 at most."""

First = tuple[tuple[str, float], ...]
"""Tokens that an answer's first word might have been, and their probabilities, 0-1."""


class BadAnswerError(ValueError):
    """Bytes or words that are no answer of the shape that was asked for; the message says how."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One choice of a completion."""

    text: str
    finish: str
    """Why the model ended, as the server says: stop, length, content_filter and so on."""
    tokens_in: int | None
    """Of the request, its picture included; null where the server does not say."""
    tokens_out: int | None
    first: First | None = None
    """Of the first token that is more than white space; null where the server gives none."""


def parse_answer(body: bytes) -> Answer:
    """The one choice in a completion. Raises BadAnswerError for anything else."""
    said = _object(body, "the answer")
    choices = said.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise BadAnswerError("the answer has not one choice")
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    finish = choices[0].get("finish_reason")
    if not isinstance(text, str) or not isinstance(finish, str):
        raise BadAnswerError("the answer lacks its text, or why it ended")
    usage = said.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Answer(
        text=_whole(text).rpartition(_THOUGHT)[2],
        finish=_whole(finish)[:32],
        tokens_in=_count(counts.get("prompt_tokens")),
        tokens_out=_count(counts.get("completion_tokens")),
        first=_first(choices[0].get("logprobs")),
    )


def word_probability(first: First, word: str) -> float:
    """How probable it is that an answer begins with `word`, in any case, spaces aside; 0-1."""
    return min(1.0, math.fsum(p for token, p in first if token.strip().casefold() == word))


def _first(said: object) -> First | None:
    """The rivals of the first token that is no white space. Raises BadAnswerError for nonsense."""
    content = said.get("content") if isinstance(said, dict) else None
    if content is None:
        return None
    try:
        place = next((p for p in content[:_MOST_RIVALS] if str(p["token"]).strip()), None)
        rivals = place["top_logprobs"][:_MOST_RIVALS] if place is not None else []
        pairs = [(rival["token"], float(rival["logprob"])) for rival in rivals]
        good = all(isinstance(t, str) and not math.isnan(p) and p < 0.01 for t, p in pairs)
    except (KeyError, TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise BadAnswerError("the answer's log-probabilities are of another shape")
    return tuple((token, min(1.0, math.exp(p))) for token, p in pairs)


def named_string(text: str, key: str) -> str:
    """The string of a JSON object of that one key, in a Markdown fence or not.

    Raises BadAnswerError for any other text.
    """
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json").strip()
    said = _object(bare.encode(), "the model's answer")
    value = said.get(key)
    if len(said) != 1 or not isinstance(value, str) or not value.strip():
        raise BadAnswerError(f"the model's answer is no object of one string {key!r}")
    return _whole(value)


def string_schema(key: str) -> dict[str, Any]:
    """`response_format` of a request whose answer `named_string` reads."""
    schema = {
        "type": "object",
        "properties": {key: {"type": "string"}},
        "required": [key],
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": key, "strict": True, "schema": schema},
    }


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:  # not UTF-8, cut, or nested without end
        raise BadAnswerError(f"{what} is no JSON") from error
    if not isinstance(said, dict):
        raise BadAnswerError(f"{what} is no JSON object")
    return said


def _whole(text: str) -> str:
    """`text`, if it can be written: JSON may spell half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadAnswerError("the answer holds half a character") from error
    return text


def _count(value: object) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if isinstance(value, int) and good else None
