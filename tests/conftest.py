"""Settings of the whole suite."""

import pytest
from hypothesis import settings

# A first example pays for imports and databases; the suite's own timeout stops what hangs.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file share a worker process, and its fixtures.

    So do all that start clusters, of which two at a time are too much for a small machine, and all
    that use the Spark of their process, which is started once.
    """
    for item in items:
        kinds = (name for name in ("clusters", "spark") if item.get_closest_marker(name))
        group = next(kinds, item.nodeid.partition("::")[0])
        item.add_marker(pytest.mark.xdist_group(group))
