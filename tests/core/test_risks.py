"""What counts as measured where the CLIP could not judge the corpus."""

import dataclasses

import pytest

from curation.core.risks import clip_fails, described_names, measured_names, unmeasured
from schemas.manifest import Calibration, LayerRef, StageSummary

RECIPE = {
    "operators": {"clip": {}, "image_probe": {}},
    "stages": [
        {"name": "scores", "kind": "ClipSelect", "off": ""},
        {"name": "unsafe", "kind": "Select", "off": "no", "rules": [{"column": "nsfw_score"}]},
        {"name": "marks", "kind": "Select", "off": "", "rules": [{"column": "watermark_score"}]},
    ],
}
PASSED = Calibration(
    fingerprint="", model="m", seed=0, pairs=2, shuffled=2, auc=1.0, threshold=0.0,
    share_above=1.0, share_above_low=0.5, passed=True, edges=[0.0, 1.0], true_counts=[2],
    shuffled_counts=[2],
)  # fmt: skip
FAILED = dataclasses.replace(PASSED, passed=False)


def stage(name: str, off: str = "") -> StageSummary:
    return StageSummary(
        stage=name, fingerprint="", entered=1, kept=1, dropped=0, quarantined=0, off=off
    )


@pytest.mark.parametrize(
    ("stages", "calibration", "fails"),
    [
        ([stage("scores", "it cannot")], FAILED, True),
        ([stage("scores", "it cannot")], None, True),
        ([stage("scores", "the user said so")], PASSED, False),
        ([stage("scores")], PASSED, False),
        ([stage("scores")], FAILED, False),  # by force
        ([stage("scores")], None, False),
        ([], FAILED, True),
        ([], None, False),
        ([stage("marks", "off")], None, False),
    ],
)
def test_a_clip_fails_where_it_was_not_let_decide(stages, calibration, fails):
    assert clip_fails(RECIPE, stages, calibration) is fails


def test_what_rests_on_a_clip_that_fails_is_not_measured():
    layers = [
        LayerRef(operator=name, fingerprint="", parameters={}, libraries={}, columns=columns,
                 errors={})
        for name, columns in [
            ("image_probe", ["width"]), ("clip", ["clip_score"]), ("linear_head", ["nsfw_score"]),
        ]
    ]  # fmt: skip
    assert measured_names(layers, without_clip=True) == ["image_probe", "width"]
    assert len(measured_names(layers, without_clip=False)) == 6
    agree = "whether caption and image agree (CLIP score)"
    assert agree in unmeasured(measured_names(layers, without_clip=True))
    assert agree not in unmeasured(measured_names(layers, without_clip=False))


def test_an_export_knows_operators_and_the_rules_that_ran():
    assert described_names(RECIPE, without_clip=False) == ["clip", "image_probe", "watermark_score"]
    assert described_names(RECIPE, without_clip=True) == ["image_probe", "watermark_score"]
