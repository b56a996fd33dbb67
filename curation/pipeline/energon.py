"""What Megatron-Energon needs to open an export: shard counts, splits, sample type.

Energon's own `prepare` command also writes `index.sqlite`, for joins and look-ups by key; reading
an export for training does not touch it, and its schema is not stable, so it is left to that
command (`energon prepare EXPORT`). Offsets (`.tar.idx`) are written beside each shard.
"""

import json
from typing import Any

from curation.io.store import Store
from schemas.manifest import ExportManifest

FOLDER = ".nv-meta"


def write_energon(store: Store, manifest: ExportManifest, rows: list[dict[str, Any]]) -> None:
    """Writes `.nv-meta` for the shards in `rows` (path and samples)."""
    info = {"shard_counts": {row["path"]: row["samples"] for row in rows}}
    split = {
        "split_parts": {"train": [row["path"] for row in rows], "val": [], "test": []},
        "exclude": [],
    }
    kind = {
        "__module__": "megatron.energon",
        "__class__": "CrudeWebdataset",
        "subflavors": {"family": manifest.family},
    }
    name = manifest.fingerprint.ljust(32, "0")
    uuid = "-".join((name[:8], name[8:12], name[12:16], name[16:20], name[20:]))
    for file, content in (
        (".info.json", json.dumps(info, indent=2)),
        ("split.yaml", json.dumps(split, indent=2)),  # JSON is YAML
        ("dataset.yaml", json.dumps(kind, indent=2)),
        ("index.uuid", uuid),
    ):
        store.write(f"{FOLDER}/{file}", content.encode())
