"""Everything known about one sample: text stays text, numbers stand beside their thresholds."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.core.corpus import Layer, index_path, tar_path
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.exported import index_of
from curation.report.funnel import error_meaning, reason_meaning, stage_recipes
from curation.report.stage_tables import stage_table, stages_of
from curation.report.tiles import Exported
from curation.report.viewer.fates import HIDDEN, SHOWN
from curation.report.viewer.parquet import quoted
from curation.report.viewer.rows import RowReader
from curation.report.viewer.tiles import Tiles
from curation.report.viewer.whatif import Movable, WhatIf
from curation.report.wording import GLOSSARY, masked
from schemas.manifest import ExportManifest, LayerRef

CAPTION = 2_000
"""Characters of a caption that come with the sample; the rest is asked for."""
WHOLE = 2_000_000
"""Characters of a caption that are ever sent."""
_MEMBER = 4 << 20
"""Bytes of a training sample's JSON that are read."""


class Details:
    """Reads single samples of one corpus."""

    def __init__(
        self,
        reader: RowReader,
        export: Exported | None,
        tiles: Tiles,
        whatif: WhatIf,
        entries: dict[str, dict[str, int]],
    ) -> None:
        """`entries`: see curation.report.entry_names.vocabulary_entries."""
        self._reader, self._export, self._tiles = reader, export, tiles
        self._rules: dict[str, list[Movable]] = {}
        for rule in whatif.movable.values():
            self._rules.setdefault(rule.limit.column, []).append(rule)
        self._entries = {lang: {n: e for e, n in ids.items()} for lang, ids in entries.items()}
        self._columns = {ref.operator: _plain(reader.corpus, ref) for ref in _layers(reader.corpus)}

    def sample(self, position: int) -> dict[str, Any]:
        """Of a sample that is hidden only that it is."""
        reader, corpus = self._reader, self._reader.corpus
        if reader.fates.seen(position) == HIDDEN:
            group = reader.fates.group(position)
            return {"hidden": True, "stage": group.stage, "reason": group.cause}
        (row,) = reader.rows([position])
        shard, at = row["shard"], row["row"]
        measured = self._measured(shard, at)
        personal = self._tiles.personal(row["ledger"])
        text = row["text"] or ""
        return {
            "hidden": False,
            "tile": self._tiles.tile(position, row),
            "text": masked(text) if personal else text[:CAPTION],
            "length": row["length"],
            "whole": not personal and row["length"] <= min(CAPTION, len(text)),
            "personal": personal,
            "facts": self._facts(shard, at, personal=personal),
            "tar": corpus.store.path(tar_path(shard)),
            "members": [
                {**m, "shown": reader.fates.seen(position) == SHOWN} for m in row["members"] or []
            ],
            "stages": self._stages(row["ledger"]),
            "measures": self._told(measured),
            "concepts": self._concepts(measured),
            "training": self._training(shard, at),
        }

    def caption(self, position: int) -> str:
        """The whole caption of a sample that may be shown and was not dropped for personal data."""
        (row,) = self._reader.rows([position])
        if self._reader.fates.seen(position) == HIDDEN:
            return ""
        if self._tiles.personal(row["ledger"]):
            return masked(row["text"] or "")
        selected = f"substr(text, 1, {WHOLE}) AS text"
        whole = self._reader.fetch(index_path(row["shard"]), selected, row["row"])
        return whole["text"] or ""

    def _facts(self, shard: int, at: int, *, personal: bool) -> list[tuple[str, str]]:
        columns = "key, license, source_url, domain, source"
        row = self._reader.fetch(index_path(shard), columns, at)
        told = [(name, str(value)[:4_000]) for name, value in row.items() if value]
        hide = ("source", "source_url") if personal else ()  # a source repeats its caption
        return [(name, masked(text) if name in hide else text) for name, text in told]

    def _measured(self, shard: int, at: int) -> dict[str, dict[str, Any]]:
        store = self._reader.corpus.store
        found = {}
        for ref in _layers(self._reader.corpus):
            columns = self._columns[ref.operator]
            path = Layer(ref.operator, ref.fingerprint).path(shard)
            if columns and store.exists(path):
                selected = ", ".join(quoted(name) for name in columns)
                found[ref.operator] = self._reader.fetch(path, selected, at)
        return found

    def _told(self, measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        told = []
        for operator, values in measured.items():
            for name, value in values.items():
                if name == "concepts" or (name == "error" and value is None):
                    continue
                rules = [
                    {
                        "name": rule.name,
                        "kind": rule.limit.kind,
                        "threshold": rule.threshold,
                        "fails": _breaks(rule, value),
                    }
                    for rule in self._rules.get(name, [])
                ]
                said = {"operator": operator, "name": name, "value": value, "rules": rules}
                told.append({**said, "meaning": GLOSSARY.get(name, "")})
        return told

    def _stages(self, verdict: dict[str, Any]) -> list[dict[str, Any]]:
        """Each stage, and whether the sample passed it, fell there or never came to it."""
        recipe = stage_recipes(self._reader.corpus.manifest.recipe)
        told: list[dict[str, Any]] = []
        fallen = verdict["stage"] is not None and verdict["stage"] not in recipe
        if fallen:
            told.append({"stage": verdict["stage"], "fate": "fell"})
        for stage in self._reader.corpus.manifest.stages:
            here = stage.stage == verdict["stage"]
            fate = "off" if stage.off else "fell" if here else "not reached" if fallen else "passed"
            told.append({"stage": stage.stage, "fate": fate})
            fallen = fallen or here
        for line in told:
            if line["fate"] == "fell":
                cause = verdict["reason"] or verdict["error"] or ""
                meaning = reason_meaning(cause) or error_meaning(cause)
                line |= {"cause": cause, "meaning": meaning}
        return told

    def _concepts(self, measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Entries that the caption matches, and the chance of a draw where balance ran."""
        said = next((v for v in measured.values() if "concepts" in v), None)
        if said is None or not said["concepts"]:
            return []
        language, ids = str(said["concept_language"]), said["concepts"]
        chances = self._chances(language, ids)
        names = self._entries.get(language, {})
        return [
            {"id": f"{language}:{n}", "name": names.get(n, f"{language}:{n}"), **chances.get(n, {})}
            for n in ids
        ]

    def _chances(self, language: str, ids: list[int]) -> dict[int, dict[str, Any]]:
        corpus = self._reader.corpus
        recipe = stage_recipes(corpus.manifest.recipe)
        for stage in stages_of(corpus, "Balance"):
            if recipe[stage.stage].get("by") == "concepts":
                table = stage_table(corpus, stage, "counts")
                if table is not None:
                    mine = pc.and_(
                        pc.equal(table["language"], language),
                        pc.is_in(table["entry"], value_set=pa.array(ids, table["entry"].type)),
                    )
                    rows = table.filter(mine).to_pylist()
                    return {r["entry"]: {k: r[k] for k in ("samples", "p", "kept")} for r in rows}
        return {}

    def _training(self, shard: int, at: int) -> dict[str, Any] | None:
        """The sample as a trainer reads it, where it was exported."""
        if self._export is None:
            return None
        store, manifest = self._export
        place = _exported_at(store, manifest, shard, at)
        if place is None:
            return None
        tar, member = place
        with store.open(tar) as file:
            file.seek(member["offset"])
            data = file.read(min(member["size"], _MEMBER))
        try:
            said = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{store.path(tar)}: damaged sample ({error})") from error
        return {"tar": store.path(tar), "offset": member["offset"], "sample": said}


def _exported_at(
    store: Store, manifest: ExportManifest, shard: int, at: int
) -> tuple[str, dict[str, Any]] | None:
    """Tar and JSON member of the exported sample that comes from (shard, row)."""
    paths = read_table(store, manifest.tables["shards"].path, ["path"])["path"].to_pylist()
    for tar in paths:
        table = read_table(store, index_of(tar), ["source_shard", "source_row"])
        same = pc.and_(pc.equal(table["source_shard"], shard), pc.equal(table["source_row"], at))
        found = np.flatnonzero(np.asarray(same))
        if len(found):
            row = read_table(store, index_of(tar), ["members"]).slice(int(found[0]), 1).to_pylist()
            members = [m for m in row[0]["members"] if m["ext"] == "json"]
            return (tar, members[0]) if members else None
    return None


def _layers(corpus: Corpus) -> list[LayerRef]:
    return corpus.manifest.layers


def _plain(corpus: Corpus, ref: LayerRef) -> list[str]:
    """Columns of a layer that can be told: no vectors and no other bytes."""
    if not corpus.shards:
        return []
    path = Layer(ref.operator, ref.fingerprint).path(corpus.shards[0].shard)
    with corpus.store.open(path) as file:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(f"{corpus.store.path(path)}: damaged file ({error})") from error
    names = [*ref.columns, "error"]
    return [name for name in names if not _is_bytes(schema.field(name).type)]


def _is_bytes(kind: pa.DataType) -> bool:
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in binary)


def _breaks(rule: Movable, value: Any) -> bool:
    if not isinstance(value, int | float):
        return rule.limit.drops_missing and value is None
    at_least = rule.limit.kind == "at_least"
    return value < rule.threshold if at_least else value > rule.threshold  # NaN breaks neither
