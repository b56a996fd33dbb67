"""Materialises: copies the chosen samples into shards that a trainer reads."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.core.corpus import FORMAT_VERSION, MANIFEST, Layer, StageLedger
from curation.core.engine import Engine
from curation.core.errors import CorpusError, LedgerError, UsageError
from curation.core.fingerprint import digest, plain
from curation.core.manifest import encode_manifest, schema_hash
from curation.core.progress import Progress
from curation.families import image_text
from curation.io.corpus import Corpus, read_manifest
from curation.io.store import TEMPORARY, Store
from curation.io.tables import write_table
from curation.pipeline.card import write_card
from curation.pipeline.energon import write_energon
from curation.pipeline.export_plan import RECAPTION, ChooseShard, group_ranks, plan_export
from curation.pipeline.export_shard import ExportShard
from curation.pipeline.recipe import ExportOptions
from curation.version import __version__
from schemas import EXPORT_INDEX, EXPORT_SHARDS
from schemas.manifest import CorpusManifest, ExportManifest, LayerRef, TableRef, Totals


def export(
    corpus: Corpus, out: str, options: ExportOptions, engine: Engine, progress: Progress
) -> ExportManifest:
    """Exports what a decided corpus kept; an export that is already there and equal stays.

    Raises CorpusError where nothing has been decided yet, UsageError where `out` holds another
    export or a corpus.
    """
    manifest = corpus.manifest
    if manifest.ledger is None:
        raise CorpusError(
            f"{corpus.store.path('')}: nothing is decided yet; run `curate select` or `curate run`"
        )
    store = Store(out)
    layers = _layers(manifest.layers, _trusted(manifest, options))
    fingerprint = digest(
        {
            "ledger": manifest.ledger,
            "shards": corpus.shards_sha256,
            "options": options,
            "layers": {layer.operator: layer.fingerprint for layer, _ in layers},
            "assembler": [image_text.FAMILY, image_text.VERSION],
        }
    )
    if store.exists(MANIFEST):
        there = read_manifest(store)
        if isinstance(there, ExportManifest) and there.fingerprint == fingerprint:
            progress.say(f"{out}: already exported, {there.totals.kept:,} samples")
            return there
        if not isinstance(there, ExportManifest):
            raise UsageError(f"{out}: holds a corpus; choose another place for the export")
        _clear(store)
    return _export(corpus, store, options, layers, fingerprint, engine, progress)


def _trusted(manifest: CorpusManifest, options: ExportOptions) -> ExportOptions:
    """Without the score of a CLIP that could not judge the corpus: it would mislead."""
    judged = any(stage.stage == "clip_select" and not stage.off for stage in manifest.stages)
    scores = tuple(name for name in options.scores if judged or name != "clip_score")
    return dataclasses.replace(options, scores=scores)


def _layers(
    refs: list[LayerRef], options: ExportOptions
) -> tuple[tuple[Layer, tuple[str, ...]], ...]:
    """Layers that hold scores, language, pHash or new captions, and which columns of each."""
    wanted = {*options.scores, "language", "phash"}
    there = {column for ref in refs for column in ref.columns}
    missing = set(options.scores) - there
    if missing:
        raise UsageError(f"export.scores: {', '.join(sorted(missing))} not measured")
    if options.recaptioned:
        if RECAPTION not in there:
            raise UsageError(
                "export.recaptioned: the corpus was not decided with new captions "
                "(curate decide CORPUS --set recaption.servers=http://HOST:8000)"
            )
        wanted.add(RECAPTION)
    found = ((ref, tuple(c for c in ref.columns if c in wanted)) for ref in refs)
    return tuple((Layer(r.operator, r.fingerprint), columns) for r, columns in found if columns)


def _chosen(manifest: CorpusManifest) -> StageLedger | None:
    """The stage that chose between captions; null where no sample is left.

    Raises UsageError where nothing has chosen.
    """
    stage = next((stage for stage in reversed(manifest.stages) if stage.choices), None)
    if stage is None and manifest.totals.kept:
        raise UsageError(
            "export.recaptioned: no stage has chosen between the captions of this corpus "
            "(curate decide CORPUS)"
        )
    return StageLedger(stage.stage, stage.fingerprint) if stage else None


def _clear(store: Store) -> None:
    """Removes an earlier export, its manifest first, so that a half-cleared one is unfinished."""
    store.remove(MANIFEST)
    for name in store.names(""):
        store.remove(name)


def _export(
    corpus: Corpus,
    store: Store,
    options: ExportOptions,
    layers: tuple[tuple[Layer, tuple[str, ...]], ...],
    fingerprint: str,
    engine: Engine,
    progress: Progress,
) -> ExportManifest:
    manifest, engine = corpus.manifest, engine.at("export")
    final = StageLedger("final", manifest.ledger or "")
    plan = Store(f"{store.url.rstrip('/')}/{TEMPORARY}/plan")
    groups = group_ranks(corpus.shards, options)
    chosen = _chosen(manifest) if options.recaptioned else None
    choose = ChooseShard(corpus.store, final, layers, chosen, options, groups, "")
    planned, blocked = plan_export(corpus, choose, options, engine, progress, plan)
    stem = f"{options.name}-{fingerprint[:8]}"
    task = ExportShard(corpus.store, store, plan, stem, options.strip_metadata)
    rows: list[dict[str, Any]] = []
    samples = sum(shard.samples for shard in planned)
    with progress.track("export", samples, "samples") as tracker:
        for row in engine.map(task, planned):
            rows.append(row)
            tracker.advance(row["samples"])
    rows.sort(key=lambda row: int(row["shard"]))
    totals = Totals(
        ingested=manifest.totals.kept,
        kept=sum(row["samples"] for row in rows),
        dropped=sum(blocked.values()),
        quarantined=0,
    )
    if not totals.kept:
        progress.say("warning: no sample is left to export")
    if totals.kept + totals.dropped != totals.ingested:
        raise LedgerError(f"the export does not balance: {totals}")
    table = pa.Table.from_pylist(
        [{k: r[k] for k in EXPORT_SHARDS.names} for r in rows], EXPORT_SHARDS
    )
    path = f"tables/shards-{fingerprint}.parquet"
    sha256 = write_table(store, path, table, EXPORT_SHARDS, {})
    made = _described(manifest, options, fingerprint, rows, totals, blocked, (path, sha256))
    write_energon(store, made, rows)
    write_card(store, made, manifest)
    _sweep(store, stem, len(rows))
    for folder in ("", "index", "tables"):
        store.settle(folder)
    store.write(MANIFEST, encode_manifest(made))
    store.remove(TEMPORARY)
    return made


def _described(
    manifest: CorpusManifest,
    options: ExportOptions,
    fingerprint: str,
    rows: list[dict[str, Any]],
    totals: Totals,
    blocked: Mapping[str, int],
    table: tuple[str, str],
) -> ExportManifest:
    """The manifest of an export; `table` is path and hash of the table of its shards."""
    path, sha256 = table
    return ExportManifest(
        format_version=FORMAT_VERSION,
        code_version=__version__,
        family=manifest.family,
        name=options.name,
        fingerprint=fingerprint,
        recipe={**manifest.recipe, "export": plain(options)},
        seed=options.seed,
        corpus=hashlib.sha256(encode_manifest(manifest)).hexdigest(),
        corpus_totals=manifest.totals,
        stages=manifest.stages,
        schemas={
            "export_index": schema_hash(EXPORT_INDEX),
            "export_shards": schema_hash(EXPORT_SHARDS),
        },
        tables={"shards": TableRef(path=path, sha256=sha256, rows=len(rows))},
        totals=totals,
        blocked=dict(sorted(blocked.items())),
        members=sorted({member for row in rows for member in row["members"]}),
        licenses=_paired(rows, "licenses", manifest.licenses),
        languages=_total(rows, "languages"),
        warnings=manifest.warnings,
    )


def _total(rows: list[dict[str, Any]], name: str) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for row in rows:
        counted.update(row[name])
    return dict(sorted(counted.items()))


def _paired(
    rows: list[dict[str, Any]], name: str, before: dict[str, list[int]]
) -> dict[str, list[int]]:
    """Licence to samples ingested and exported."""
    exported = _total(rows, name)
    every = sorted({*exported, *before})
    return {stated: [before.get(stated, [0, 0])[0], exported.get(stated, 0)] for stated in every}


def _sweep(store: Store, stem: str, shards: int) -> None:
    """Removes shards of an abandoned attempt with another plan."""
    wanted = {f"{stem}-{n:06d}.tar" for n in range(shards)}
    indexes = {name.replace(".tar", ".parquet") for name in wanted}
    for name in store.names(""):
        if name.endswith((".tar", ".tar.idx")) and name.removesuffix(".idx") not in wanted:
            store.remove(name)
    for name in store.names("index"):
        if name not in indexes:
            store.remove(f"index/{name}")
