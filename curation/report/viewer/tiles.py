"""Samples as the gallery shows them: a picture's address, the start of a caption, a verdict."""

from typing import Any

from curation.io.corpus import Corpus
from curation.report.funnel import stage_recipes, stage_rules
from curation.report.viewer.fates import SHOWN, Fates
from curation.report.viewer.rows import RowReader
from curation.report.viewer.thumbnails import why_none
from curation.report.wording import PERSONAL, shown_caption, verdict_text
from schemas import DROPPED, QUARANTINED


class Tiles:
    """Makes tiles of one corpus."""

    def __init__(self, corpus: Corpus, reader: RowReader, entries: dict[str, str]) -> None:
        """`entries` names vocabulary entries by `language:id`."""
        self._reader, self._entries = reader, entries
        recipe = stage_recipes(corpus.manifest.recipe)
        self._rules = {name: stage_rules(stage) for name, stage in recipe.items()}
        self._kinds = {name: str(stage.get("kind", "")) for name, stage in recipe.items()}

    def tiles(self, positions: list[int]) -> list[dict[str, Any]]:
        """In the order given; positions are of samples that may be listed."""
        rows = self._reader.rows(positions)
        return [self.tile(at, row) for at, row in zip(positions, rows, strict=True)]

    def tile(self, position: int, row: dict[str, Any]) -> dict[str, Any]:
        """`row`: see RowReader.rows."""
        ledger = row["ledger"]
        fates: Fates = self._reader.fates
        shown = fates.seen(position) == SHOWN
        group = fates.group(position)
        return {
            "at": position,
            "uid": row["uid"],
            "shard": row["shard"],
            "row": row["row"],
            "caption": self.caption(row),
            "width": row["width"],
            "height": row["height"],
            "status": group.status,
            "stage": group.stage,
            "cause": group.cause,
            "verdict": self._verdict(ledger),
            "why_not": why_none(row) if shown else fates.why_withheld(position),
            "twin": self._twin(ledger),
        }

    def caption(self, row: dict[str, Any]) -> str:
        """The start of a caption: one line, without what looks like an address or a number."""
        personal = self.personal(row["ledger"])
        return shown_caption(row["text"] or "", row["length"], personal=personal)

    def personal(self, ledger: dict[str, Any]) -> bool:
        """Whether the sample was dropped for personal data in its caption."""
        rule = self._rule(ledger)
        return rule is not None and rule["column"] in PERSONAL

    def _rule(self, ledger: dict[str, Any]) -> dict[str, Any] | None:
        return self._rules.get(ledger["stage"] or "", {}).get(ledger["reason"] or "")

    def _verdict(self, ledger: dict[str, Any]) -> str:
        if ledger["status"] == QUARANTINED:
            return ""  # the error is its cause
        if ledger["status"] != DROPPED:
            return ""
        kind = self._kinds.get(ledger["stage"] or "", "")
        return verdict_text(ledger, self._rule(ledger), kind, self._entries)

    def _twin(self, ledger: dict[str, Any]) -> int | None:
        if ledger["kept_by_row"] is None:
            return None
        return self._reader.fates.position(ledger["kept_by_shard"], ledger["kept_by_row"])
