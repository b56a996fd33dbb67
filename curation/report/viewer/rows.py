"""The few rows that are shown, each read from the files where it lies."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from curation.core.corpus import index_path
from curation.io.corpus import Corpus
from curation.report.columns import final_ledger, ledger_of_index
from curation.report.pictures import LOOK
from curation.report.viewer.fates import Fates
from curation.report.viewer.parquet import RowFetcher

_INDEX = (
    f"shard, row, uid, substr(text, 1, {LOOK}) AS text, coalesce(length(text), 0) AS length, "
    "width, height, members, error, blocked"
)
_BARE = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("uid", pa.string()),
        ("error", pa.string()),
        ("blocked", pa.string()),
    ]
)


class RowReader:
    """Reads samples of one corpus by position."""

    def __init__(self, corpus: Corpus, fates: Fates) -> None:
        self.corpus, self.fates = corpus, fates
        self._fetcher = RowFetcher(corpus.store)
        self._final = final_ledger(corpus)

    def rows(self, positions: Iterable[int]) -> list[dict[str, Any]]:
        """Index and `ledger` of each, in the order asked; each file is read once.

        `text` is the start of the caption, `length` the characters of the whole.
        """
        places = [self.fates.place(int(at)) for at in positions]
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for shard in dict.fromkeys(shard for shard, _ in places):
            rows = sorted({row for there, row in places if there == shard})
            index = self._fetcher.fetch(index_path(shard), _INDEX, rows)
            ledger = self._ledger(shard, [index[row] for row in rows])
            for row in rows:
                found[shard, row] = {**index[row], "ledger": ledger[row]}
        return [found[place] for place in places]

    def fetch(self, path: str, selected: str, row: int) -> dict[str, Any]:
        """`selected` of one row of one file of the corpus."""
        return self._fetcher.fetch(path, selected, [row])[row]

    def _ledger(self, shard: int, index: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Rows of the final ledger, or what ingest alone knows of them."""
        if self._final is not None:
            rows = [row["row"] for row in index]
            return self._fetcher.fetch(self._final.path(shard), "*", rows)
        bare = [{name: row[name] for name in _BARE.names} for row in index]
        told = ledger_of_index(pa.Table.from_pylist(bare, _BARE)).to_pylist()
        return {row["row"]: row for row in told}
