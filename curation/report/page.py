"""The static page: one self-contained file without scripts, its strangers' text escaped.

The page of a corpus is the same, byte for byte, wherever and whenever it is made; only the part
that quotes the run log, marked as such, tells of a machine and a clock.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from curation.core.corpus import MANIFEST
from curation.core.errors import UsageError
from curation.io.corpus import Corpus, Opened, open_any
from curation.io.store import Store, check_folder_of, write_file
from curation.report.axis import Limit
from curation.report.chart import FUNNEL_WIDTH, WIDTH, HistogramChart, funnel_rows, histogram_chart
from curation.report.entry_names import entry_names, vocabulary_entries
from curation.report.funnel import Funnel, funnel, undecided_funnel
from curation.report.gallery import Gallery, build_gallery, gallery_of_export, totals_of
from curation.report.histogram import Histogram, Measures, WordCount, limits_of, measures
from curation.report.overview import Overview, corpus_overview, export_overview
from curation.report.run_record import RunRecord, newest_record
from curation.report.selection import Selection, selection
from curation.report.wording import GLOSSARY, byte_size, display_safe, number, percent
from schemas.manifest import LayerRef


def write_report(path: str, out: str) -> None:
    """Writes the page of a run directory, a corpus or an export to the file `out`.

    Raises UsageError for an `out` that is a folder or in none, CorpusError for a `path` that is
    none of them or is damaged, StorageError where the page cannot be written.
    """
    if not out or out.endswith("/") or ("://" not in out and Path(out).is_dir()):
        raise UsageError(f"{out or '--out'}: a folder; --out takes the name of a file")
    check_folder_of(out)
    page = render(open_any(path), newest_record(path))
    write_file(out, page.encode())


@dataclass(frozen=True, kw_only=True)
class MeasureGroup:
    """The measures of one operator."""

    name: str
    """Empty for columns of the index."""
    layer: LayerRef | None
    charts: list[tuple[Histogram, HistogramChart]]
    words: list[WordCount]
    constant: list[Histogram]


def render(opened: Opened, record: RunRecord | None) -> str:
    """The page of what `opened` is."""
    if opened.corpus is not None:
        view = _corpus_view(opened.corpus, opened)
    else:
        view = _export_view(opened)
    environment = Environment(
        loader=PackageLoader("curation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = number
    environment.filters["bytes"] = byte_size
    environment.filters["safe_text"] = display_safe
    names = {"percent": percent, "glossary": GLOSSARY, "chart_width": WIDTH}
    template = environment.get_template("page.html.j2")
    return template.render(**view, **names, funnel_width=FUNNEL_WIDTH, record=record)


def _corpus_view(corpus: Corpus, opened: Opened) -> dict[str, Any]:
    manifest = corpus.manifest
    export = opened.export[1] if opened.export else None
    entries = vocabulary_entries(manifest.layers, corpus.store)
    selected = selection(corpus, opened.export, entries)
    gallery = build_gallery(
        corpus, opened.export, entries=entry_names(entries), spent=selected.spent
    )
    if manifest.ledger is not None:
        counted = funnel(manifest.totals, manifest.stages, manifest.recipe)
    else:
        errors, blocked = totals_of(gallery.quarantined), totals_of(gallery.dropped)
        counted = undecided_funnel(manifest.totals.ingested, errors, sum(blocked.values()))
    measured = measures(corpus, limits_of(manifest))
    return _view(
        overview=corpus_overview(manifest, _manifest_sha256(corpus.store), export, counted),
        counted=counted,
        selected=selected,
        gallery=gallery,
        measured=measured,
        layers=manifest.layers,
    )


def _export_view(opened: Opened) -> dict[str, Any]:
    assert opened.export is not None
    store, manifest = opened.export
    counted = funnel(manifest.corpus_totals, manifest.stages, manifest.recipe)
    return _view(
        overview=export_overview(manifest, _manifest_sha256(store), counted),
        counted=counted,
        selected=Selection(),
        gallery=gallery_of_export(store, manifest),
        measured=None,
        layers=[],
    )


def _manifest_sha256(store: Store) -> str:
    """Of the file as it lies there, whichever version wrote it."""
    return hashlib.sha256(store.read(MANIFEST)).hexdigest()


def _view(
    *,
    overview: Overview,
    counted: Funnel,
    selected: Selection,
    gallery: Gallery,
    measured: Measures | None,
    layers: list[LayerRef],
) -> dict[str, Any]:
    groups = _groups(measured, layers) if measured else []
    return {
        "overview": overview,
        "funnel": counted,
        "rows": funnel_rows(counted, overview.exported.samples if overview.exported else None),
        "selection": selected,
        "gallery": gallery,
        "groups": groups,
        "measured": measured is not None,
        "limits": measured.limits() if measured else {},
        "anchors": _anchors(gallery, groups),
    }


def _groups(measured: Measures, layers: list[LayerRef]) -> list[MeasureGroup]:
    """Operators in the order in which they measured; the index, where it is looked at, first."""
    by_name: Mapping[str, LayerRef | None] = {"": None, **{ref.operator: ref for ref in layers}}
    groups = [
        MeasureGroup(
            name=name,
            layer=layer,
            charts=[(h, histogram_chart(h)) for h in measured.numbers if h.column.operator == name],
            words=[w for w in measured.words if w.column.operator == name],
            constant=[h for h in measured.constant if h.column.operator == name],
        )
        for name, layer in by_name.items()
    ]
    return [group for group in groups if group.charts or group.words or group.constant]


@dataclass(frozen=True)
class Anchors:
    """Where on the page a measure or the panel of a reason is."""

    measures: dict[str, str]
    panels: dict[tuple[str, str], str]
    """By stage and cause."""

    def panel(self, stage: str, cause: str) -> str:
        """Empty where the page has no such panel; summaries tell an error as `stage: error`."""
        at, colon, error = cause.partition(": ")
        return self.panels.get((at, error) if colon else (stage, cause), "")

    def measure(self, limit: Limit | None) -> str:
        return self.measures.get(limit.column, "") if limit else ""


def _anchors(gallery: Gallery, groups: list[MeasureGroup]) -> Anchors:
    columns = [h.column.name for group in groups for h, _ in group.charts]
    columns += [w.column.name for group in groups for w in group.words]
    panels = [panel.group for panel in (*gallery.dropped, *gallery.quarantined)]
    return Anchors(
        measures={name: f"measure-{n}" for n, name in enumerate(columns, 1)},
        panels={(g.stage, g.cause): f"panel-{n}" for n, g in enumerate(panels, 1)},
    )
