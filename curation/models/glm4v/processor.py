"""How a training sample or a chat is laid out in tokens: what transformers' Glm4vProcessor does.

    [gMASK]<sop> segments... <|endoftext|>
    image    <|begin_of_image|> <|image|>... <|end_of_image|>
    video    <|begin_of_video|>, each pair of frames as an image with its whole second behind it,
             <|end_of_video|>
    box      <|begin_of_box|> [[x1,y1,x2,y2]] <|end_of_box|>

A sample too long for a sequence is read in parts, each of whole segments; every part starts with
`[gMASK]<sop>`, the last one ends with `<|endoftext|>`, which is always learnt.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.models.glm4v.tokenizer import Tokenizer
from curation.models.glm4v.vision_input import Grid, VisionSettings, frame_times
from schemas.sample import Segment

LAYOUT_VERSION = 1
"""Raised when the same segments would be laid out otherwise; part of every token count."""

CHAT_TEMPLATE = """\
[gMASK]<sop>
{%- for message in messages %}
{%- if message.role == 'user' %}{{ '<|user|>\\n' }}
{%- elif message.role == 'system' %}{{ '<|system|>\\n' }}
{%- else %}{{ '<|assistant|>\\n' }}{% endif %}
{%- if message.content is string %}{{ message.content }}
{%- else %}{% for item in message.content %}
{%- if item.type == 'image' %}<|begin_of_image|><|image|><|end_of_image|>
{%- elif item.type == 'video' %}<|begin_of_video|><|video|><|end_of_video|>
{%- else %}{{ item.text }}{% endif %}
{%- endfor %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""
"""Chat as GLM-4.1V lays it out, in Jinja, for readers of our checkpoints; `chat` does the same."""


@dataclass(frozen=True)
class Medium:
    """An image or video of a sample, as planned."""

    member: str
    """Extension of its tar member, as `0.jpg`."""
    grid: Grid
    width: int
    """Pixels as the index tells them, after EXIF orientation."""
    height: int
    times: tuple[float, ...] = ()
    """Seconds of the frames shown; empty for an image."""

    @property
    def patches(self) -> int:
        time, tall, wide = self.grid
        return time * tall * wide


@dataclass(frozen=True)
class Laid:
    """A segment in tokens."""

    ids: list[int]
    learnt: bool
    medium: Medium | None = None


@dataclass(frozen=True)
class LaidSample:
    """A sample, or a part of one, in tokens."""

    ids: npt.NDArray[np.int64]
    learnt: npt.NDArray[np.bool_]
    """Whether each token is one to predict."""
    media: tuple[Medium, ...]


@dataclass(frozen=True)
class Processor:
    """Tokenizer and vision settings: all that decides a layout."""

    tokenizer: Tokenizer
    vision: VisionSettings = field(default_factory=VisionSettings)

    def identity(self) -> dict[str, object]:
        """What a fingerprint of token counts holds."""
        from curation.core.fingerprint import plain

        return {
            "tokenizer": self.tokenizer.sha256,
            "vision": plain(self.vision),
            "layout": LAYOUT_VERSION,
        }

    def lay_out(self, segments: Sequence[Segment]) -> list[Laid]:
        """Each segment in tokens, without what begins and ends a sample.

        Raises ValueError for a segment that cannot be laid out: an unknown type, a size of 0, a
        box that is not four numbers of 0-999, timestamps that do not ascend, anything that the
        schema of a segment does not allow.
        """
        try:
            return [self._laid(segment) for segment in segments]
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a segment ({error!r:.80})") from error

    def _laid(self, segment: Segment) -> Laid:
        kind = segment["type"]
        if kind in ("text", "box") and not isinstance(segment["loss"], bool):
            raise TypeError("loss is neither true nor false")
        if kind == "text":
            if not isinstance(segment["text"], str):
                raise TypeError("text is none")
            return Laid(self.tokenizer.encode(segment["text"]), segment["loss"])
        if kind == "box":
            return Laid(self._box(segment["box"]), segment["loss"])
        if kind == "image":
            return self._image(segment["width"], segment["height"], segment["member"])
        if kind == "video":
            size = (segment["width"], segment["height"])
            return self._video(*size, segment["timestamps"], segment["member"])
        raise ValueError(f"unknown segment type {kind!r}")

    def _box(self, box: Sequence[int]) -> list[int]:
        if len(box) != 4 or not all(0 <= side <= 999 for side in box):
            raise ValueError(f"not a box in 0-999: {box}")
        special = self.tokenizer.special
        text = f"[[{','.join(str(side) for side in box)}]]"
        return [
            special["<|begin_of_box|>"],
            *self.tokenizer.encode(text),
            special["<|end_of_box|>"],
        ]

    def _frame(self, tokens: int) -> list[int]:
        special = self.tokenizer.special
        pads = [special["<|image|>"]] * tokens
        return [special["<|begin_of_image|>"], *pads, special["<|end_of_image|>"]]

    def _image(self, width: int, height: int, member: str) -> Laid:
        grid = self.vision.image_grid(width, height)
        medium = Medium(member, grid, width, height)
        return Laid(self._frame(self.vision.tokens(grid)), False, medium)

    def _video(self, width: int, height: int, timestamps: Sequence[float], member: str) -> Laid:
        times = frame_times(timestamps, self.vision)
        grid = self.vision.video_grid(len(times), width, height)
        frame = self._frame(self.vision.tokens(grid) // grid[0])
        special = self.tokenizer.special
        ids = [special["<|begin_of_video|>"]]
        for time in times[:: self.vision.temporal_patch_size]:
            ids += [*frame, *self.tokenizer.encode(str(int(time)))]
        ids.append(special["<|end_of_video|>"])
        return Laid(ids, False, Medium(member, grid, width, height, tuple(times)))

    def sample(self, laid: Sequence[Laid], first: int = 0, stop: int | None = None) -> LaidSample:
        """The part of a sample that holds its segments `first` to `stop`; the whole by default."""
        special = self.tokenizer.special
        stop = len(laid) if stop is None else stop
        start = Laid([special["[gMASK]"], special["<sop>"]], False)
        end = [Laid([self.tokenizer.end_id], True)] if stop == len(laid) else []
        parts = [start, *laid[first:stop], *end]
        ids = np.fromiter(itertools.chain.from_iterable(part.ids for part in parts), np.int64)
        learnt = np.repeat([part.learnt for part in parts], [len(part.ids) for part in parts])
        return LaidSample(ids, learnt, tuple(p.medium for p in parts if p.medium))

    def chat(self, messages: Sequence[dict[str, Any]], *, reply: bool = True) -> LaidSample:
        """A chat as a prompt, by CHAT_TEMPLATE; with `reply` it asks for the assistant's turn.

        A message has `role` and `content`: text, or a list of items with `type` text (`text`),
        image (`width`, `height`) or video (`width`, `height`, `timestamps`).
        """
        special = self.tokenizer.special
        parts = [Laid([special["[gMASK]"], special["<sop>"]], False)]
        for message in messages:
            role = message["role"] if message["role"] in ("user", "system") else "assistant"
            parts.append(Laid([special[f"<|{role}|>"]], False))
            content = message["content"]
            items = [{"type": "text", "text": content}] if isinstance(content, str) else content
            parts += self._turn(items)
        if reply:
            parts += [Laid([special["<|assistant|>"]], False), *self._turn([])]
        ids = np.fromiter(itertools.chain.from_iterable(part.ids for part in parts), np.int64)
        return LaidSample(
            ids, np.zeros(len(ids), np.bool_), tuple(p.medium for p in parts if p.medium)
        )

    def _turn(self, items: Sequence[dict[str, Any]]) -> list[Laid]:
        """A message's items after its newline; words between media are encoded together."""
        parts: list[Laid] = []
        text = "\n"
        for number, item in enumerate(items):
            if item["type"] == "text":
                text += item["text"]
                continue
            if text:
                parts.append(Laid(self.tokenizer.encode(text), False))
                text = ""
            size, member = (item["width"], item["height"]), item.get("member", str(number))
            parts.append(
                self._image(*size, member)
                if item["type"] == "image"
                else self._video(*size, item["timestamps"], member)
            )
        return [*parts, Laid(self.tokenizer.encode(text), False)] if text else parts
