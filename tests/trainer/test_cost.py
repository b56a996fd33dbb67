"""What a plan costs is what the trainer counts for its packs."""

import pytest

from curation.models.glm4v.config import CONFIGS
from curation.models.glm4v.flops import pack_flops
from curation.trainer.cost import cost_weights
from curation.trainer.loader import Loader
from tests.trainer.plans import planned


@pytest.mark.parametrize("name", ["demo", "tiny-moe", "9b"])
def test_a_plan_costs_the_work_of_its_packs(exports, tmp_path, name):
    config = CONFIGS[name]()
    families = [exports[family] for family in ("interleaved", "ocr", "grounding", "video")]
    plan = planned(
        tmp_path, families, seq_len=512, global_batch=2, steps=4, weights=cost_weights(config)
    )
    work = [pack_flops(config, pack) for step in Loader(plan) for pack in step.packs]
    assert plan.cost == pytest.approx(sum(each.model for each in work), rel=1e-6)
    assert sum(each.head for each in work) > 0
