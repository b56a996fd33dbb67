"""What a step of the small captioner's training costs it: a pack of lessons, each picture once."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from curation.demo.captions_eyes import seeing_loss, seen
from curation.demo.captions_pictures import Pixels
from curation.demo.captions_tasks import Asked, Lesson, lessons
from curation.demo.pair import scene_of
from curation.models.glm4v.config import Glm4vConfig
from curation.models.glm4v.processor import Processor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from curation.models.glm4v.batch import PackedBatch
    from curation.models.glm4v.model import Glm4v


class Shown:
    """A picture, what it shows, and what is asked about it."""

    def __init__(
        self, picture: Pixels, processor: Processor, seed: int, n: int, asked: Asked | None = None
    ) -> None:
        """Without `asked` nothing is."""
        from curation.models.glm4v.vision_input import patches

        tall, wide, _ = picture.shape
        vision = processor.vision
        self.grid = (1, tall // vision.patch_size, wide // vision.patch_size)
        self.tokens = vision.tokens(self.grid)
        self.patches = patches(picture[None], self.grid, vision)
        self.labels = seen(scene_of(seed, n), tall // vision.factor, wide // vision.factor)
        size = (wide, tall)
        self.lessons = [] if asked is None else list(lessons(processor, size, seed, n, asked))


def media(model: "Glm4v", scenes: list[Shown]) -> "Tensor":
    """Tokens of the pictures, one behind the other; those of one shape should lie together."""
    import torch

    grids = torch.tensor([scene.grid for scene in scenes])
    media_ND: Tensor = model.vision(torch.cat([scene.patches for scene in scenes]), grids)
    return media_ND


def telling_loss(
    model: "Glm4v", eyes: "nn.ModuleDict", scenes: list[Shown], seeing: float
) -> "Tensor":
    """Of one pack, in which each picture goes through the vision tower once for all its lessons."""
    import torch

    from curation.models.glm4v.decoder import TokenLayout
    from curation.trainer.loss import cross_entropy, supervision

    media_ND = media(model, scenes)
    starts = np.cumsum([0, *(scene.tokens for scene in scenes)])
    asked = sorted(
        ((lesson, at) for at, scene in enumerate(scenes) for lesson in scene.lessons),
        key=lambda pair: len(pair[0].asked) + len(pair[0].answer),
    )  # equal lengths in a row are one batch of attention
    grids = torch.tensor([scenes[at].grid for _, at in asked])
    batch = _packed(model.config, [lesson for lesson, _ in asked], grids)
    rows = np.concatenate([np.arange(starts[at], starts[at + 1]) for _, at in asked])
    x_TD = model.embed(batch.tokens).to(media_ND.dtype)  # under autocast 16 bits from here on
    x_TD = x_TD.masked_scatter(batch.media_tokens[:, None], media_ND[torch.from_numpy(rows)])
    hidden_TD = model.decode(x_TD, TokenLayout.of(batch, model.config.text))
    taught = supervision(batch, ("lesson",), "sqrt")
    weight = model.head.weight.to(hidden_TD.dtype)
    total, _ = cross_entropy(
        hidden_TD[taught.places], weight, taught.labels, taught.weights, chunk=4_096
    )
    shown = seeing_loss(eyes, media_ND, [scene.labels for scene in scenes])
    return total / taught.weights.sum() + seeing * shown


def _packed(config: Glm4vConfig, asked: list[Lesson], grids: "Tensor") -> "PackedBatch":
    """Lessons one behind the other; what is learnt of each is its answer."""
    import torch

    from curation.models.glm4v.batch import IGNORED, PackedBatch
    from curation.models.glm4v.positions import rope_positions

    tokens = torch.tensor([token for one in asked for token in (*one.asked, *one.answer)])
    labels = torch.tensor(
        [
            label
            for one in asked
            for label in (*[IGNORED] * (len(one.asked) - 1), *one.answer, IGNORED)
        ]
    )
    lengths = [len(one.asked) + len(one.answer) for one in asked]
    borders = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    media = tokens == config.tokens.image_token_id
    return PackedBatch(
        tokens=tokens,
        labels=labels,
        positions=rope_positions(media, borders, grids),
        cu_seqlens=borders,
        max_seqlen=max(lengths),
        pixels=torch.zeros(0, config.vision.patch_values),
        grids=grids,
        media_tokens=media,
        sample_families=["lesson"] * len(asked),
        sample_ids=[""] * len(asked),
    )
