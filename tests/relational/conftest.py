"""The `decide` fixture: a relational step over survivors, on every engine."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from curation.core.step import RelationalStep
from tests.relational.sessions import OPENED, SESSIONS, survivors, verdicts

Decide = Callable[..., list[dict[str, Any]]]

_SPARK_EXAMPLES = 2
"""Of a test over examples: a statement takes Spark a quarter of a second, whatever it is given."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Tests over examples see few of them on Spark."""
    test = getattr(item, "obj", None)
    own = getattr(test, "_hypothesis_internal_use_settings", None)
    if own is None or "spark" not in item.keywords:
        return (yield)
    test._hypothesis_internal_use_settings = settings(own, max_examples=_SPARK_EXAMPLES)
    try:
        return (yield)
    finally:
        test._hypothesis_internal_use_settings = own


@pytest.fixture(scope="session", params=OPENED)
def decide(request: pytest.FixtureRequest) -> Decide:
    """`decide(step, rows)`: the step's verdicts, by (shard, row)."""
    open_session = SESSIONS[request.param]

    def run(step: RelationalStep, rows: list[dict[str, Any]], **options: Any) -> Any:
        with open_session(survivors(step, rows), **options) as session:
            step.decide(session)
            return verdicts(session)

    return run
