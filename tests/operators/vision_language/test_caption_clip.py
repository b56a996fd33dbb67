"""Sentence scores: those of CLIP itself, whatever the batch, and planted errors beside them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from curation.core.embedding import vectors
from curation.core.errors import UsageError
from curation.operators.text.planted_errors import planted
from curation.operators.vision_language.caption_clip import CaptionClip
from curation.operators.vision_language.clip import Clip
from curation.pipeline.measure import layers_of, switched_on
from curation.pipeline.recipe import Recipe
from jobs.image_text import recipe
from tests.operators.vision_language.embeddings import embeddings, unit_rows

DEMO = CaptionClip(clip=Clip())
IMAGES = unit_rows(1, 40, 128)
TWO = "A red kettle stands on a table. Two dogs are behind it."


def rows(captions: list[str | None], images: list | None = None) -> pa.Table:
    given = images if images is not None else list(IMAGES[: len(captions)])
    return embeddings(given).append_column("recaption", pa.array(captions, pa.string()))


def test_a_sentence_scores_what_clip_scores_for_its_words(run):
    (found, *_) = run(DEMO, rows([TWO]))["recaption_clip"].to_pylist()
    model = Clip().loaded()
    said = [TWO[part["start"] : part["end"]] for part in found]
    assert said == ["A red kettle stands on a table.", "Two dogs are behind it."]
    texts = [*said, *map(str, map(planted, said))]
    image = vectors(rows([TWO])["clip_image"])[0][0].astype(np.float64)
    expected = model.texts(model.tokenize(texts)).numpy() @ image
    scores = [part["score"] for part in found] + [part["planted"] for part in found]
    assert scores == pytest.approx(expected.tolist(), abs=2e-3)
    assert scores[:2] != scores[2:]


def test_what_has_no_caption_or_no_embedding_has_no_score(run):
    images = [IMAGES[0], None, IMAGES[2], np.zeros(128)]
    found = run(DEMO, rows([None, TWO, "", TWO], images))
    assert found["recaption_clip"].null_count == 4
    assert found["error"].null_count == 4


def test_a_sentence_without_anything_to_change_has_no_planted_error(run):
    ((part,),) = run(DEMO, rows(["A kettle."]))["recaption_clip"].to_pylist()
    assert part["score"] is not None
    assert part["planted"] is None


def test_scores_depend_neither_on_batches_nor_on_neighbours(run):
    captions = [TWO * (n % 4) or None for n in range(40)]
    table = rows(captions)
    whole = run(DEMO, table)
    assert run(DEMO, table, batch_rows=40).equals(whole)
    alone = run(DEMO, rows([None] * 9 + captions[9:10], list(IMAGES[:10])))
    assert alone["recaption_clip"][9].equals(whole["recaption_clip"][9])


def test_no_more_sentences_are_scored_than_wanted(run):
    caption = " ".join(f"Kettle {n} is red." for n in range(20))
    counts = [
        len(run(replace(DEMO, max_sentences=most), rows([caption]))["recaption_clip"][0])
        for most in (3, 40)
    ]
    assert counts == [3, 20]


def test_it_is_measured_with_the_clip_of_the_recipe():
    def asked(*settings: str) -> Recipe:
        return recipe().with_settings(("recaption.model=some", *settings))

    def its(made: Recipe) -> CaptionClip:
        (found,) = (o for o in made.operators if isinstance(o, CaptionClip))
        return found

    other = asked("clip.model=ViT-S-32-alt")
    assert its(other).clip == next(o for o in other.operators if isinstance(o, Clip))
    layers = [layers_of(switched_on(made.operators))["caption_clip"] for made in (asked(), other)]
    assert layers[0] != layers[1]
    with pytest.raises(UsageError, match="clip"):
        asked("caption_clip.clip=demo")


def test_without_a_clip_it_is_off():
    whole = recipe().with_settings(("recaption.model=some",))
    without = replace(whole, operators=tuple(o for o in whole.operators if o.name != "clip"))
    on = [{o.name for o in switched_on(made.operators)} for made in (whole, without)]
    assert on[0] - on[1] == {"clip", "caption_clip"}
