"""The funnel as a table: HTML in a notebook, lines of text elsewhere."""

from dataclasses import dataclass
from html import escape
from typing import Any

_HEADS = ("stage", "entered", "kept", "why", "samples")
_BAR = "background:#4c78a8;height:.7em;min-width:1px;width:{:.1f}%"


@dataclass(frozen=True)
class FunnelTable:
    """What `Corpus.funnel` gives."""

    said: dict[str, Any]
    """Counts and stages, as curation.report.viewer.view.View.overview tells them."""

    @property
    def balance(self) -> str:
        """The sum that always holds."""
        said = self.said
        word = "kept" if said["decided"] else "readable"
        return (
            f"{word} {said['kept']:,} + dropped {said['dropped']:,} + quarantined "
            f"{said['quarantined']:,} = {said['samples']:,} ingested"
        )

    def rows(self) -> list[tuple[str, int, int, str, int]]:
        """Stage, entered, kept, reason, samples: a row a reason, one of "" where there is none."""
        found = []
        for stage in self.said["stages"]:
            if stage["off"]:
                continue
            lost = [(x["reason"], x["count"]) for x in stage["losses"] if x["count"]]
            for reason, count in lost or [("", 0)]:
                found.append((stage["name"], stage["entered"], stage["kept"], reason, count))
        return found

    def __str__(self) -> str:
        lines = [_HEADS, *self._cells()]
        widths = [max(len(line[n]) for line in lines) for n in range(len(_HEADS))]
        told = []
        for line in lines:
            cells = [
                cell.ljust(width) if n in (0, 3) else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            told.append("  ".join(cells).rstrip())
        return "\n".join([*told, self.balance])

    __repr__ = __str__

    def _cells(self) -> list[tuple[str, ...]]:
        """As they are read: a stage is named once, above its reasons."""
        told: list[tuple[str, ...]] = []
        before = ""
        for stage, entered, kept, reason, count in self.rows():
            first = stage != before
            head = (stage, f"{entered:,}", f"{kept:,}") if first else ("", "", "")
            told.append((*head, reason, f"{count:,}" if reason else ""))
            before = stage
        return told

    def _repr_html_(self) -> str:
        ingested = max(1, self.said["samples"])
        lines = []
        for cells, row in zip(self._cells(), self.rows(), strict=True):
            share = _BAR.format(100 * row[2] / ingested) if cells[0] else ""
            bar = f'<div style="{share}"></div>' if share else ""
            tds = "".join(
                f'<td style="text-align:{"left" if n in (0, 3) else "right"}">{escape(cell)}</td>'
                for n, cell in enumerate(cells)
            )
            lines.append(f'<tr>{tds}<td style="width:12em">{bar}</td></tr>')
        heads = "".join(f"<th>{head}</th>" for head in _HEADS)
        return (
            f"<table><caption>{escape(self.balance)}</caption>"
            f"<thead><tr>{heads}<th>left</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
        )
