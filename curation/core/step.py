"""The decision contract: a step reads what was measured and says which samples do not stay.

A select step looks at one sample at a time; a relational step at the whole corpus, in SQL. Both
hold their thresholds as fields, and neither measures anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pyarrow as pa

VERDICT_COLUMNS = pa.schema(
    [
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
        ("kept_by", pa.string()),
        ("kept_by_shard", pa.int32()),
        ("kept_by_row", pa.int32()),
    ]
)
"""What a step says of a sample that it drops, beside `shard` and `row`."""

INDEX_COLUMNS = pa.schema(
    [
        ("text", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("license", pa.string()),
        ("source_url", pa.string()),
        ("domain", pa.string()),
        ("source", pa.string()),
        ("media_sha256", pa.string()),
    ]
)
"""What a step may require of the index; every other column comes from a layer."""

NOT_ASKED = "not asked for"
"""Why a stage is off until one of its fields is set; nothing that a reader must be warned of."""


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """A stage of a recipe that decides."""

    version: ClassVar[int] = 1
    """Raised when the same measures would be decided otherwise."""

    name: str
    """Stage name in recipes, ledgers and funnels."""

    off: str = ""
    """Why the stage is switched off; empty where it runs. A stage that is off drops nothing."""

    excuses: ClassVar[tuple[str, ...]] = ()
    """Operators whose failure on a sample is no reason to give it up: it comes with the code in a
    column `<operator>_error`, and nulls in place of what the operator provides."""

    @property
    @abstractmethod
    def requires(self) -> pa.Schema:
        """Columns of the index or of layers."""


class SelectStep(Step):
    """Decides each sample by itself."""

    @abstractmethod
    def decide(self, rows: pa.Table) -> pa.Table:
        """Of `rows` (shard, row, uid and the required columns), those to drop.

        Returns shard, row and VERDICT_COLUMNS, in the order of `rows`.
        """


class ChoiceStep(SelectStep):
    """Chooses something for each sample, by itself, and drops none."""

    @abstractmethod
    def choose(self, rows: pa.Table) -> pa.Table:
        """What is chosen for each of `rows`: CHOICE, in their order, no `choice` null."""

    def decide(self, rows: pa.Table) -> pa.Table:
        names = ["shard", "row", *VERDICT_COLUMNS.names]
        kinds = [pa.int32(), pa.int32(), *(f.type for f in VERDICT_COLUMNS)]
        return pa.Table.from_arrays([pa.array([], kind) for kind in kinds], names=names)


class Session(Protocol):
    """Where a relational step runs: DuckDB here, Spark SQL on a cluster."""

    def create(self, table: str, query: str) -> None:
        """Makes `table` from a query in DuckDB's dialect, replacing one of that name."""

    def drop(self, *tables: str) -> None:
        """Forgets tables that are no longer needed."""

    def scalar(self, query: str) -> Any:
        """The one value of a query."""

    def load(self, table: str, data: pa.Table) -> None:
        """Makes `table` from a small table at hand (a user's list), for joins by broadcast."""

    def apply(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        """Makes `table` from the whole result of `query` through `function`.

        For what SQL does badly, on results that fit in memory.
        """

    def rows(self, query: str) -> pa.Table:
        """The small result of a query, to be broadcast to functions of `map` and `groups`."""

    def map(
        self, table: str, query: str, function: Callable[[pa.Table], pa.Table], schema: pa.Schema
    ) -> None:
        """Makes `table` from the result of `query`, a batch of rows at a time.

        What `function` makes of a row may depend on that row alone, never on its batch.
        """

    def groups(
        self,
        table: str,
        query: str,
        key: str,
        function: Callable[[pa.Table], pa.Table],
        schema: pa.Schema,
    ) -> None:
        """Makes `table` from the result of `query`, all rows of one `key` at a time.

        A group's rows come in any order and must fit in memory.
        """


class RelationalStep(Step):
    """Decides over the whole corpus."""

    @abstractmethod
    def decide(self, session: Session) -> None:
        """Reads `survivors` (shard, row, uid and the required columns), creates `verdicts`.

        `verdicts` has shard, row and VERDICT_COLUMNS, one row for each sample to drop. Columns
        are named, NULLS LAST is said, only integers are summed, every tie is broken by uid,
        shard, row.
        """

    def notes(self, session: Session) -> dict[str, int]:
        """Counts worth telling beside the drops, as samples that could not be compared."""
        return {}

    def tables(self) -> dict[str, str]:
        """Tables worth keeping beside the ledger: a name, and the ordered query that gives it.

        Asked after `decide`; each result is small enough to hold in memory.
        """
        return {}
