"""The `run` fixture: an operator over rows, on every engine."""

import pytest

from tests.operators.engines import ENGINES, Run


@pytest.fixture(params=sorted(ENGINES))
def run(request: pytest.FixtureRequest) -> Run:
    """`run(operator, rows, batch_rows=...)`: the operator's layer over a table of its inputs."""
    return ENGINES[request.param]
