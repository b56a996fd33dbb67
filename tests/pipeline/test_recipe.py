"""Recipes: settings a user gives, and recipes that a manifest holds."""

import json
import re

import pytest

from curation.core.errors import CorpusError, UsageError
from curation.core.fingerprint import plain
from jobs import shipped_recipe
from jobs.image_text import recipe


def stage(changed, name):
    return next(step for step in changed.stages if step.name == name)


def test_settings_change_thresholds_fields_operators_and_export(tmp_path):
    (tmp_path / "list.txt").write_text("domain:example.org\n")
    changed = recipe().with_settings(
        (
            "heuristics.min_side=256",
            "heuristics.language=en, zh",
            "near_dedup.distance=5",
            "near_dedup.keep_best=min_side,area",
            "image_pixels.max_pixels=1000",
            f"blocklist.lists={tmp_path / 'list.txt'}",
            "export.strip_metadata=true",
            "export.name=my-corpus",
        )
    )
    rules = {rule.reason: rule.threshold for rule in stage(changed, "heuristics").rules}
    assert rules["min_side"] == 256
    assert rules["language"] == ("en", "zh")
    assert stage(changed, "near_dedup").distance == 5
    assert stage(changed, "near_dedup").keep_best == ("min_side", "area")
    assert changed.operators[1].max_pixels == 1000
    assert stage(changed, "blocklist").lists[0].name == "list"
    assert changed.export.strip_metadata is True
    assert changed.export.name == "my-corpus"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("heuristics", "write it as stage.field=value"),
        ("heuristics.min_side", "write it as stage.field=value"),
        ("heuristic.min_side=3", "did you mean heuristics?"),
        ("heuristics.min_sid=3", "did you mean min_side?"),
        ("heuristics.min_side=wide", "not a value of type float"),
        ("heuristics.min_side=nan", "not a value of type float"),
        ("heuristics.rules=1", "not one of its fields"),
        ("near_dedup.distance=2.5", "not a value of type int"),
        ("near_dedup.distance=-1", "distance must be 0 to 12"),
        ("near_dedup.name=x", "not one of its fields"),
        ("exact_dedup.by=taste", "by must be one of"),
        ("export.strip_metadata=maybe", "not a value of type bool"),
        ("export.name=a/b", "name takes letters"),
        ("blocklist.lists=/nowhere/list.txt", "cannot be read"),
    ],
)
def test_a_setting_without_meaning_is_refused_with_what_there_is(setting, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        recipe().with_settings((setting,))


def test_servers_are_not_asked_for_a_model_that_a_later_setting_names():
    """Nobody listens there: the servers alone are an error."""
    nobody = "recaption.servers=http://127.0.0.1:9"
    for settings in ((nobody, "recaption.model=tiny"), ("recaption.model=tiny", nobody)):
        (operator,) = (
            operator
            for operator in recipe().with_settings(settings).operators
            if operator.name == "recaption"
        )
        assert (operator.model, operator.servers) == ("tiny", ("http://127.0.0.1:9",))
    with pytest.raises(UsageError, match="no server says which model it serves"):
        recipe().with_settings((nobody,))


def test_unseen_columns_may_be_named_before_they_are_evidence():
    settings = ("caption_facts.unseen=source_title", "caption_facts.evidence=source_title")
    changed = recipe().with_settings(settings)
    (facts,) = (o for o in changed.operators if o.name == "caption_facts")
    assert facts.unseen == facts.evidence == ("source_title",)
    with pytest.raises(UsageError, match="unseen must be of evidence, got source_tilte"):
        recipe().with_settings(("caption_facts.unseen=source_tilte",))


def test_a_recorded_recipe_comes_back(tmp_path):
    (tmp_path / "list.txt").write_text("domain:example.org\n")
    changed = recipe().with_settings(
        ("heuristics.min_side=300", f"blocklist.lists={tmp_path / 'list.txt'}")
    )
    recorded = json.loads(json.dumps(changed.described()))
    again = recipe().resumed(recorded)
    assert plain(again.stages) == plain(changed.stages)
    assert again.operators == changed.operators


def test_stages_that_a_manifest_lacks_come_from_the_shipped_recipe():
    recorded = recipe().with_settings(("heuristics.min_side=300",)).limited(("heuristics",))
    again = recipe().resumed(recorded.described())
    assert [step.name for step in again.stages] == [step.name for step in recipe().stages]
    rules = {rule.reason: rule.threshold for rule in stage(again, "heuristics").rules}
    assert rules["min_side"] == 300


def test_a_recorded_part_that_is_unknown_is_refused():
    recorded = recipe().described()
    recorded["stages"][0]["kind"] = "Oracle"
    with pytest.raises(CorpusError, match="cannot be used"):
        recipe().resumed(recorded)


def test_every_rule_says_where_its_number_comes_from():
    for rule in stage(recipe(), "heuristics").rules:
        assert rule.source


def test_families_without_a_recipe_are_refused():
    with pytest.raises(UsageError, match="there are: image-text"):
        shipped_recipe("sculpture")
