"""Settings of the whole suite."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# A first example pays for imports and databases; the suite's own timeout stops what hangs.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")

_CLUSTERS = frozenset(
    f"tests/engines/test_{name}.py"
    for name in (
        "everywhere",
        "ray",
        "ray_faults",
        "readme_clusters",
        "shipped_job",
        "spark_faults",
    )
)
"""Files whose tests start clusters: two at a time are too much for a small machine."""

_SPARK = frozenset(f"tests/engines/test_{name}.py" for name in ("spark", "spark_million"))
"""Files whose tests use the Spark of their own process; others do in cases that are named so."""


class Together(LoadFileScheduling):
    """Gives tests of a file to one worker; so all that start clusters, and all on one Spark."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file in _CLUSTERS:
            return "clusters"
        return "spark" if file in _SPARK or "[spark" in nodeid else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    """For `--dist loadfile`."""
    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch sums as in the processes that are started with one thread, in the same order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
