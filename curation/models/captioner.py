"""The small captioner: a Glm4v model that answers requests about pictures, many at a time.

Each request is read by itself, exactly as `glm4v.generate` reads it; the words of all are then
chosen side by side, in slots of a batch of one fixed shape. So an answer does not depend on the
others of its batch, and the first word is that of `generate` to the bit.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from curation.core.errors import UsageError
from curation.core.fingerprint import digest, file_sha256
from curation.models.glm4v.processor import Processor
from curation.models.glm4v.tokenizer import Tokenizer
from curation.models.glm4v.vision_input import VisionSettings
from recaption_prompts import Template

if TYPE_CHECKING:
    from torch import Tensor

    from curation.models.glm4v.batch import PackedBatch
    from curation.models.glm4v.model import Glm4v

DEMO_CAPTIONER: Final = Path(__file__).parent / "demo_captioner"
"""Folder of the model that is shipped."""

SLOTS: Final = 32
"""Requests answered side by side."""

_STRIDE: Final = 64
"""Tokens by which the room for a batch's keys and values grows."""

_NOTES = ("README.md", "metrics.json")
"""Files of a model's folder that change no answer."""

Frame = npt.NDArray[np.uint8]
"""A picture: (height, width, 3)."""


class LongRequestError(Exception):
    """A request that leaves an answer no room among the model's positions."""


@dataclass(frozen=True)
class Answer:
    """What the model said."""

    text: str
    tokens_in: int
    """Of the request, its picture's among them."""
    tokens_out: int
    """Of the answer, the end of it among them."""
    whole: bool
    """Whether it ended by itself."""


def messages(
    template: Template, values: Mapping[str, str | None], max_chars: int, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """The chat that a server is sent; `size` is the picture's, width and height in pixels."""
    system, user = template.render(values, max_chars)
    image = {"type": "image", "width": size[0], "height": size[1]}
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": [image, {"type": "text", "text": user}]},
    ]


@dataclass(frozen=True)
class Request:
    """A picture and what is asked about it, as the model takes it."""

    ids: list[int]
    pixels: "Tensor"
    """Patches of the picture, as in PackedBatch."""
    grid: tuple[int, int, int]


def weights_name(folder: Path) -> str:
    """SHA-256 over all files of a model's folder but notes. Raises UsageError without one."""
    try:
        files = sorted(entry for entry in folder.iterdir() if entry.is_file())
        return digest({e.name: file_sha256(str(e)) for e in files if e.name not in _NOTES})
    except OSError as error:
        raise UsageError(f"{folder}: the model cannot be read ({error.strerror})") from error


def read_vision(folder: Path) -> VisionSettings:
    """Pixel budget of a model's folder. Raises UsageError where it cannot be read."""
    path = folder / "preprocessor_config.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return VisionSettings(
            patch_size=told["patch_size"],
            temporal_patch_size=told["temporal_patch_size"],
            merge_size=told["merge_size"],
            image_min_pixels=told["size"]["shortest_edge"],
            image_max_pixels=told["size"]["longest_edge"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not the settings of a Glm4v processor ({error!r})") from error


class Captioner:
    """A model folder in the format of Hugging Face, loaded; float32, on the CPU."""

    def __init__(self, folder: Path) -> None:
        from curation.models.glm4v.checkpoint import load_pretrained

        self.processor = Processor(Tokenizer(str(folder)), read_vision(folder))
        self.model: Glm4v = load_pretrained(folder)
        self.model.requires_grad_(False)

    def request(
        self,
        template: Template,
        values: Mapping[str, str | None],
        max_chars: int,
        frame: Frame,
        room: int = 1,
    ) -> Request:
        """Lays a request out that an answer of `room` tokens may follow.

        Raises ValueError for a picture of a shape too long, LongRequestError for a text too long:
        the model would compute it for long, and knows no such places.
        """
        from curation.models.glm4v.vision_input import patches

        tall, wide, _ = frame.shape
        laid = self.processor.chat(messages(template, values, max_chars, (wide, tall)))
        most = self.model.config.text.max_position_embeddings
        if len(laid.ids) + room > most:
            raise LongRequestError(f"{len(laid.ids):,} tokens and {room:,} to answer of {most:,}")
        (medium,) = laid.media
        pixels = patches(frame[None], medium.grid, self.processor.vision)
        return Request(laid.ids.tolist(), pixels, medium.grid)

    def pack(self, request: Request) -> "PackedBatch":
        """The request alone."""
        import torch

        from curation.models.glm4v.generate import prompt

        grids = torch.tensor([request.grid])
        return prompt(self.model.config, request.ids, request.pixels, grids)

    def chances(self, request: Request, words: Sequence[str]) -> list[float]:
        """How probable each word's first token is as the first of the answer, 0-1."""
        from curation.models.glm4v.decoder import TokenLayout

        batch = self.pack(request)
        layout = TokenLayout.of(batch, self.model.config.text)
        hidden_TD = self.model.decode(self.model.embeddings(batch), layout)
        shares_V = self.model.head(hidden_TD[-1]).softmax(dim=-1)
        return [float(shares_V[self.processor.tokenizer.encode(word)[0]]) for word in words]

    def answers(self, requests: Sequence[Request], most: int) -> list[Answer]:
        """The likeliest answer to each, of up to `most` tokens.

        Requests of like length (to 64 tokens) share batches, in the order given.
        """
        end = self.processor.tokenizer.end_id
        found: dict[int, Answer] = {}
        for room, places in self._batches(requests):
            batch = _Batch(self.model, room, end)
            for place in places:
                batch.read(self.pack(requests[place]))
            for place, ids in zip(places, batch.chosen(most), strict=True):
                found[place] = Answer(
                    text=self.processor.tokenizer.decode(ids),
                    tokens_in=len(requests[place].ids),
                    tokens_out=len(ids),
                    whole=ids[-1] == end,
                )
        return [found[place] for place in range(len(requests))]

    def _batches(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[int]]]:
        """Room in tokens for requests of each length, and which are answered together."""
        groups: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(-(-len(request.ids) // _STRIDE) * _STRIDE, []).append(place)
        for room, places in sorted(groups.items()):
            for start in range(0, len(places), SLOTS):
                yield room, places[start : start + SLOTS]


class _Batch:
    """SLOTS requests that are answered one token a step. B slots, C tokens of room for each."""

    def __init__(self, model: "Glm4v", room: int, end: int) -> None:
        import torch

        self._model, self._room, self._end = model, room, end
        text = model.config.text
        shape = (SLOTS, text.num_key_value_heads, room, text.head_dim)
        self._keys_BKCd = [torch.zeros(shape) for _ in model.layers]
        self._values_BKCd = [torch.zeros(shape) for _ in model.layers]
        self._lengths_B = torch.zeros(SLOTS, dtype=torch.int64)
        self._places_B = torch.zeros(SLOTS, dtype=torch.int64)
        self._tokens_B = torch.full((SLOTS,), end)
        self._ids: list[list[int]] = []

    def read(self, batch: "PackedBatch") -> None:
        """Takes a request into the next slot, and chooses the first token."""
        from curation.models.glm4v.decoder import KeyValues, TokenLayout

        slot, text, length = len(self._ids), self._model.config.text, len(batch.tokens)
        x_TD = self._model.embeddings(batch)
        shape = (length, text.num_key_value_heads, text.head_dim)
        caches = [KeyValues(x_TD.new_empty(shape), x_TD.new_empty(shape)) for _ in self._keys_BKCd]
        hidden_TD = self._model.decode(x_TD, TokenLayout.of(batch, text), caches)
        for layer, cache in enumerate(caches):
            self._keys_BKCd[layer][slot, :, :length] = cache.keys.transpose(0, 1)
            self._values_BKCd[layer][slot, :, :length] = cache.values.transpose(0, 1)
        self._lengths_B[slot] = length
        self._places_B[slot] = int(batch.positions.max()) + 1
        token = int(self._model.head(hidden_TD[-1]).argmax())
        self._tokens_B[slot] = token
        self._ids.append([token])

    def chosen(self, most: int) -> list[list[int]]:
        """The tokens of each answer, slot by slot; the last is the end where it is whole."""
        for step in range(most - 1):
            going = [ids for ids in self._ids if ids[-1] != self._end]
            if not going:
                break
            if step % _STRIDE == 0:
                self._grow()
            tokens = self._step().tolist()
            for ids, token in zip(self._ids, tokens, strict=False):
                if ids[-1] != self._end:
                    ids.append(token)
        return self._ids

    def _grow(self) -> None:
        from torch.nn.functional import pad

        for caches in (self._keys_BKCd, self._values_BKCd):
            caches[:] = [pad(cache, (0, 0, 0, _STRIDE)) for cache in caches]
        self._room += _STRIDE

    def _step(self) -> "Tensor":
        """The next token of every slot, [B]."""
        import torch

        from curation.models.glm4v.decoder import Block
        from curation.models.glm4v.rope import rotate, text_rope

        model = self._model
        cos, sin = text_rope(self._places_B.expand(3, SLOTS), model.config.text)
        slots = torch.arange(SLOTS)
        seen_BC = torch.arange(self._room) <= self._lengths_B[:, None]
        x_BD = model.embed(self._tokens_B)
        for layer, block in enumerate(model.layers):
            assert isinstance(block, Block)
            attn = block.attn
            normed = block.attn_norm(x_BD)
            q, k, v = (
                p(normed).unflatten(-1, (-1, attn.head_dim)) for p in (attn.q, attn.k, attn.v)
            )
            q, k = (rotate(x, cos, sin, interleaved=attn.interleaved) for x in (q, k))
            keys_BKCd, values_BKCd = self._keys_BKCd[layer], self._values_BKCd[layer]
            keys_BKCd[slots, :, self._lengths_B] = k
            values_BKCd[slots, :, self._lengths_B] = v
            q_BKGd = q.view(SLOTS, keys_BKCd.shape[1], -1, attn.head_dim)
            scores = q_BKGd @ keys_BKCd.transpose(2, 3) * attn.head_dim**-0.5
            shares = scores.masked_fill(~seen_BC[:, None, None], float("-inf")).softmax(dim=-1)
            mixed_BHd = (shares @ values_BKCd).flatten(1, 2)
            x_BD = x_BD + block.attn_post_norm(attn.o(mixed_BHd.flatten(1)))
            x_BD = x_BD + block.mlp_post_norm(block.mlp(block.mlp_norm(x_BD)))
        self._lengths_B += 1
        self._places_B += 1
        self._tokens_B = model.head(model.norm(x_BD)).argmax(dim=-1)
        return self._tokens_B
