"""The funnel: the manifest's counts, balanced at every stage."""

import pytest

from curation.core.errors import ERROR_CODES
from curation.io.corpus import open_corpus
from curation.report.funnel import Loss, error_meaning, funnel, reason_meaning, undecided_funnel
from tests.pipeline.corpora import curate, write_pairs


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("funnel")
    source = write_pairs(folder / "source", 12)
    (source / "images" / "3.jpg").write_bytes(b"")
    (source / "images" / "5.jpg").write_bytes((source / "images" / "4.jpg").read_bytes())
    curate(source, folder / "out", "heuristics.min_side=241")
    curate(source, folder / "kept")
    return open_corpus(str(folder / "out")).manifest, open_corpus(str(folder / "kept")).manifest


def test_every_stage_balances_and_leads_to_the_next(manifest):
    for said in manifest:
        made = funnel(said.totals, said.stages, said.recipe)
        entering = made.ingested
        for stage in made.stages:
            assert stage.entered == entering
            assert stage.lost == sum(loss.count for loss in stage.losses)
            entering = stage.kept
        assert entering == made.kept
        assert made.ingested == made.kept + made.dropped + made.quarantined == 12


def test_every_rule_is_there_with_its_threshold_and_its_source(manifest):
    said = manifest[0]
    ingest, heuristics = funnel(said.totals, said.stages, said.recipe).stages[:2]
    rules = said.recipe["stages"][0]["rules"]
    assert [loss.reason for loss in heuristics.losses[: len(rules)]] == [r["reason"] for r in rules]
    assert heuristics.losses[0] == Loss(
        reason="min_side",
        count=11,
        rule="min_side ≥ 241",
        source="DataComp basic filtering, pixels",
        says="the shorter side is under 241 pixels",
    )
    assert [loss.reason for loss in heuristics.losses if loss.off] == ["language"]
    assert [loss.reason for loss in heuristics.largest()] == ["min_side"]
    (unread,) = ingest.losses
    assert (ingest.name, unread.reason, unread.quarantined) == ("ingest", "empty_file", True)
    assert unread.source == ERROR_CODES["empty_file"]


def test_a_drop_by_a_twin_says_what_it_means(manifest):
    said = manifest[1]
    stages = {s.name: s for s in funnel(said.totals, said.stages, said.recipe).stages}
    (loss,) = stages["image_dedup"].largest()
    assert loss == Loss(reason="same_image", count=1, source=reason_meaning("same_image"))
    assert stages["near_dedup"].settings == "distance 3; keep_best area"


def test_an_undecided_corpus_balances_too():
    made = undecided_funnel(10, {"empty_file": 2, "corrupt_image": 1}, 3)
    assert (made.kept, made.dropped, made.quarantined, made.decided) == (4, 3, 3, False)
    (stage,) = made.stages
    assert [(x.reason, x.count) for x in stage.largest()] == [
        ("blocked", 3), ("empty_file", 2), ("corrupt_image", 1),
    ]  # fmt: skip


def test_an_error_is_explained_with_or_without_its_stage():
    assert error_meaning("ingest: timeout") == error_meaning("timeout") == ERROR_CODES["timeout"]
    assert error_meaning("unheard") == ""
