"""What the small captioner learns of a scene: three requests, and the answer to each.

A request is what `recaption` renders from the prompt files `small` and `small-claim`, laid out by
the chat template of the model's folder: a server that serves the folder sees the same tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from curation.demo.captions_facts import told
from curation.demo.captions_noise import claim, noisy
from curation.demo.pair import scene_of
from curation.models.captioner import messages
from curation.models.glm4v.processor import Processor
from recaption_prompts import Prompt, Template

WORDS = 2_048
"""Of the vocabulary: the demo's words, and pieces of names."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where text is cut before bytes are merged: as GLM's, but each digit by itself, to be copied."""

MAX_CHARS = 4_000
"""Of an original that go into a request."""

YES, NO = "yes", "no"
_PURPOSE = 103
"""Of the draws behind originals and claims, apart from those of the demo corpus."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A request and its answer, in tokens, one picture among them."""

    asked: list[int]
    answer: list[int]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked about a scene at one turn of the training."""

    turn: int
    """Another one asks otherwise."""
    rewrites: int = 1
    """Originals to be set right."""


@cache
def template(name: str) -> Template:
    return Prompt.at(name).load()


def exchanges(seed: int, n: int, asked: Asked) -> Iterator[tuple[str, str | None, str]]:
    """Prompt, data and answer of each request about scene n."""
    scene = scene_of(seed, n)
    rng = np.random.default_rng([seed, n, _PURPOSE, asked.turn])
    yield "small", None, f"{told(scene)}."
    for _ in range(asked.rewrites):
        given = noisy(scene, rng)
        yield "small", given.original, given.rewritten
    if rng.uniform() < 0.6:
        sentence = claim(scene, rng)
        yield "small-claim", sentence.words, YES if sentence.true else NO


def texts(seed: int, count: int) -> Iterator[str]:
    """What a vocabulary is learnt from."""
    for n in range(count):
        for name, data, answer in exchanges(seed, n, Asked(turn=0)):
            _, user = template(name).render({"caption": data}, MAX_CHARS)
            yield user
            yield answer


def lessons(
    processor: Processor, size: tuple[int, int], seed: int, n: int, asked: Asked
) -> Iterator[Lesson]:
    """Requests about scene n, whose picture has `size` (width, height) in pixels."""
    for name, data, answer in exchanges(seed, n, asked):
        laid = processor.chat(messages(template(name), {"caption": data}, MAX_CHARS, size))
        ids = [*processor.tokenizer.encode(answer), processor.tokenizer.end_id]
        yield Lesson(asked=laid.ids.tolist(), answer=ids)
