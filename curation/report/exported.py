"""Reads chosen samples out of an export whose corpus is not at hand."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.choice import COLUMNS
from curation.report.pictures import LOOK, Picked, Place, Read
from schemas import KEPT
from schemas.manifest import ExportManifest


def index_of(tar: str) -> str:
    """The index of an export shard."""
    return f"index/{tar.removesuffix('.tar')}.parquet"


def bytes_of_export(store: Store, manifest: ExportManifest) -> int:
    """Of all its shards."""
    sizes = read_table(store, manifest.tables["shards"].path, ["bytes"])["bytes"]
    return int(pc.sum(sizes).as_py() or 0)


def export_ledgers(store: Store, tars: list[str]) -> Iterator[pa.Table]:
    """Of each shard a ledger as `choose` reads it: every sample that was exported is kept."""
    for tar in tars:
        index = read_table(store, index_of(tar), ["shard", "row"])
        for name in COLUMNS[2:]:
            value = pa.scalar(KEPT if name == "status" else None, pa.string())
            index = index.append_column(name, pa.repeat(value, index.num_rows))
        yield index


def pick_exported(store: Store, tars: list[str], places: list[Place]) -> list[Picked]:
    """The samples at `places` (shard and row of the export), in that order."""
    columns = ["shard", "row", "uid", "members", "segments"]
    found: dict[Place, Picked] = {}
    for shard in sorted({shard for shard, _ in places}):
        rows = sorted(row for there, row in places if there == shard)
        table = read_table(store, index_of(tars[shard]), columns).take(rows)
        for sample in table.to_pylist():
            found[shard, sample["row"]] = _picked(sample)
    return [found[place] for place in places]


def _picked(sample: dict[str, Any]) -> Picked:
    segments = json.loads(sample["segments"])
    images = [segment for segment in segments if segment["type"] == "image"]
    text = " ".join(segment["text"] for segment in segments if segment["type"] == "text")
    media = [member for member in sample["members"] if member["sha256"]]
    ledger = {**dict.fromkeys(COLUMNS), "status": KEPT}
    return Picked(
        ledger={**ledger, "shard": sample["shard"], "row": sample["row"], "uid": sample["uid"]},
        text=text[:LOOK],
        length=len(text),
        width=images[0]["width"] if images else None,
        height=images[0]["height"] if images else None,
        member=media[0] if media else None,
    )


def read_exported(store: Store, tars: list[str]) -> Read:
    """Reads first images out of an export's shards."""

    def read(sample: Picked) -> bytes:
        shard, member = sample.stored
        with store.open(tars[shard]) as file:
            file.seek(member["offset"])
            return file.read(member["size"])

    return read
