"""Every text of a folder, images or none: what a benchmark asks and answers.

Every column is a text, as question and answer; an image that a row names is looked for and not
read, since a folder's images are read as such.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from curation.io.sources.files import inside
from curation.io.sources.record import IMAGE_COLUMNS, Piece, Record, describe, first_present
from curation.io.sources.tables import TableSource
from curation.io.tables import read_table


@dataclass
class TextFileSource(TableSource):
    """A record a row of a table, a member of a JSON list, or a whole text file."""

    def read(self, piece: Piece, wanted: Sequence[bool]) -> Iterator[Record]:
        rows = read_table(self.scratch, piece.where["rows"]).to_pylist()
        for row in compress(rows, wanted):
            table, image = os.fsdecode(row["table"]), os.fsdecode(row["path"] or b"")
            record = Record(source={"row": row["row"], "table": table})
            if row["columns"]:
                describe(record, json.loads(row["columns"]), ())
            if row["error"]:
                record.fail(row["error"])
            elif image and not self._there(table, image):
                record.fail("missing_file")
            yield record

    def _choose(self, table: str, columns: dict[str, Any]) -> tuple[str, str | None]:
        """The column that names an image, if there is one; none is more of a text than others."""
        return first_present(self.options.image_column, IMAGE_COLUMNS, columns) or "", None

    def _there(self, table: str, name: str) -> bool:
        """Whether an image is in the folder, by a path from its top or from the table."""
        folder = table.rpartition("/")[0]
        for path in {name, f"{folder}/{name}".removeprefix("/")}:
            try:
                if self.store.exists(inside(self.store, path)):
                    return True
            except (OSError, ValueError):  # what cannot be the name of a file of the folder
                continue
        return False
