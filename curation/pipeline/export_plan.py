"""Plans an export from index sizes alone: which sample goes where, before a byte is read."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.core.corpus import Layer, StageLedger, index_path
from curation.core.draw import order_keys, uid_words, uniforms
from curation.core.engine import Engine, StepSession
from curation.core.progress import Progress
from curation.io.corpus import Corpus, ShardRef
from curation.io.store import Store
from curation.io.tables import encode_table, read_table
from curation.pipeline.recipe import ExportOptions
from curation.relational.blocklist import Blocklist
from schemas import KEPT, MEMBER, NEW, REPAIRED

PLAN = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("uid", pa.string()),
        ("key", pa.string()),
        ("members", pa.list_(MEMBER)),
        ("text", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("license", pa.string()),
        ("source_url", pa.string()),
        ("domain", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("scores", pa.string()),
        ("caption", pa.string()),
        ("size", pa.int64()),
    ]
)
"""A planned sample: everything but its bytes. `caption` says whose words `text` is where it is not
the original: `recaption` or `repaired`."""

RECAPTION = "recaption"
"""Column of new captions; what `caption` says of one that is as it was written."""

_SCORES = json.JSONEncoder(sort_keys=True)

_CHOSEN = pa.schema(
    [
        *(f for f in PLAN if f.name != "key"),
        ("media_sha256", pa.string()),
        ("phash", pa.int64()),
        ("group_rank", pa.int64()),
        ("order_key", pa.int64()),
    ]
)


@dataclass(frozen=True)
class ChooseShard:
    """A task: the kept samples of a shard, with all that the export writes but the media."""

    store: Store
    final: StageLedger
    layers: tuple[tuple[Layer, tuple[str, ...]], ...]
    """Layers whose columns become scores, `language` or `phash`, or that hold new captions."""
    chosen: StageLedger | None
    """The stage that chose between captions, where new ones are exported."""
    options: ExportOptions
    groups: dict[int, int]
    """Rank of each source shard's group."""
    folder: str

    def __call__(self, shard: ShardRef) -> int:
        """Writes the shard's part of the plan; returns its samples."""
        index = read_table(self.store, index_path(shard.shard))
        ledger = read_table(self.store, self.final.path(shard.shard), ["status"])
        kept = pc.equal(ledger["status"], KEPT)
        measured: dict[str, pa.ChunkedArray] = {}
        for layer, columns in self.layers:
            table = read_table(self.store, layer.path(shard.shard), list(columns))
            measured |= {name: table[name].filter(kept) for name in columns}
        rows = index.filter(kept)
        media = _Media.of(rows["members"])
        names = [name for name in self.options.scores if name in measured]
        values = [measured[name].to_pylist() for name in names]
        scores = [
            _SCORES.encode(dict(zip(names, row, strict=True)))
            for row in (zip(*values, strict=True) if names else [()] * rows.num_rows)
        ]
        none = pa.nulls(rows.num_rows)
        caption, text = self._captions(shard, rows, kept, measured)
        place = (rows["shard"].to_numpy(), rows["row"].to_numpy())
        extra = {
            "language": measured.get("language", none),
            "scores": pa.array(scores, pa.string()),
            "caption": caption,
            "text": text,
            "size": media.sizes,
            "media_sha256": media.first_sha256,
            "phash": measured.get("phash", none),
            "group_rank": pa.array([self.groups[shard.shard]] * rows.num_rows, pa.int64()),
            "order_key": pa.array(self._order(*place)),
        }
        arrays = [
            (extra[f.name] if f.name in extra else rows[f.name]).cast(f.type) for f in _CHOSEN
        ]
        table = pa.Table.from_arrays(arrays, schema=_CHOSEN)
        name = f"{shard.shard:09d}.parquet"
        Store(self.folder).scratch(name, encode_table(table, _CHOSEN, {}))
        return shard.samples

    def _captions(
        self,
        shard: ShardRef,
        rows: pa.Table,
        kept: pa.ChunkedArray,
        measured: dict[str, pa.ChunkedArray],
    ) -> tuple[pa.Array, pa.ChunkedArray]:
        """Whose words each sample is exported with, and the words."""
        none = pa.nulls(rows.num_rows, pa.string())
        if self.chosen is None:
            return none, rows["text"]
        table = read_table(self.store, self.chosen.choices(shard.shard), ["choice", "repaired"])
        choice, repaired = (table[name].filter(kept) for name in table.column_names)
        drawn = uniforms(self.options.seed, "export-recaption", *uid_words(rows["uid"]))
        wanted = pa.array(drawn < self.options.recaptioned)
        new = pc.and_(wanted, pc.equal(choice, NEW))
        mended = pc.and_(wanted, pc.equal(choice, REPAIRED))
        caption = pc.if_else(mended, REPAIRED, pc.if_else(new, RECAPTION, none))
        text = pc.if_else(new, measured[RECAPTION], rows["text"])
        return caption, pc.if_else(mended, repaired, text)

    def _order(self, shards: Any, rows: Any) -> Any:
        if self.options.shuffle == "none":
            return shards.astype(np.int64) * 1_000_000 + rows
        return order_keys(self.options.seed, "export-shuffle", shards, rows)


class _Media(NamedTuple):
    """What the plan needs to know of each row's members."""

    sizes: pa.Array
    """Bytes of all of them."""
    first_sha256: pa.Array
    """Of the first one; null where there is none."""

    @staticmethod
    def of(column: pa.ChunkedArray) -> "_Media":
        lists = column.combine_chunks()
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        flat = lists.flatten()
        upto = np.concatenate([[0], np.cumsum(flat.field("size").to_numpy())]).astype(np.int64)
        stops = np.cumsum(counts)
        first = pa.array(stops - counts, pa.int64(), mask=counts == 0)
        sizes = pa.array(upto[stops] - upto[stops - counts])
        return _Media(sizes, flat.field("sha256").take(first))


@dataclass(frozen=True)
class PlannedShard:
    """An export shard to write."""

    shard: int
    file: str
    """Parquet of PLAN rows, in the order of the tar."""
    sha256: str
    samples: int
    bytes: int


def group_ranks(shards: list[ShardRef], options: ExportOptions) -> dict[int, int]:
    """The group of each source shard: all one, or seeded groups of `group_shards`."""
    numbers = [shard.shard for shard in shards]
    if options.shuffle != "grouped":
        return dict.fromkeys(numbers, 0)
    keys = order_keys(options.seed, "export-groups", np.array(numbers, np.int64))
    order = sorted(zip(keys.tolist(), numbers, strict=True))
    return {number: place // options.group_shards for place, (_, number) in enumerate(order)}


def plan_export(
    corpus: Corpus,
    task: ChooseShard,
    options: ExportOptions,
    engine: Engine,
    progress: Progress,
    into: Store,
) -> tuple[list[PlannedShard], Counter[str]]:
    """Plans every export shard into Parquet files of `into`; counts samples blocked, by list."""
    with engine.folder() as folder:
        task = dataclasses.replace(task, folder=folder)
        with progress.track("choose samples", corpus.samples, "samples") as tracker:
            for samples in engine.map(task, corpus.shards):
                tracker.advance(samples)
        with engine.session() as session:
            session.read_files(
                "survivors", [f"{folder}/{s.shard:09d}.parquet" for s in corpus.shards]
            )
            blocked = _block(session, options)
            _name_samples(session)
            planned = list(_cut(session, options, into, progress))
    return planned, blocked


def _block(session: StepSession, options: ExportOptions) -> Counter[str]:
    """Makes `verdicts`: samples that a blocklist given for the export stops."""
    Blocklist(name="export_blocklist", lists=options.blocklists).decide(session)
    return Counter(
        {
            str(row["detail"]): int(row["samples"])
            for batch in session.stream(
                "SELECT detail, count(*) AS samples FROM verdicts GROUP BY detail ORDER BY detail"
            )
            for row in batch.to_pylist()
        }
    )


def _name_samples(session: StepSession) -> None:
    """Makes `twins`: kept samples that share a uid, numbered in (shard, row) order."""
    session.create(
        "twins",
        """
        SELECT s.shard, s.row,
               row_number() OVER (PARTITION BY s.uid ORDER BY s.shard, s.row) - 1 AS nth
        FROM survivors AS s
        JOIN (SELECT uid FROM survivors GROUP BY uid HAVING count(*) > 1) AS d ON d.uid = s.uid
        """,
    )


def _cut(
    session: StepSession, options: ExportOptions, into: Store, progress: Progress
) -> Iterator[PlannedShard]:
    """Streams samples in their final order, cutting a shard when it is full or its group ends."""
    columns = ", ".join(f"s.{f.name}" for f in PLAN if f.name != "key")
    key = "CASE WHEN t.nth IS NULL THEN s.uid ELSE s.uid || '-' || CAST(t.nth AS VARCHAR) END"
    stream = session.stream(
        f"""
        SELECT {columns}, {key} AS key, s.group_rank FROM survivors AS s
        LEFT JOIN twins AS t ON t.shard = s.shard AND t.row = s.row
        LEFT JOIN verdicts AS v ON v.shard = s.shard AND v.row = s.row
        WHERE v.shard IS NULL
        ORDER BY s.group_rank, s.order_key, s.shard, s.row
        """,
        rows=8192,
    )
    kept = session.scalar(
        "SELECT (SELECT count(*) FROM survivors) - (SELECT count(*) FROM verdicts)"
    )
    writer = _PlanWriter(options, into)
    with progress.track("plan export", int(kept), "samples") as tracker:
        for batch in stream:
            yield from writer.add(batch)
            tracker.advance(batch.num_rows)
        yield from writer.close()


class _PlanWriter:
    """Cuts the ordered stream into shards, holding the rows of one."""

    def __init__(self, options: ExportOptions, into: Store) -> None:
        self._options = options
        self._into = into
        self._parts: list[pa.RecordBatch] = []
        self._samples = self._bytes = self._number = 0
        self._group: int | None = None

    def add(self, batch: pa.RecordBatch) -> Iterator[PlannedShard]:
        start = 0
        sizes, groups = batch["size"].to_pylist(), batch["group_rank"].to_pylist()
        for row, (size, group) in enumerate(zip(sizes, groups, strict=True)):
            full = (
                self._samples >= self._options.shard_samples
                or self._bytes + size > self._options.shard_bytes
                or group != self._group
            )
            if full and self._samples:
                self._parts.append(batch.slice(start, row - start))
                yield self._flush()
                start = row
            self._group = group
            self._samples += 1
            self._bytes += size
        self._parts.append(batch.slice(start))

    def close(self) -> Iterator[PlannedShard]:
        if self._samples:
            yield self._flush()

    def _flush(self) -> PlannedShard:
        table = pa.Table.from_batches(self._parts).select(PLAN.names)
        data = encode_table(table, PLAN, {})
        name = f"plan-{self._number:06d}.parquet"
        self._into.scratch(name, data)
        made = PlannedShard(
            self._number, name, hashlib.sha256(data).hexdigest(), self._samples, self._bytes
        )
        self._parts, self._samples, self._bytes = [], 0, 0
        self._number += 1
        return made
