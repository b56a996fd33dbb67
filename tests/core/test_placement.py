"""Placements: from a recipe, changed by settings."""

import pytest

from curation.core.errors import UsageError
from curation.core.placement import Placement, placed

NAMES = ("clip", "near_dedup")


def test_settings_change_what_the_recipe_says():
    shipped = {"clip": Placement(gpus=1.0)}
    found = placed(shipped, ("clip.engine=ray", "clip.pool=4", "near_dedup.engine=spark"), NAMES)
    assert found == {
        "clip": Placement(engine="ray", gpus=1.0, pool=4),
        "near_dedup": Placement(engine="spark"),
    }
    assert shipped == {"clip": Placement(gpus=1.0)}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("clip", "STAGE.FIELD=VALUE"),
        ("engine=ray", "STAGE.FIELD=VALUE"),
        ("klip.engine=ray", "there are clip, near_dedup"),
        ("clip.gpu=1", "there are engine, gpus, cpus, pool"),
        ("clip.engine=dask", "local, spark, ray"),
        ("clip.gpus=many", "clip.gpus=many"),
        ("clip.pool=-1", "at least 0"),
        ("clip.cpus=0", "above 0"),
    ],
)
def test_a_setting_that_means_nothing_is_told(setting, words):
    with pytest.raises(UsageError, match=words):
        placed({}, (setting,), NAMES)
