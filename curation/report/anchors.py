"""Where on the page a measure or the panel of a reason is, and a picture that stands for it."""

import base64
from dataclasses import dataclass

from curation.io.image_decode import DecodeError, thumbnail
from curation.io.image_header import ImageError
from curation.report.axis import Limit
from curation.report.gallery import Gallery, Panel
from curation.report.overview import Overview

_EXAMPLE_SIDE = 112
"""Pixels of the longer side of a picture beside a reason."""
_DATA = "data:image/jpeg;base64,"


@dataclass(frozen=True)
class Anchors:
    """Names of places on the page."""

    measures: dict[str, str]
    panels: dict[tuple[str, str], str]
    """By stage and cause."""

    def panel(self, stage: str, cause: str) -> str:
        """Empty where the page has no such panel."""
        return self.panels.get(_group(stage, cause), "")

    def measure(self, limit: Limit | None) -> str:
        return self.measures.get(limit.column, "") if limit else ""


def anchors(gallery: Gallery, columns: list[str]) -> Anchors:
    """Of every panel of `gallery`, and of the charts of `columns`."""
    panels = [panel.group for panel in (*gallery.dropped, *gallery.quarantined)]
    return Anchors(
        measures={name: f"measure-{n}" for n, name in enumerate(columns, 1)},
        panels={(g.stage, g.cause): f"panel-{n}" for n, g in enumerate(panels, 1)},
    )


def examples(overview: Overview, gallery: Gallery) -> dict[tuple[str, str], str]:
    """A small picture for each reason on the first screen that may be shown one, as a data URI."""
    panels = {(p.group.stage, p.group.cause): p for p in (*gallery.dropped, *gallery.quarantined)}
    found = {}
    for stage, loss, _ in overview.lost:
        panel = panels.get(_group(stage, loss.reason))
        picture = _small(panel) if panel else ""
        if picture:
            found[stage, loss.reason] = picture
    return found


def _group(stage: str, cause: str) -> tuple[str, str]:
    """Stage and cause as ledgers have them; summaries tell an error as `stage: error`."""
    at, colon, error = cause.partition(": ")
    return (at, error) if colon else (stage, cause)


def _small(panel: Panel) -> str:
    """The first picture of a panel, made smaller out of its thumbnail; empty where it has none."""
    uri = next((tile.picture.uri for tile in panel.tiles if tile.picture.uri), "")
    if not uri:
        return ""
    try:
        data = thumbnail(base64.b64decode(uri.removeprefix(_DATA)), _EXAMPLE_SIDE)
    except (DecodeError, ImageError):
        return ""
    return _DATA + base64.b64encode(data).decode()
