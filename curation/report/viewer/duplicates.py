"""Groups of twins: the sample that stays, and those that were dropped in its favour."""

from typing import Any

from curation.io.corpus import Corpus
from curation.report.columns import final_ledger
from curation.report.funnel import stage_recipes
from curation.report.viewer.fates import HIDDEN, Fates
from curation.report.viewer.kept import Kept
from curation.report.viewer.measures import MeasureStore
from curation.report.viewer.parquet import local_file, stream
from curation.report.viewer.tiles import Tiles

MEMBERS = 24
"""Twins of a group that are shown, the least alike first."""
_ANSWERS = 32


class Duplicates:
    """Asks the final ledger of one corpus."""

    def __init__(self, corpus: Corpus, fates: Fates, tiles: Tiles, store: MeasureStore) -> None:
        self._corpus, self._fates, self._tiles, self._store = corpus, fates, tiles, store
        self._order = {s.stage: n for n, s in enumerate(corpus.manifest.stages)}
        self._recipe = stage_recipes(corpus.manifest.recipe)
        self._answers: Kept[tuple[Any, ...], list[dict[str, Any]]] = Kept(_ANSWERS)

    def stages(self) -> list[dict[str, Any]]:
        """Stages that dropped twins, with how many groups and samples."""
        rows = self._ask(
            "SELECT stage, count(DISTINCT (kept_by_shard, kept_by_row)) AS groups, "
            "count(*) AS samples FROM read_parquet($1) WHERE kept_by_row IS NOT NULL GROUP BY stage"
        )
        rows.sort(key=lambda row: self._order.get(row["stage"], -1))
        return [{**row, "keeps": self._keeps(row["stage"])} for row in rows]

    def groups(self, stage: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """The largest groups of a stage, each with its best and the first of its twins."""
        heads = self._ask(
            "SELECT kept_by_shard AS shard, kept_by_row AS row, count(*) AS twins "
            "FROM read_parquet($1) WHERE stage = $2 AND kept_by_row IS NOT NULL "
            "GROUP BY kept_by_shard, kept_by_row "
            f"ORDER BY twins DESC, kept_by_shard, kept_by_row LIMIT {limit} OFFSET {offset}",
            stage,
        )
        return [
            {**self.group(head["shard"], head["row"], stage), "twins": head["twins"]}
            for head in heads
        ]

    def group(self, shard: int, row: int, stage: str = "") -> dict[str, Any]:
        """Those dropped in favour of (shard, row), by one stage or by all.

        Each has as `ranked` the measures by which the stage ranked it, in their order.
        """
        condition = "AND stage = $4" if stage else ""
        members = self._ask(
            "SELECT shard, row, stage, value FROM read_parquet($1) "
            f"WHERE kept_by_shard = $2 AND kept_by_row = $3 {condition} "
            f"ORDER BY value NULLS LAST, shard, row LIMIT {MEMBERS}",
            shard,
            row,
            *([stage] if stage else []),
        )
        best = self._fates.position(shard, row)
        places = [self._fates.position(m["shard"], m["row"]) for m in members]
        seen = [at for at in places if at is not None and self._fates.seen(at) != HIDDEN]
        there = best is not None and self._fates.seen(best) != HIDDEN
        stages = dict.fromkeys(m["stage"] for m in members)
        names = list(dict.fromkeys(name for one in stages for name in self._keep_best(one)))
        return {
            "best": self._ranked([best], names)[0] if there and best is not None else None,
            "members": self._ranked(seen, names),
            "hidden": len(places) - len(seen),
        }

    def _ranked(self, positions: list[int], names: list[str]) -> list[dict[str, Any]]:
        tiles = self._tiles.tiles(positions)
        columns = [(name, self._store.number(name)) for name in names if self._is_number(name)]
        ranked = [
            [{"name": name, "value": float(column.values[at])} for name, column in columns]
            for at in positions
        ]
        return [{**tile, "ranked": told} for tile, told in zip(tiles, ranked, strict=True)]

    def _is_number(self, name: str) -> bool:
        return name in self._store.columns and not self._store.columns[name].words

    def _keep_best(self, stage: str) -> list[str]:
        """Measures by which the stage ranks twins, the first one first."""
        return [str(name) for name in self._recipe.get(stage, {}).get("keep_best") or []]

    def _keeps(self, stage: str) -> str:
        """How the stage chooses the one that stays."""
        return ", then ".join(name.replace("_", " ") for name in self._keep_best(stage))

    def _ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
        final = final_ledger(self._corpus)
        if final is None or not self._corpus.shards:
            return []
        store = self._corpus.store
        files = [local_file(store, final.path(shard.shard)) for shard in self._corpus.shards]

        def answer() -> list[dict[str, Any]]:
            batches = stream(query, [files, *values])
            return [row for batch in batches for row in batch.to_pylist()]

        return [dict(row) for row in self._answers.get((query, *values), answer)]
