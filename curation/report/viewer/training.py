"""Samples as the trainer reads them: their JSON in the export, and what it is in tokens."""

import json
import threading
from typing import Any

import numpy as np

from curation.core.errors import CorpusError, UsageError
from curation.io.tables import read_table
from curation.report.exported import index_of
from curation.report.tiles import Exported
from curation.report.viewer.fates import Fates
from curation.report.viewer.measures import unnamed_array
from curation.report.viewer.tokens import TokenView
from schemas.sample import Segment

_MEMBER = 4 << 20
"""Bytes of a training sample's JSON that are read."""
_JSON = 40_000
"""Characters of it that are shown."""


class Training:
    """Finds the exported samples of one corpus; safe to ask from many threads."""

    def __init__(self, export: Exported | None, fates: Fates, tokens: TokenView) -> None:
        """`export`, where there is one, made from the corpus that `fates` are of."""
        self._export, self._fates, self._tokens = export, fates, tokens
        self._tars: list[str] = []
        self._places: Any = None
        self._reading = threading.Lock()

    def sample(self, position: int) -> dict[str, Any] | None:
        """Where the exported sample lies, its JSON cut to what is shown, and its segments whole."""
        place = self._place(position)
        if place is None or self._export is None:
            return None
        store, _ = self._export
        tar, member = place
        with store.open(tar) as file:
            file.seek(member["offset"])
            data = file.read(min(member["size"], _MEMBER))
        try:
            said = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{store.path(tar)}: damaged sample ({error})") from error
        return {
            "tar": store.path(tar),
            "offset": member["offset"],
            "json": json.dumps(said, indent=1, ensure_ascii=False)[:_JSON],
            "segments": _segments(said),
        }

    def tokens(self, position: int) -> dict[str, Any]:
        """The sample in tokens. Raises UsageError where it was not exported."""
        said = self.sample(position)
        if said is None:
            raise UsageError("this sample is not in the export")
        return self._tokens.told(said["segments"])

    def _place(self, position: int) -> tuple[str, dict[str, Any]] | None:
        """Tar and JSON member of the exported sample."""
        if self._export is None:
            return None
        store, _ = self._export
        with self._reading:
            if self._places is None:
                self._places = self._read()
        nth, row = map(int, self._places[position])
        if nth < 0:
            return None
        tar = self._tars[nth]
        (found,) = read_table(store, index_of(tar), ["members"]).slice(row, 1).to_pylist()
        members = [m for m in found["members"] if m["ext"] == "json"]
        return (tar, members[0]) if members else None

    def _read(self) -> Any:
        """Of every position the export's tar and row, -1 where it is in none; read once."""
        assert self._export is not None
        store, manifest = self._export
        places = unnamed_array("int32", (self._fates.size, 2))
        places[:] = -1
        paths = read_table(store, manifest.tables["shards"].path, ["path"])["path"]
        self._tars = paths.to_pylist()
        for nth, tar in enumerate(self._tars):
            table = read_table(store, index_of(tar), ["source_shard", "source_row"])
            at, there = self._fates.places(*table.columns)
            places[at[there], 0] = nth
            places[at[there], 1] = np.flatnonzero(there)
        return places


def _segments(said: Any) -> list[Segment]:
    found = said.get("segments") if isinstance(said, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []  # type: ignore[misc]
