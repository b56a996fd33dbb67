"""Answers against transformers' `generate`, and by chance."""

import copy
from dataclasses import replace

import pytest
import torch

from curation.core.errors import RunError, UsageError
from curation.models.glm4v.generate import generate, prompt
from tests.models.glm4v.packs import sample


@pytest.mark.parametrize(
    "shape", [(5, (1, 4, 6), 3), (4, (3, 4, 4), 2), (6,)], ids=["image", "video", "words"]
)
def test_greedy_answers_are_those_of_transformers(pair, generator, shape):
    one = sample(generator, *shape)
    grids = torch.tensor([*one.images, *one.videos]) if one.images or one.videos else None
    batch = prompt(pair.config, one.ids, one.pixels, grids)
    ids = batch.tokens[None]
    inputs = {"mm_token_type_ids": (ids == 150).int() * (2 if one.videos else 1)}
    if grids is not None:
        kind = ("pixel_values_videos", "video_grid_thw")
        pixels, sizes = kind if one.videos else ("pixel_values", "image_grid_thw")
        inputs |= {pixels: one.pixels, sizes: grids}
    pair.oracle.generation_config.eos_token_id = None
    wanted = pair.oracle.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, **inputs
    )[0, len(one.ids) :].tolist()
    found = list(generate(pair.ours, batch, most=12))
    assert found == wanted
    assert len(set(found)) > 1

    stopped = list(generate(pair.ours, batch, most=12, stop={wanted[-1]}))
    assert stopped == wanted[: wanted.index(wanted[-1])]


def test_each_token_is_what_the_whole_sequence_asks_for(pair, generator):
    one = sample(generator, 5, (1, 4, 6), 3)
    grids = torch.tensor(one.images)
    found = list(generate(pair.ours, prompt(pair.config, one.ids, one.pixels, grids), most=6))
    whole = prompt(pair.config, [*one.ids, *found], one.pixels, grids)
    with torch.no_grad():
        logits = pair.ours.head(pair.ours(whole))
    assert logits[len(one.ids) - 1 : -1].argmax(-1).tolist() == found


def test_chance_is_decided_by_the_generator(pair, generator):
    batch = prompt(pair.config, sample(generator, 6).ids)

    def drawn(seed, temperature):
        source = torch.Generator().manual_seed(seed)
        return list(generate(pair.ours, batch, most=8, temperature=temperature, generator=source))

    assert drawn(0, 1.0) == drawn(0, 1.0) != drawn(1, 1.0)
    assert drawn(0, 1e-40) == drawn(1, 5e-324) == list(generate(pair.ours, batch, most=8))
    assert drawn(0, 1e-4) == list(generate(pair.ours, batch, most=8))


def test_an_answer_ends_where_the_positions_do(pair, generator):
    batch = prompt(pair.config, sample(generator, 6).ids)
    said = list(generate(pair.ours, batch, most=12))
    short = copy.copy(pair.ours)
    short.config = replace(pair.config, text=replace(pair.config.text, max_position_embeddings=10))
    assert list(generate(short, batch, most=10**11)) == said[:4]
    with pytest.raises(UsageError, match="takes 12 of the model's 10 positions"):
        next(generate(short, prompt(pair.config, sample(generator, 12).ids), most=1))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_diverged_says_so(pair, generator, temperature):
    broken = copy.deepcopy(pair.ours)
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    batch = prompt(pair.config, sample(generator, 6).ids)
    with pytest.raises(RunError, match="not finite"):
        next(generate(broken, batch, most=4, temperature=temperature))
