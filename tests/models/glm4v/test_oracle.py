"""Logits, loss and gradients against transformers, in float32."""

import pytest
import torch
from torch.nn import functional

from curation.models.glm4v.batch import IGNORED
from curation.models.glm4v.checkpoint import export
from tests.models.glm4v.packs import assert_close, oracle_gradients, pack, sample

IMAGES = [(5, (1, 4, 6), 7), (4, (1, 8, 2), 3, (1, 2, 4), 2), (9,)]
VIDEOS = [(5, (3, 4, 6), 7), (6,), (2, (2, 2, 4), 3, (4, 6, 2), 1)]


def oracle_inputs(batch, samples):
    """The pack for transformers: rope positions of each sample by its own `get_rope_index`."""
    lengths = [len(s.ids) for s in samples]
    text = torch.cat([torch.arange(n) for n in lengths])
    grids = batch.grids if len(batch.grids) else None
    video = any(s.videos for s in samples)
    inputs = {"input_ids": batch.tokens[None], "use_cache": False}
    if grids is not None:
        inputs["pixel_values_videos" if video else "pixel_values"] = batch.pixels
        inputs["video_grid_thw" if video else "image_grid_thw"] = grids
    return inputs, text


def oracle_positions(oracle, samples):
    found = []
    for part in samples:
        ids = torch.tensor([part.ids])
        kinds = (ids == 150).int() * (2 if part.videos else 1)
        images = torch.tensor(part.images) if part.images else None
        videos = torch.tensor(part.videos) if part.videos else None
        found.append(oracle.model.get_rope_index(ids, kinds, images, videos)[0][:, 0])
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("shape", [IMAGES, VIDEOS, [(9,), (5,)]], ids=["images", "videos", "text"])
def test_logits_loss_and_gradients_equal_transformers(pair, generator, shape):
    samples = [sample(generator, *parts) for parts in shape]
    batch = pack(*samples)
    inputs, text = oracle_inputs(batch, samples)
    positions = oracle_positions(pair.oracle, samples)
    assert torch.equal(batch.positions, positions)

    pair.oracle.zero_grad(set_to_none=True)
    inputs["position_ids"] = torch.cat([text[None], positions])[:, None]
    wanted = pair.oracle(**inputs, labels=None)
    wanted_loss = functional.cross_entropy(wanted.logits[0], batch.labels, ignore_index=IGNORED)
    wanted_loss.backward()

    pair.ours.zero_grad(set_to_none=True)
    logits = pair.ours.head(pair.ours(batch))
    loss = functional.cross_entropy(logits, batch.labels, ignore_index=IGNORED)
    loss.backward()

    assert_close(logits, wanted.logits[0], 1e-4, "logits")
    assert_close(loss, wanted_loss, 1e-4, "loss")
    theirs = {k: v for k, v in oracle_gradients(pair.oracle).items() if v is not None}
    grads = {k: p.grad for k, p in pair.ours.named_parameters() if p.grad is not None}
    ours = dict(export(pair.config, grads))
    assert ours.keys() == theirs.keys()
    for name, wanted_grad in theirs.items():
        assert_close(ours[name], wanted_grad, 1e-4, name)


def test_images_and_videos_in_one_pack_are_what_transformers_makes_of_their_embeddings(
    pair, generator
):
    # transformers takes either images or videos: its tower and its decoder are asked one by one
    shapes = [(3, (1, 4, 6), 4, (3, 4, 4), 2), (6,), ((2, 2, 4), 5), (2, (1, 6, 2), 3)]
    samples = [sample(generator, *parts) for parts in shapes]
    batch = pack(*samples)
    frames = torch.tensor([[1, h, w] for t, h, w in batch.grids.tolist() for _ in range(t)])
    text = torch.cat([torch.arange(len(s.ids)) for s in samples])
    with torch.no_grad():
        media = pair.oracle.model.visual(batch.pixels, grid_thw=frames).pooler_output
        words = pair.oracle.get_input_embeddings()(batch.tokens)
        wanted = pair.oracle(
            inputs_embeds=words.masked_scatter(batch.media_tokens[:, None], media)[None],
            position_ids=torch.cat([text[None], batch.positions])[:, None],
            use_cache=False,
        ).logits[0]
        assert_close(pair.ours.head(pair.ours(batch)), wanted, 1e-4, "logits")
