"""The `decide` fixture: a relational step over survivors, on every engine."""

from collections.abc import Callable
from typing import Any

import pytest

from curation.core.step import RelationalStep
from tests.relational.sessions import SESSIONS, survivors, verdicts

Decide = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session", params=sorted(SESSIONS))
def decide(request: pytest.FixtureRequest) -> Decide:
    """`decide(step, rows)`: the step's verdicts, by (shard, row)."""
    open_session = SESSIONS[request.param]

    def run(step: RelationalStep, rows: list[dict[str, Any]], **options: Any) -> Any:
        with open_session(survivors(step, rows), **options) as session:
            step.decide(session)
            return verdicts(session)

    return run
