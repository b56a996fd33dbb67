"""The image-text recipe: thresholds that say where they come from, and what moves with them."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.operator import IMAGE
from curation.core.step import INDEX_COLUMNS
from curation.pipeline.measure import layers_of, switched_on
from curation.relational.select import Select
from jobs import RECIPES, shipped_recipe
from jobs.image_text import recipe

DOCS = Path(__file__).parents[2] / "docs"
SELECTS = [step for step in recipe().stages if isinstance(step, Select)]
RULES = [(step.name, rule) for step in SELECTS for rule in step.rules]
NAMED = [f"{stage}.{rule.reason}" for stage, rule in RULES]


@pytest.mark.parametrize(("stage", "rule"), RULES, ids=NAMED)
def test_a_rule_says_where_its_number_comes_from(stage, rule):
    assert len(rule.source) > 10
    if "docs/thresholds.md" in rule.source:
        text = (DOCS / "thresholds.md").read_text(encoding="utf-8")
        assert re.search(rf"^#+ `{rule.reason}`", text, re.MULTILINE)
        assert isinstance(rule.threshold, int | float)
        stated = re.search(rf"^#+ `{rule.reason}`.*?(-?[\d.,]+)\b", text, re.MULTILINE)
        assert stated is not None
        assert float(stated[1].replace(",", "")) == rule.threshold


@pytest.mark.parametrize(("stage", "rule"), RULES, ids=NAMED)
def test_every_threshold_can_be_set(stage, rule):
    numeric = not isinstance(rule.threshold, tuple)
    changed = recipe().with_settings((f"{stage}.{rule.reason}={'0.125' if numeric else 'en,zh'}",))
    moved = {
        f"{step.name}.{r.reason}": r.threshold
        for step in changed.stages
        if isinstance(step, Select)
        for r in step.rules
    }
    wanted = 0.125 if numeric else ("en", "zh")
    before = {f"{s}.{r.reason}": r.threshold for s, r in RULES}
    assert moved == {**before, f"{stage}.{rule.reason}": wanted}


@pytest.mark.parametrize(
    "setting",
    [
        *(f"{name}={'0.125' if not isinstance(rule.threshold, tuple) else 'en'}"
          for name, (_, rule) in zip(NAMED, RULES, strict=True)),
        "near_dedup.distance=5",
        "exact_dedup.by=uid",
        "caption_frequency.max_images=3",
        "export.seed=9",
    ],
)  # fmt: skip
def test_no_threshold_means_measuring_again(setting):
    """Layers are named by their operators' fingerprints, which hold no threshold."""
    changed = recipe().with_settings((setting,))
    assert layers_of(switched_on(changed.operators)) == layers_of(switched_on(recipe().operators))


READ_CAPTIONS = (
    "concepts", "clip", "visual_cluster", "linear_head", "recaption", "caption_facts",
    "claim_check", "caption_clip",
)  # fmt: skip
"""Operators that read what caption_text measures, or read one that does."""


@pytest.mark.parametrize(
    ("setting", "moved"),
    [
        ("image_pixels.max_pixels=1000000", {"image_pixels"}),
        ("caption_text.n=3", {"caption_text", *READ_CAPTIONS}),
        ("clip.batch_size=32", {"clip", "visual_cluster", "linear_head", "caption_clip"}),
        ("visual_cluster.seed=1", {"visual_cluster"}),
    ],
)
def test_a_parameter_names_another_layer_of_its_operator_and_of_those_that_read_it(setting, moved):
    asked = recipe().with_settings(("recaption.model=some",))
    before = layers_of(asked.operators)
    after = layers_of(asked.with_settings((setting,)).operators)
    assert {name for name in before if before[name] != after[name]} == moved


def test_every_measure_that_a_stage_reads_is_there():
    """A column comes from the index or from exactly one operator, in a type that it casts to."""
    given = {field.name: field.type for field in INDEX_COLUMNS}
    for operator in recipe().with_settings(("recaption.model=some",)).operators:
        needs = set(operator.requires.names) - {IMAGE.name}
        assert needs <= given.keys(), operator.name
        assert not given.keys() & set(operator.provides.names), operator.name
        given.update({field.name: field.type for field in operator.provides})
    for step in recipe().stages:
        for field in step.requires:
            assert pa.array([], given[field.name]).cast(field.type).type == field.type


def test_scores_that_travel_are_measured():
    measured = {name for operator in recipe().operators for name in operator.provides.names}
    assert set(recipe().export.scores) <= measured


def test_stages_and_operators_have_names_of_their_own():
    names = [*(s.name for s in recipe().stages), *(o.name for o in recipe().operators), "export"]
    assert len(set(names)) == len(names)
    assert names[0] == "heuristics"


def test_samples_are_judged_alone_before_they_are_compared():
    """A twin that stays is not dropped afterwards for a reason of its own."""
    names = [step.name for step in recipe().stages]
    assert names.index("heuristics") < names.index("blocklist") < names.index("exact_dedup")
    assert names.index("exact_dedup") < names.index("near_dedup")
    assert names.index("near_dedup") < names.index("caption_frequency")


@pytest.mark.parametrize("family", RECIPES)
def test_a_recipe_is_the_same_every_time(family):
    assert shipped_recipe(family) == shipped_recipe(family)
    assert shipped_recipe(family).family == family


def test_captions_are_held_to_the_prompt_that_they_were_written_by():
    def prompts(*settings):
        made = recipe().with_settings(settings)
        return [p.name for o in made.operators if o.name == "caption_facts" for p in o.prompts]

    assert prompts() == ["factual"]
    assert prompts("recaption.prompt=figure") == ["figure"]
