"""Checks a corpus or export against its own manifest: hashes, offsets, keys, ledger balance."""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer, StageLedger, index_path, tar_path
from curation.core.engine import Engine
from curation.core.errors import CorpusError
from curation.core.progress import Progress
from curation.io.corpus import Corpus, Opened, ShardRef, shard_refs
from curation.io.store import Store
from curation.io.tables import read_table
from curation.io.tar import TarDamageError, walk
from schemas import DROPPED, KEPT, QUARANTINED
from schemas.manifest import CorpusManifest, ExportManifest

_CHUNK = 8 << 20


def verify(opened: Opened, engine: Engine, progress: Progress) -> Iterator[str]:
    """Everything that is wrong, a line each; nothing where all is well."""
    if opened.corpus is not None:
        yield from _verify_corpus(opened.corpus, engine, progress)
    if opened.export is not None:
        yield from _verify_export(*opened.export, engine, progress)
        if opened.corpus is not None and is_stale(opened.corpus.manifest, opened.export[1]):
            yield f"export: {STALE}"


STALE = "of an earlier decision of this corpus; run `curate export` or `curate run` again"


def is_stale(corpus: CorpusManifest, export: ExportManifest) -> bool:
    """Whether the corpus beside an export has been decided otherwise since."""
    return [s.fingerprint for s in corpus.stages] != [s.fingerprint for s in export.stages]


def _verify_corpus(corpus: Corpus, engine: Engine, progress: Progress) -> Iterator[str]:
    manifest, store = corpus.manifest, corpus.store
    yield from _table(store, manifest.tables["shards"].path, manifest.tables["shards"].sha256)
    totals = manifest.totals
    if totals.kept + totals.dropped + totals.quarantined != totals.ingested:
        yield f"manifest.json: {totals} does not balance"
    if totals.ingested != corpus.samples:
        yield f"manifest.json: {totals.ingested} samples, the shard table has {corpus.samples}"
    entering = totals.ingested
    for stage in manifest.stages:
        if stage.entered != entering or (
            stage.entered != stage.kept + stage.dropped + stage.quarantined
        ):
            yield f"manifest.json: stage {stage.stage} does not balance"
        entering = stage.kept
        for table in stage.tables.values():
            yield from _table(store, table.path, table.sha256)
    if manifest.stages and entering != totals.kept:
        yield "manifest.json: the last stage does not keep what the totals say"
    layers = tuple(Layer(ref.operator, ref.fingerprint) for ref in manifest.layers)
    ledgers = tuple(StageLedger(s.stage, s.fingerprint) for s in manifest.stages)
    choosing = tuple(StageLedger(s.stage, s.fingerprint) for s in manifest.stages if s.choices)
    final = StageLedger("final", manifest.ledger) if manifest.ledger else None
    task = CheckShard(store, layers, ledgers, choosing, final)
    statuses = {KEPT: 0, DROPPED: 0, QUARANTINED: 0}
    with progress.track("verify corpus", corpus.samples, "samples") as tracker:
        for found in engine.map(task, corpus.shards):
            tracker.advance(found["samples"])
            for status, count in found["statuses"].items():
                statuses[status] = statuses.get(status, 0) + count
            yield from found["problems"]
    said = {KEPT: totals.kept, DROPPED: totals.dropped, QUARANTINED: totals.quarantined}
    if final is not None and statuses != said:
        yield f"final ledger: holds {statuses}, the manifest says {said}"


def _table(store: Store, path: str, sha256: str) -> Iterator[str]:
    if not store.exists(path):
        yield f"{path}: missing"
    elif _sha256(store, path) != sha256:
        yield f"{path}: not the file that was written (SHA-256 differs)"


def _sha256(store: Store, path: str) -> str:
    state = hashlib.sha256()
    with store.open(path) as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def gathered(problems: Iterator[str]) -> list[str]:
    """All problems, a file that cannot be read at all being the last of them."""
    found: list[str] = []
    try:
        for problem in problems:
            found.append(problem)
    except CorpusError as error:
        found.append(str(error))
    return found


@dataclass(frozen=True)
class CheckShard:
    """A task: everything of one shard of a corpus."""

    store: Store
    layers: tuple[Layer, ...]
    ledgers: tuple[StageLedger, ...]
    choosing: tuple[StageLedger, ...]
    """Those of them that choose something for each sample they keep."""
    final: StageLedger | None

    def __call__(self, shard: ShardRef) -> dict[str, Any]:
        statuses: dict[str, int] = {}
        problems = gathered(self._problems(shard, statuses))
        return {"samples": shard.samples, "statuses": statuses, "problems": problems}

    def _problems(self, shard: ShardRef, statuses: dict[str, int]) -> Iterator[str]:
        index, tar = index_path(shard.shard), tar_path(shard.shard)
        yield from _table(self.store, index, shard.index_sha256)
        yield from _table(self.store, tar, shard.sha256)
        if not self.store.exists(index) or not self.store.exists(tar):
            return
        rows = read_table(self.store, index)
        yield from check_members(self.store, tar, rows)
        if rows["row"].to_pylist() != list(range(shard.samples)):
            yield f"{index}: rows are not 0 to {shard.samples - 1}"
        for layer in self.layers:
            path = layer.path(shard.shard)
            if not self.store.exists(path):
                yield f"{path}: missing"
            elif not read_table(self.store, path, ["uid"])["uid"].equals(rows["uid"]):
                yield f"{path}: rows are not those of the index"
        yield from self._ledgers(shard, rows, statuses)

    def _ledgers(self, shard: ShardRef, rows: pa.Table, statuses: dict[str, int]) -> Iterator[str]:
        seen: set[int] = set()
        for ledger in self.ledgers:
            path = ledger.path(shard.shard)
            if not self.store.exists(path):
                yield f"{path}: missing"
                continue
            mine = read_table(self.store, path, ["row"])["row"].to_pylist()
            if seen.intersection(mine) or len(set(mine)) != len(mine):
                yield f"{path}: decides a sample that was decided before"
            seen.update(mine)
            if ledger in self.choosing:
                yield from self._choices(ledger.choices(shard.shard), rows, seen)
        if self.final is None:
            return
        path = self.final.path(shard.shard)
        if not self.store.exists(path):
            yield f"{path}: missing"
            return
        final = read_table(self.store, path, ["row", "uid", "status"])
        if not final["uid"].equals(rows["uid"]):
            yield f"{path}: does not hold each sample of the index once"
        for status in final["status"].to_pylist():
            statuses[status] = statuses.get(status, 0) + 1
        kept = set(final["row"].filter(pc.equal(final["status"], KEPT)).to_pylist())
        if kept & seen:
            yield f"{path}: keeps a sample that a stage dropped"
        if len(kept) + len(seen) != final.num_rows:
            yield f"{path}: kept and decided samples are not all samples"

    def _choices(self, path: str, rows: pa.Table, out: set[int]) -> Iterator[str]:
        """`out` are the rows that the stage and those before it decided."""
        if not self.store.exists(path):
            yield f"{path}: missing"
            return
        chosen = read_table(self.store, path, ["uid", "choice"])
        if not chosen["uid"].equals(rows["uid"]):
            yield f"{path}: rows are not those of the index"
            return
        none = pc.is_null(chosen["choice"]).to_pylist()
        if {row for row, there in enumerate(none) if there} != out:
            yield f"{path}: does not choose for each sample that its stage keeps, and no other"


def check_members(store: Store, tar: str, rows: pa.Table) -> Iterator[str]:
    """Compares an index with the tar: same members in order, at the offsets and hashes it says."""
    wanted = [
        (f"{row['key']}.{member['ext']}", member["offset"], member["size"], member["sha256"])
        for row in rows.select(["key", "members"]).to_pylist()
        for member in row["members"] or []
    ]
    keys = rows["key"].to_pylist()
    if len(set(keys)) != len(keys) or any("." in key or "/" in key for key in keys):
        yield f"{tar}: keys are not unique, or hold dots or slashes"
    with store.open(tar) as file:
        try:
            members = walk(file, store.size(tar))
            there = [(m.name.decode("utf-8", "replace"), m.offset, m.size) for m in members]
        except TarDamageError as damage:
            yield f"{tar}: {damage}"
            return
        if there != [member[:3] for member in wanted]:
            yield f"{tar}: members are not those of its index"
            return
        for name, offset, size, sha256 in wanted:
            if sha256:
                file.seek(offset)
                if hashlib.sha256(file.read(size)).hexdigest() != sha256:
                    yield f"{tar}: {name} has changed (SHA-256 differs)"


def _verify_export(
    store: Store, manifest: ExportManifest, engine: Engine, progress: Progress
) -> Iterator[str]:
    ref = manifest.tables["shards"]
    yield from _table(store, ref.path, ref.sha256)
    totals = manifest.totals
    if totals.kept + totals.dropped + totals.quarantined != totals.ingested:
        yield f"manifest.json: {totals} does not balance"
    shards = shard_refs(store, manifest)
    exported = sum(shard.samples for shard in shards)
    if exported != totals.kept:
        yield f"shard table: {exported} samples, the manifest says {totals.kept}"
    task = CheckExportShard(store, f"{manifest.name}-{manifest.fingerprint[:8]}")
    with progress.track("verify export", exported, "samples") as tracker:
        for found in engine.map(task, shards):
            tracker.advance(found["samples"])
            yield from found["problems"]
    for name in ("README.md", ".nv-meta/.info.json", ".nv-meta/split.yaml"):
        if not store.exists(name):
            yield f"{name}: missing"


@dataclass(frozen=True)
class CheckExportShard:
    """A task: one shard of an export."""

    store: Store
    stem: str

    def __call__(self, shard: ShardRef) -> dict[str, Any]:
        return {"samples": shard.samples, "problems": gathered(self._problems(shard))}

    def _problems(self, shard: ShardRef) -> Iterator[str]:
        tar = f"{self.stem}-{shard.shard:06d}.tar"
        index = f"index/{self.stem}-{shard.shard:06d}.parquet"
        yield from _table(self.store, index, shard.index_sha256)
        yield from _table(self.store, tar, shard.sha256)
        if not self.store.exists(index) or not self.store.exists(tar):
            return
        rows = read_table(self.store, index)
        yield from check_members(self.store, tar, rows)
        yield from self._samples(tar, rows)
        offsets = f"{tar}.idx"
        if not self.store.exists(offsets):
            yield f"{offsets}: missing"
        elif self.store.size(offsets) != 8 * (rows.num_rows + 1):
            yield f"{offsets}: does not hold an offset a sample and the end"
        else:
            first = struct.unpack("<Q", self.store.read(offsets)[:8])[0]
            if first != 0:
                yield f"{offsets}: does not begin at 0"

    def _samples(self, tar: str, rows: pa.Table) -> Iterator[str]:
        with self.store.open(tar) as file:
            for row in rows.select(["key", "members", "segments", "uid"]).to_pylist():
                member = row["members"][0]
                file.seek(member["offset"])
                try:
                    sample = json.loads(file.read(member["size"]))
                    same = sample["segments"] == json.loads(row["segments"])
                    good = same and sample["meta"]["uid"] == row["uid"]
                except (ValueError, KeyError, TypeError):
                    good = False
                if not good:
                    yield f"{tar}: {row['key']}.json is not the sample of the index"
