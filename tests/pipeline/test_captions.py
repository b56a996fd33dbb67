"""Whether CLIP may drop sentences of a corpus: by the errors that it tells there."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.core.corpus import Layer
from curation.core.errors import UsageError
from curation.core.progress import SILENT
from curation.io.corpus import Corpus, open_corpus
from curation.io.tables import read_table, write_table
from curation.operators.vision_language.caption_clip import SCORED
from curation.pipeline.calibrate import auc
from curation.pipeline.captions import planted_errors, with_captions
from curation.pipeline.recipe import Recipe
from curation.relational.choose_caption import ChooseCaption
from schemas import SAMPLE
from schemas.manifest import LayerRef
from tests.pipeline.corpora import curate, plain_recipe, write_pairs

PAIRS = 60
LAYER = pa.schema([*SAMPLE, ("recaption_clip", pa.list_(SCORED)), ("error", pa.string())])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("captions")
    curate(write_pairs(folder / "pairs", PAIRS), folder / "run")
    return open_corpus(str(folder / "run"))


def scored(corpus: Corpus, name: str, entries: list[list[dict[str, Any]] | None]) -> LayerRef:
    """A layer of sentence scores, the next of `entries` for each row."""
    given = iter(entries)
    for shard in corpus.shards:
        table = read_table(
            corpus.store, f"index/{shard.shard:09d}.parquet", ["shard", "row", "uid"]
        )
        rows = [{**row, "recaption_clip": next(given), "error": None} for row in table.to_pylist()]
        path = Layer("caption_clip", name).path(shard.shard)
        write_table(corpus.store, path, pa.Table.from_pylist(rows, LAYER), LAYER, {})
    return ref("caption_clip", name)


def ref(operator: str, fingerprint: str = "f") -> LayerRef:
    return LayerRef(
        operator=operator, fingerprint=fingerprint, parameters={}, libraries={}, columns=[],
        errors={},
    )  # fmt: skip


def sentences(rng: np.random.Generator, apart: float) -> list[list[dict[str, Any]] | None]:
    """Two or three sentences a row, none in every tenth; planted errors score lower by `apart`."""
    rows: list[list[dict[str, Any]] | None] = []
    for n in range(PAIRS):
        entries = [
            {
                "start": 0,
                "end": 1,
                "score": float(rng.normal(0.3, 0.05)),
                "planted": float(rng.normal(0.3 - apart, 0.05)) if k else None,
            }
            for k in range(2 + n % 2 + 1)
        ]
        rows.append(None if n % 10 == 0 else entries)
    return rows


def pairs(rows: list[list[dict[str, Any]] | None]) -> tuple[Any, Any]:
    there = [e for entries in rows if entries for e in entries if e["planted"] is not None]
    true, wrong = ([np.float32(e[name]) for e in there] for name in ("score", "planted"))
    return np.array(true, np.float64), np.array(wrong, np.float64)


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.2])
def test_the_auc_is_that_of_all_sentences_with_an_error_planted(corpus, apart):
    rows = sentences(np.random.default_rng(7), apart)
    found = planted_errors(corpus, scored(corpus, f"{apart}", rows), SILENT)
    assert found is not None
    true, wrong = pairs(rows)
    assert (found.pairs, found.auc) == (len(true), auc(true, wrong))
    assert (found.auc >= 0.8) == (apart == 0.2)


def test_too_few_planted_errors_say_nothing(corpus):
    few = [[{"start": 0, "end": 1, "score": 0.3, "planted": 0.1}]] * PAIRS
    assert planted_errors(corpus, scored(corpus, "few", list(few)), SILENT) is None
    assert planted_errors(corpus, scored(corpus, "none", [None] * PAIRS), SILENT) is None


def settled(corpus: Corpus, made: Recipe, clip: LayerRef) -> tuple[ChooseCaption, tuple[str, ...]]:
    layers = [ref("recaption"), ref("caption_facts"), clip]
    told, warnings = with_captions(corpus, made, layers, SILENT)
    (step,) = (step for step in told.stages if isinstance(step, ChooseCaption))
    return step, warnings


@pytest.mark.parametrize(
    ("apart", "clip", "counts", "words"),
    [
        (0.0, 0.2, False, "recorded and drop nothing: .* at least 0.8 is asked for"),
        (0.2, 0.2, True, "sentence scores of CLIP drop sentences: .* AUC 1.00"),
        (0.2, None, False, "recorded and drop nothing: no choose_caption.clip is set"),
    ],
)
def test_clip_drops_sentences_only_where_it_tells_planted_errors(
    corpus, apart, clip, counts, words
):
    made = plain_recipe().with_settings((f"choose_caption.clip={clip}",))
    layer = scored(corpus, f"settled{apart}", sentences(np.random.default_rng(3), apart))
    step, (warning,) = settled(corpus, made, layer)
    assert step.checks == ("caption_facts", "caption_clip")
    assert step.clip_counts == counts
    assert step.clip_auc is not None
    assert re.search(words, warning)


def test_what_was_found_is_not_asked_for():
    for setting in ("choose_caption.clip_auc=1", "choose_caption.checks=caption_clip"):
        with pytest.raises(UsageError, match="not one of its fields"):
            plain_recipe().with_settings((setting,))


def test_captions_that_no_fact_was_checked_of_are_not_chosen(corpus):
    with pytest.raises(UsageError, match="choose_caption needs caption_facts"):
        with_captions(corpus, plain_recipe(), [ref("recaption")], SILENT)


def test_without_new_captions_nothing_is_measured_and_the_stage_is_off(corpus):
    told, warnings = with_captions(corpus, plain_recipe(), [], SILENT)
    (step,) = (step for step in told.stages if isinstance(step, ChooseCaption))
    assert step == replace(step, off="not asked for")
    assert warnings == ()
