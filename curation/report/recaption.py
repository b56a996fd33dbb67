"""New captions against their originals: figures, distributions, and pairs side by side.

`recaptions` gives what a page shows; the fragment `recaption.html.j2` with `recaption.css` draws
it, on a page of its own (`curate recaption-report`) or as a section of another.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.core.errors import ERROR_CODES, CorpusError, UsageError
from curation.io.corpus import Corpus, Opened, open_any
from curation.io.store import check_folder_of, write_file
from curation.report import recaption_summary as summary
from curation.report.drawn import templates
from curation.report.overview import LINE
from curation.report.recaption_chart import HEIGHT, WIDTH, BeforeAfter, before_after
from curation.report.recaption_columns import parts, recaptioned
from curation.report.recaption_counts import WORDED, Counts, KindCount, listed_kinds
from curation.report.recaption_draw import Draw
from curation.report.recaption_pairs import Pair, pairs_of
from curation.report.recaption_summary import Choice, Figure, told
from curation.report.recaption_taken import Taking, taking_of
from curation.report.recaption_wording import FATES, Outcome, drawn_text, keys_text, meaning
from curation.report.tiles import PICTURE_BYTES, Exported
from curation.report.wording import display_safe, percent

SECTION_PAIRS, SECTION_BYTES = 18, 450_000
"""Pairs of a section, and what their pictures may take of the page's PICTURE_BYTES."""
MOST_PAIRS = 300

_SHOWN = 12
"""Reasons or errors that are listed before the rest is left to --json."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pairs of one fate."""

    fate: str
    title: str
    total: int
    pairs: list[Pair]
    note: str
    """How these pairs were drawn."""


@dataclass(frozen=True, kw_only=True)
class Recaptions:
    """What is shown of a corpus's new captions."""

    headline: str
    made_by: str
    notes: list[str]
    figures: list[Figure]
    choices: list[Choice]
    outcome: Outcome
    """What became of what was chosen."""
    dropped: list[tuple[str, int]]
    """Why sentences were left out, and how many."""
    kinds: list[tuple[str, KindCount]]
    findings: list[tuple[str, int, int]]
    """What was found, in how many of how many."""
    failed: list[tuple[str, int]]
    charts: list[BeforeAfter]
    sampled: bool
    """Words and densities are of captions drawn by hash."""
    groups: list[Group]
    keys: str
    """What the small print of the pairs means."""
    spent: int
    """Bytes that its pictures take."""


def recaptions(
    corpus: Corpus,
    export: Exported | None,
    *,
    pairs: int = SECTION_PAIRS,
    room: int = SECTION_BYTES,
    seed: int = 0,
) -> Recaptions | None:
    """Of a corpus with new captions; null for one without. `export`, if any, made from it.

    `pairs` are drawn by `seed`, the worst first; their pictures take at most `room` bytes.
    """
    if not recaptioned(corpus):
        return None
    draw = Draw(pairs=pairs, seed=seed)
    counts = counted(corpus, draw, taking_of(corpus, export))
    shown = pairs_of(corpus, export, draw, room)
    return Recaptions(
        headline=summary.headline(corpus, counts),
        made_by=summary.made_by(corpus, counts),
        notes=summary.notes(corpus, counts),
        figures=summary.figures(counts),
        choices=summary.choices(counts),
        outcome=summary.become(counts),
        dropped=[(meaning(reason), n) for reason, n in counts.dropped.most_common(_SHOWN)],
        kinds=listed_kinds(counts.kinds),
        findings=summary.findings(counts),
        failed=[
            (ERROR_CODES.get(code, display_safe(code, 60)), n)
            for code, n in counts.failed.most_common(_SHOWN)
        ],
        charts=[before_after(distribution) for distribution in counts.distributions],
        sampled=counts.share < 1,
        groups=_groups(draw, shown.shown),
        keys=keys_text(
            summary.become(counts),
            (score for pair in shown.shown for part in pair.new for score in part.scores),
        ),
        spent=shown.spent,
    )


def _groups(draw: Draw, shown: list[Pair]) -> list[Group]:
    """The pairs by fate, in the order in which they were drawn."""
    found = []
    for fate in dict.fromkeys(pair.fate for pair in shown):
        pairs = [pair for pair in shown if pair.fate == fate]
        totals = [total for (kind, _), total in draw.totals.items() if kind == fate]
        marked = sum(number for (kind, _), number in draw.with_marks.items() if kind == fate)
        total = sum(totals)
        note = drawn_text(len(pairs), total, marked, len(totals))
        found.append(Group(fate=fate, title=FATES[fate], total=total, pairs=pairs, note=note))
    return found


def counted(corpus: Corpus, draw: Draw, taking: Taking | None) -> Counts:
    """Sums over a corpus's new captions, in one pass that also draws pairs."""
    counts = Counts(share=min(1.0, WORDED / max(1, corpus.samples)), taking=taking)
    for part in parts(corpus):
        counts.add(part)
        draw.add(part)
    return counts


def figures_of(path: str) -> dict[str, Any]:
    """The figures of a run directory or corpus as JSON types. Raises as `write_recaptions` does."""
    opened = _opened(path)
    assert opened.corpus is not None
    taking = taking_of(opened.corpus, opened.export)
    return told(opened.corpus, counted(opened.corpus, Draw(pairs=0), taking))


def write_recaptions(path: str, out: str, *, pairs: int, seed: int) -> None:
    """Writes the page of a run directory's or corpus's new captions to the file `out`.

    Raises UsageError where there is no new caption, for an export, an `out` in no folder, and
    `pairs` out of range.
    """
    if not 0 <= pairs <= MOST_PAIRS:
        raise UsageError(f"--pairs must be 0 to {MOST_PAIRS}, got {pairs}")
    if not out or out.endswith("/") or ("://" not in out and Path(out).is_dir()):
        raise UsageError(f"{out or '--out'}: a folder; --out takes the name of a file")
    check_folder_of(out)
    opened = _opened(path)
    assert opened.corpus is not None
    found = recaptions(opened.corpus, opened.export, pairs=pairs, room=PICTURE_BYTES, seed=seed)
    write_file(out, page(found, opened.corpus).encode())


def _opened(path: str) -> Opened:
    opened = open_any(path)
    if opened.corpus is None:
        raise CorpusError(f"{path}: an export; recaption-report takes a run directory or a corpus")
    if not recaptioned(opened.corpus):
        raise UsageError(f"{path}: has no new captions (curate measure recaption)")
    return opened


def page(found: Recaptions | None, corpus: Corpus) -> str:
    """A page of its own."""
    template = templates().get_template("recaption_page.html.j2")
    warnings = [display_safe(warning, LINE) for warning in corpus.manifest.warnings]
    return template.render(
        recaptions=found, family=corpus.manifest.family, warnings=warnings, **DRAWING
    )


DRAWING: dict[str, Any] = {
    "percent": percent,
    "recaption_width": WIDTH,
    "recaption_height": HEIGHT,
}
"""What the fragment needs beside `recaptions` and the filter `count`."""
