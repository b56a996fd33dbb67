"""What Spark raises, as a line for the user."""

import contextlib
from collections.abc import Iterator

from py4j.protocol import Py4JError
from pyspark.errors import PySparkRuntimeError

from curation.core.errors import RunError, StorageError

_STORAGE = ("No space left", "FileNotFound", "NoSuchFile", "IOException", "Permission denied")
"""In the reason that Java gives when storage fails."""


@contextlib.contextmanager
def spark_failures() -> Iterator[None]:
    """Turns failures of the cluster into ours; the rest are faults of the step itself."""
    try:
        yield
    except PySparkRuntimeError as error:
        if "JAVA_GATEWAY_EXITED" in str(error):
            raise RunError("Spark did not start: it needs Java 17 or 21 (JAVA_HOME)") from error
        raise
    except Py4JError as error:
        said = _reason(str(error))
        if any(word in said for word in _STORAGE):
            raise StorageError(f"scratch space of Spark: {said}") from error
        raise RunError(f"the Spark cluster failed: {said}") from error


def _reason(said: str) -> str:
    """The line of a Java error that says most."""
    lines = [
        line.strip()
        for line in said.splitlines()
        if line.strip() and not line.startswith("An error occurred while calling")
    ]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return causes[-1].removeprefix("Caused by: ") if causes else lines[0] if lines else "no reason"
