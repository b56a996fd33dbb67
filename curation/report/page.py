"""The static page: one self-contained file without scripts, its strangers' text escaped.

The page of a corpus is the same, byte for byte, wherever and whenever it is made; only the part
that quotes the run log, marked as such, tells of a machine and a clock.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.core.corpus import MANIFEST
from curation.core.errors import UsageError
from curation.io.corpus import Corpus, Opened, open_any
from curation.io.store import Store, check_folder_of, write_file
from curation.report.anchors import anchors, examples
from curation.report.chart import FUNNEL_WIDTH, WIDTH, HistogramChart, funnel_rows, histogram_chart
from curation.report.cost import cost_of
from curation.report.drawn import templates
from curation.report.entry_names import entry_names, vocabulary_entries
from curation.report.exported import bytes_of_export
from curation.report.funnel import Funnel, funnel, undecided_funnel
from curation.report.gallery import Gallery, build_gallery, gallery_of_export, totals_of
from curation.report.histogram import Histogram, Measures, WordCount, limits_of, measures
from curation.report.overview import Overview, corpus_overview, export_overview
from curation.report.plain_words import noun
from curation.report.recaption import DRAWING, Recaptions, recaptions
from curation.report.run_record import RunRecord, run_records
from curation.report.selection import Selection, selection
from curation.report.tiles import PICTURE_BYTES
from curation.report.wording import GLOSSARY, percent
from schemas.manifest import LayerRef

PAGE_BYTES = 4_900_000
"""Bytes of a page at most, whatever the corpus."""
_MARGIN = 20_000
"""Bytes that pictures give up beyond what a page was too large by."""
CHARTS = 80
"""Measures that are drawn at most."""


def write_report(path: str, out: str) -> None:
    """Writes the page of a run directory, a corpus or an export to the file `out`.

    Raises UsageError for an `out` that is a folder or in none, CorpusError for a `path` that is
    none of them or is damaged, StorageError where the page cannot be written.
    """
    if not out or out.endswith("/") or ("://" not in out and Path(out).is_dir()):
        raise UsageError(f"{out or '--out'}: a folder; --out takes the name of a file")
    check_folder_of(out)
    page = render(open_any(path), run_records(path))
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


def render(opened: Opened, records: list[RunRecord]) -> str:
    """The page of what `opened` is, of at most PAGE_BYTES; `records` are its logs, oldest first.

    Pictures give way where charts, captions and tables leave too little room for them.
    """
    made = _corpus_page(opened.corpus, opened) if opened.corpus else _export_page(opened)
    pictures = PICTURE_BYTES
    while True:
        view = made(pictures)
        page = _written(view, records)
        over = len(page.encode()) - PAGE_BYTES
        if over <= 0 or not pictures:
            return page
        spent = sum(part.spent for part in _pictured(view))
        pictures = max(0, min(pictures, spent) - over - _MARGIN)


def _pictured(view: dict[str, Any]) -> list[Gallery | Selection | Recaptions]:
    """The parts of a page that have pictures."""
    parts = (view["gallery"], view["selection"], view.get("recaptions"))
    return [part for part in parts if part is not None]


def _written(view: dict[str, Any], records: list[RunRecord]) -> str:
    names = {
        "percent": percent,
        "glossary": GLOSSARY,
        "chart_width": WIDTH,
        "funnel_width": FUNNEL_WIDTH,
        **DRAWING,
        "cost": cost_of(records, view["funnel"].ingested),
        "record": records[-1] if records else None,
    }
    return templates().get_template("page.html.j2").render(**view, **names)


def _corpus_page(corpus: Corpus, opened: Opened) -> Callable[[int], dict[str, Any]]:
    """A function of the bytes that pictures may take; what does not hang on them is read once."""
    manifest = corpus.manifest
    export = opened.export[1] if opened.export else None
    entries = vocabulary_entries(manifest.layers, corpus.store)
    selected = selection(corpus, opened.export, entries)
    measured = measures(corpus, limits_of(manifest))
    names = entry_names(entries)
    fresh = recaptions(corpus, opened.export)

    def view(pictures: int) -> dict[str, Any]:
        room = max(0, pictures - selected.spent - (fresh.spent if fresh else 0))
        gallery = build_gallery(corpus, opened.export, entries=names, pictures=room)
        if manifest.ledger is not None:
            counted = funnel(manifest.totals, manifest.stages, manifest.recipe)
        else:
            errors, blocked = totals_of(gallery.quarantined), totals_of(gallery.dropped)
            counted = undecided_funnel(manifest.totals.ingested, errors, sum(blocked.values()))
        return _view(
            overview=corpus_overview(manifest, _manifest_sha256(corpus.store), export, counted),
            counted=counted,
            selected=selected,
            gallery=gallery,
            measured=measured,
            layers=manifest.layers,
            exported_bytes=bytes_of_export(*opened.export) if opened.export else None,
        ) | {"recaptions": fresh}

    return view


def _export_page(opened: Opened) -> Callable[[int], dict[str, Any]]:
    """As `_corpus_page`, of an export whose corpus is not at hand."""
    assert opened.export is not None
    store, manifest = opened.export
    counted = funnel(manifest.corpus_totals, manifest.stages, manifest.recipe)

    def view(pictures: int) -> dict[str, Any]:
        return _view(
            overview=export_overview(manifest, _manifest_sha256(store), counted),
            counted=counted,
            selected=Selection(),
            gallery=gallery_of_export(store, manifest, pictures),
            measured=None,
            layers=[],
            exported_bytes=bytes_of_export(store, manifest),
        )

    return view


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
    exported_bytes: int | None,
) -> dict[str, Any]:
    groups = _groups(measured, layers) if measured else []
    columns = [h.column.name for group in groups for h, _ in group.charts]
    columns += [w.column.name for group in groups for w in group.words]
    rows = funnel_rows(counted, overview.exported.samples if overview.exported else None)
    return {
        "overview": overview,
        "noun": noun(overview.family, 2),
        "funnel": counted,
        "rows": [row for row in rows if row.lost or not row.stage],
        "idle": [stage.name for stage in counted.stages if not stage.lost and not stage.off],
        "off": [stage.name for stage in counted.stages if not stage.lost and stage.off],
        "selection": selected,
        "gallery": gallery,
        "examples": examples(overview, gallery),
        "groups": groups,
        "undrawn": _undrawn(measured, columns) if measured else 0,
        "measured": measured is not None,
        "limits": measured.limits() if measured else {},
        "anchors": anchors(gallery, columns),
        "exported_bytes": exported_bytes,
    }


def _groups(measured: Measures, layers: list[LayerRef]) -> list[MeasureGroup]:
    """Operators in the order in which they measured; the index, where it is looked at, first."""
    by_name: Mapping[str, LayerRef | None] = {"": None, **{ref.operator: ref for ref in layers}}
    drawn = {id(measure) for measure in _drawn(measured)}
    groups = [
        MeasureGroup(
            name=name,
            layer=layer,
            charts=[
                (h, histogram_chart(h))
                for h in measured.numbers
                if h.column.operator == name and id(h) in drawn
            ],
            words=[w for w in measured.words if w.column.operator == name and id(w) in drawn],
            constant=[h for h in measured.constant if h.column.operator == name][:CHARTS],
        )
        for name, layer in by_name.items()
    ]
    return [group for group in groups if group.charts or group.words or group.constant]


def _drawn(measured: Measures) -> list[Histogram | WordCount]:
    """At most CHARTS of them; those that a rule looks at come first."""
    every: list[Histogram | WordCount] = [*measured.numbers, *measured.words]
    return sorted(every, key=lambda measure: not measure.limits)[:CHARTS]


def _undrawn(measured: Measures, columns: list[str]) -> int:
    """Measures for which the page has no room."""
    return len(measured.numbers) + len(measured.words) - len(columns)
