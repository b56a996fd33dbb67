"""The first screen: what went in and came out, what to know first, where it came from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

from curation.core.risks import clip_fails, described_names, measured_names, unmeasured
from curation.core.step import NOT_ASKED
from curation.report.funnel import Funnel, Loss
from curation.report.plain_words import noun
from curation.report.wording import byte_size, display_safe, percent
from schemas.manifest import CorpusManifest, ExportManifest, Input

SHOWN = 12
"""Rows of each list before the rest is summed up."""
REASONS = 8
"""Reasons on the first screen."""
LINE = 600
"""Characters of a line that somebody else wrote."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Samples that something states of itself, as a licence or a language."""

    name: str
    ingested: int | None
    kept: int | None


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The largest, and how many others there are."""

    rows: list[Share]
    others: int = 0
    """Names that are not in `rows`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input."""

    format: str
    samples: int
    kept: int | None
    size: str
    part: str
    """Says how much of the source was taken, where it was not all."""
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written for training."""

    samples: int
    shards: int
    stopped: dict[str, int]
    """Samples stopped at export, by blocklist."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All but pictures and charts."""

    family: str
    names: list[str]
    """What it is called: a name that was given, and the start of a hash, as `facts` have it."""
    headline: str
    story: str
    """What became of those that did not come out."""
    balance: str
    warnings: list[str]
    unmeasured: list[str]
    lost: list[tuple[str, Loss, str]]
    """The largest losses: stage, loss, share of what was ingested."""
    lost_more: int
    lost_more_samples: int
    sources: list[Source]
    sources_more: int
    bytes_in: int | None
    """Of all images that were read; null for an export alone."""
    licenses: Shares
    languages: Shares
    exported: Exported | None
    facts: list[tuple[str, str]] = field(default_factory=list)
    """Names and hashes that say which corpus and export this is."""


def corpus_overview(
    manifest: CorpusManifest, sha256: str, export: ExportManifest | None, funnel: Funnel
) -> Overview:
    """Of a corpus, its manifest file's SHA-256, and the export made from it if there is one."""
    fails = clip_fails(manifest.recipe, manifest.stages, manifest.calibration)
    names = measured_names(manifest.layers, without_clip=fails)
    said = [*manifest.warnings, *_uncalibrated(manifest), *_stale(export, sha256)]
    licenses = {name: (ingested, kept) for name, (ingested, kept) in manifest.licenses.items()}
    kept_of = dict(enumerate(kept for _, kept in manifest.sources))
    sources = [_source(made, kept_of.get(n)) for n, made in enumerate(manifest.inputs)]
    facts = [
        ("corpus manifest, SHA-256", sha256),
        ("ledger", manifest.ledger or "nothing decided yet"),
        ("code version", manifest.code_version),
        ("seed", str(manifest.seed)),
    ]
    if export is not None:
        facts.append(("export", f"{export.name}-{export.fingerprint[:8]}"))
    return Overview(
        family=manifest.family,
        names=[*_given(export), f"corpus {sha256[:12]}"],
        headline=_headline(manifest.family, funnel),
        story=_story(manifest.family, funnel),
        balance=_balance(funnel),
        warnings=_warnings(funnel, sources, said),
        unmeasured=unmeasured(names),
        **_losses(funnel),
        sources=sources[:SHOWN],
        sources_more=len(sources[SHOWN:]),
        bytes_in=sum(made.bytes for made in manifest.inputs),
        licenses=_shares(licenses.items(), decided=funnel.decided),
        languages=_languages(manifest.languages),
        exported=_exported(export),
        facts=facts,
    )


def export_overview(manifest: ExportManifest, sha256: str, funnel: Funnel) -> Overview:
    """Of an export alone, whose manifest tells how its corpus came to be."""
    fails = clip_fails(manifest.recipe, manifest.stages)
    names = described_names(manifest.recipe, without_clip=fails)
    licenses = {name: (ingested, kept) for name, (ingested, kept) in manifest.licenses.items()}
    return Overview(
        family=manifest.family,
        names=[*_given(manifest), f"export {manifest.fingerprint[:12]}"],
        headline=_headline(manifest.family, funnel),
        story=_story(manifest.family, funnel),
        balance=_balance(funnel),
        warnings=_warnings(funnel, [], manifest.warnings),
        unmeasured=unmeasured(names),
        **_losses(funnel),
        sources=[],
        sources_more=0,
        bytes_in=None,
        licenses=_shares(licenses.items(), decided=True),
        languages=_languages(manifest.languages),
        exported=_exported(manifest),
        facts=[
            ("export", f"{manifest.name}-{manifest.fingerprint}"),
            ("export manifest, SHA-256", sha256),
            ("corpus manifest, SHA-256", manifest.corpus),
            ("code version", manifest.code_version),
            ("seed", str(manifest.seed)),
        ],
    )


def _given(export: ExportManifest | None) -> list[str]:
    """The name of an export, where it has one of its own."""
    if export is None or export.name == export.family:
        return []
    return [display_safe(export.name, 60)]


def _headline(family: str, funnel: Funnel) -> str:
    went = f"{funnel.ingested:,} {noun(family, funnel.ingested)} went in"
    if not funnel.decided:
        return f"{went}, nothing is decided yet"
    if not funnel.ingested:
        return f"{went}, none came out"
    share = percent(funnel.kept, funnel.ingested)
    return f"{went}, {funnel.kept:,} came out: {share}"


def _story(family: str, funnel: Funnel) -> str:
    """What became of the others, in a sentence or two."""
    parts = []
    if funnel.dropped:
        how = "dropped" if funnel.decided else "stopped by a blocklist"
        parts.append(f"{funnel.dropped:,} {_were(funnel.dropped)} {how}")
    if funnel.quarantined:
        also = "" if parts else f" {_were(funnel.quarantined)}"
        parts.append(f"{funnel.quarantined:,}{also} set aside as unreadable")
    if not parts:
        return "Nothing was lost." if funnel.ingested else ""
    said = f"{' and '.join(parts)}."
    lost = _lost(funnel)
    if funnel.decided and len(lost) > 1:
        (_, first), (_, second) = lost[:2]
        said += (
            f" The most common reasons: {_inside(first.title)} ({first.count:,}) and "
            f"{_inside(second.title)} ({second.count:,})."
        )
    elif funnel.decided and lost:
        said += f" The reason: {_inside(lost[0][1].title)}."
    return said


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _inside(title: str) -> str:
    """A heading within a sentence."""
    safe = display_safe(title, 60)
    return safe if safe[1:2].isupper() else safe[:1].lower() + safe[1:]


def _balance(funnel: Funnel) -> str:
    kept = "kept" if funnel.decided else "undecided"
    dropped = "dropped" if funnel.decided else "stopped by a blocklist"
    balances = funnel.kept + funnel.dropped + funnel.quarantined == funnel.ingested
    return (
        f"{funnel.ingested:,} ingested {'=' if balances else '≠'} {funnel.kept:,} {kept} + "
        f"{funnel.dropped:,} {dropped} + {funnel.quarantined:,} quarantined"
    )


class _Lost(TypedDict):
    lost: list[tuple[str, Loss, str]]
    lost_more: int
    lost_more_samples: int


def _lost(funnel: Funnel) -> list[tuple[str, Loss]]:
    """Every loss with its stage, the largest first."""
    lost = [(stage.name, loss) for stage in funnel.stages for loss in stage.largest()]
    return sorted(lost, key=lambda item: -item[1].count)


def _losses(funnel: Funnel) -> _Lost:
    lost = _lost(funnel)
    rest = lost[REASONS:]
    shown = [(s, loss, percent(loss.count, funnel.ingested)) for s, loss in lost[:REASONS]]
    return {
        "lost": shown,
        "lost_more": len(rest),
        "lost_more_samples": sum(loss.count for _, loss in rest),
    }


def _source(made: Input, kept: int | None) -> Source:
    part = ""
    if made.samples < made.samples_in_source:
        part = f"{made.samples:,} of the {made.samples_in_source:,} samples it holds"
    return Source(
        format=made.format,
        samples=made.samples,
        kept=kept,
        size=byte_size(made.bytes),
        part=part,
        notes=[display_safe(note, LINE) for note in made.notes[:SHOWN]],
    )


def _warnings(funnel: Funnel, sources: list[Source], said: list[str]) -> list[str]:
    found = [display_safe(warning, LINE) for warning in dict.fromkeys(said)]
    if funnel.kept + funnel.dropped + funnel.quarantined != funnel.ingested:
        found.append("The ledger does not balance: curate verify lists what is wrong.")
    found += _off(funnel, found)
    found += _parts(sources)
    return found + _empty(funnel)


def _parts(sources: list[Source]) -> list[str]:
    """Inputs of which a part was taken; the first few by name."""
    parts = [f"Input {n}: only {s.part} were taken." for n, s in enumerate(sources, 1) if s.part]
    rest = len(parts[SHOWN:])
    more = [f"Of {rest:,} more inputs only a part was taken."] if rest else []
    return parts[:SHOWN] + more


STALE = "The export beside was made before the corpus was last decided: export again."


def _stale(export: ExportManifest | None, sha256: str) -> list[str]:
    if export is None:
        return []
    if export.corpus != sha256:
        return [STALE]
    return export.warnings


def _uncalibrated(manifest: CorpusManifest) -> list[str]:
    """Where nothing has been decided yet with a CLIP that fails."""
    calibration = manifest.calibration
    if calibration is None or calibration.passed or manifest.warnings:
        return []
    return [f"{calibration.model} cannot judge this corpus: its CLIP score means nothing here."]


def _off(funnel: Funnel, warned: list[str]) -> list[str]:
    """Stages by why they are off; a reason that a warning has told is not told again."""
    stages: dict[str, list[str]] = {}
    for stage in funnel.stages:
        if stage.off and stage.off != NOT_ASKED:
            stages.setdefault(display_safe(stage.off, LINE), []).append(stage.name)
    found = []
    for why, names in stages.items():
        above = [warning for warning in warned if why in warning]
        if above:
            if not all(name in above[0] for name in names):
                found.append(f"Switched off, as said above: {', '.join(names)}.")
        else:
            are = "Stage {} was" if len(names) == 1 else "Stages {} were"
            found.append(f"{are.format(', '.join(names))} switched off: {why}")
    return found


def _empty(funnel: Funnel) -> list[str]:
    if funnel.ingested and funnel.decided and not funnel.kept:
        return ["Nothing is left: every sample was dropped or quarantined."]
    return []


def _shares(items: Iterable[tuple[str, tuple[int, int]]], *, decided: bool) -> Shares:
    ranked = sorted(items, key=lambda item: (-item[1][0], -item[1][1], item[0]))
    rows = [
        Share(name=display_safe(name, 80), ingested=ingested, kept=kept if decided else None)
        for name, (ingested, kept) in ranked[:SHOWN]
    ]
    return Shares(rows=rows, others=len(ranked[SHOWN:]))


def _languages(counted: dict[str, int]) -> Shares:
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        Share(name=display_safe(name, 40), ingested=None, kept=kept)
        for name, kept in ranked[:SHOWN]
    ]
    return Shares(rows=rows, others=len(ranked[SHOWN:]))


def _exported(manifest: ExportManifest | None) -> Exported | None:
    if manifest is None:
        return None
    return Exported(
        samples=manifest.totals.kept,
        shards=manifest.tables["shards"].rows,
        stopped=manifest.blocked,
    )
