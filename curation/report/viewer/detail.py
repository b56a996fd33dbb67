"""Everything known about one sample: text stays text, numbers stand beside their thresholds."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.core.corpus import Layer, StageLedger, index_path, shard_name, tar_path
from curation.core.errors import CorpusError
from curation.io.corpus import Corpus
from curation.report.funnel import error_meaning, reason_meaning, stage_recipes
from curation.report.stage_tables import stage_table, stages_of
from curation.report.viewer.blocks import Block, Medium, Shown, renderer
from curation.report.viewer.captions import COLUMNS, compared
from curation.report.viewer.captions import SHOWN as COMPARED
from curation.report.viewer.fates import HIDDEN, SHOWN
from curation.report.viewer.movable import Movable
from curation.report.viewer.parquet import quoted
from curation.report.viewer.rows import RowReader
from curation.report.viewer.thumbnails import why_none
from curation.report.viewer.tiles import Tiles
from curation.report.viewer.training import Training
from curation.report.viewer.whatif import WhatIf
from curation.report.wording import GLOSSARY, masked
from schemas.manifest import LayerRef
from schemas.sample import Segment

CAPTION = 2_000
"""Characters of a caption that come with the sample; the rest is asked for."""
WHOLE = 2_000_000
"""Characters of a caption that are ever sent."""

_FACT, _NAME = 4_000, 60
"""Characters of what a source says in one of its columns, and of the column's name."""
_OWN = 40
"""Columns of a source that are told."""
_CHOOSES = "choose_caption"
"""The stage that says which caption goes on (see docs/recaption.md)."""


class Details:
    """Reads single samples of one corpus."""

    def __init__(
        self,
        reader: RowReader,
        training: Training,
        tiles: Tiles,
        whatif: WhatIf,
        entries: dict[str, dict[str, int]],
    ) -> None:
        """`entries`: see curation.report.entry_names.vocabulary_entries."""
        self._reader, self._training, self._tiles = reader, training, tiles
        self._render = renderer(reader.corpus.manifest.family)
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
        training = None if personal else self._training.sample(position)
        segments = training.pop("segments") if training else []
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
            "blocks": self._blocks(position, row, "" if personal else text, measured, segments),
            "captions": self._captions(shard, at, measured, personal=personal),
            "measures": self._told(measured, personal=personal),
            "concepts": self._concepts(measured),
            "training": training,
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
        """What the index says of its origin; the source's own columns one by one."""
        columns = "key, license, source_url, domain, source"
        row = self._reader.fetch(index_path(shard), columns, at)
        own = _own_columns(row.pop("source"))
        if personal:  # a source repeats its caption
            own = [(name, masked(value)) for name, value in own]
            row["source_url"] = masked(row["source_url"] or "")
        told = [(name, str(value)[:_FACT]) for name, value in row.items() if value]
        return [*told, *((name[:_NAME], value[:_FACT]) for name, value in own[:_OWN])]

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

    def _blocks(
        self,
        position: int,
        row: dict[str, Any],
        text: str,
        measured: dict[str, dict[str, Any]],
        segments: list[Segment],
    ) -> list[Block]:
        """What its family draws of it."""
        media = [member for member in row["members"] or [] if member["sha256"]]
        first = (row["width"], row["height"])
        blocks = self._render(
            Shown(
                text=text,
                media=tuple(
                    Medium.of(nth, member["ext"], *(first if nth == 0 else ()))
                    for nth, member in enumerate(media)
                ),
                measured={
                    name: value for held in measured.values() for name, value in held.items()
                },
                segments=segments,
            )
        )
        return [{**block, "why_not": self._why_not(block, row, position)} for block in blocks]

    def _why_not(self, block: Block, row: dict[str, Any], position: int) -> str | None:
        """Why a picture or clip is not shown; only of the first image something is known."""
        if block["kind"] == "words":
            return None
        if self._reader.fates.seen(position) != SHOWN:
            return self._reader.fates.why_withheld(position)
        return why_none(row) if block["kind"] == "picture" and block["nth"] == 0 else None

    def _captions(
        self, shard: int, at: int, measured: dict[str, dict[str, Any]], *, personal: bool
    ) -> dict[str, Any] | None:
        """Original and new caption compared; null where there is no new one, or it may not be."""
        held = {n: v for values in measured.values() for n, v in values.items() if n in COLUMNS}
        if personal or not held.get("recaption"):
            return None
        selected = f"substr(text, 1, {COMPARED}) AS text"
        whole = self._reader.fetch(index_path(shard), selected, at)["text"]
        return compared(whole or "", held, self._choice(shard, at))

    def _choice(self, shard: int, at: int) -> dict[str, Any] | None:
        """Its row of the table of choices; null where no stage chose captions."""
        corpus = self._reader.corpus
        for stage in corpus.manifest.stages:
            if stage.stage == _CHOOSES and not stage.off:
                folder = StageLedger(stage.stage, stage.fingerprint).folder
                path = f"{folder}/choices-{shard_name(shard)}.parquet"
                if corpus.store.exists(path):
                    selected = "choice, reason, value, threshold, detail, failed, repaired"
                    return self._reader.fetch(path, selected, at)
        return None

    def _told(self, measured: dict[str, dict[str, Any]], *, personal: bool) -> list[dict[str, Any]]:
        told = []
        for operator, values in measured.items():
            for name, value in values.items():
                told_elsewhere = name == "concepts" or name in COLUMNS
                if told_elsewhere or (name == "error" and value is None):
                    continue
                if personal and not isinstance(value, int | float):
                    continue  # words that were read or written may repeat the caption
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


def _own_columns(source: str | None) -> list[tuple[str, str]]:
    """The source's own columns, then the sample's place in it; `source` whole if it is no JSON."""
    try:
        said = json.loads(source or "{}")
    except (ValueError, RecursionError):
        return [("source", source or "")]
    if not isinstance(said, dict):
        return [("source", str(source))]
    columns = said.pop("columns", {})
    own = {**columns, **said} if isinstance(columns, dict) else {**said, "columns": columns}
    plain = ((name, v if isinstance(v, str) else json.dumps(v)) for name, v in own.items())
    return [(name, value) for name, value in plain if value not in ("", "null")]


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
