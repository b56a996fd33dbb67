"""Looks at a corpus: what is in it, and everything known about one sample."""

import hashlib
from collections.abc import Iterator
from typing import Any

from curation.core.corpus import MANIFEST, Layer, StageLedger, index_path, tar_path
from curation.core.errors import CorpusError
from curation.core.fingerprint import plain
from curation.core.funnel import funnel_lines
from curation.io.corpus import Corpus, Opened, ShardRef, shard_refs
from curation.io.media import read_member
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.tiles import curtain
from schemas.manifest import StageSummary


def summary(opened: Opened) -> dict[str, Any]:
    """The manifest(s) as JSON types, with what the path is, its funnel and the shards' sizes."""
    said: dict[str, Any] = {"kind": opened.kind}
    if opened.corpus is not None:
        manifest = opened.corpus.manifest
        said["corpus"] = {
            **plain(manifest),
            "funnel": _lines(manifest.stages),
            "manifest_sha256": _sha256(opened.corpus.store),
            "shards": [plain(shard) for shard in opened.corpus.shards],
        }
    if opened.export is not None:
        store, exported = opened.export
        said["export"] = {
            **plain(exported),
            "funnel": _lines(exported.stages),
            "manifest_sha256": _sha256(store),
            "shards": [plain(shard) for shard in shard_refs(store, exported)],
        }
    return said


_TOLD = ("stage", "entered", "kept", "dropped", "quarantined", "reasons", "errors", "off")


def _lines(stages: list[StageSummary]) -> list[dict[str, Any]]:
    """The funnel as the tables show it; `stages` beside it are those of the ledgers."""
    return [{name: getattr(line, name) for name in _TOLD} for line in funnel_lines(stages)]


def _sha256(store: Store) -> str:
    """What names a corpus or export: the hash of its manifest file."""
    return hashlib.sha256(store.read(MANIFEST)).hexdigest()


def find(corpus: Corpus, uid: str) -> Iterator[tuple[ShardRef, dict[str, Any]]]:
    """Every occurrence of a uid (or of one that starts so): its shard and index row."""
    for shard in corpus.shards:
        uids = read_table(corpus.store, index_path(shard.shard), ["uid"])["uid"].to_pylist()
        rows = [row for row, there in enumerate(uids) if there.startswith(uid)]
        if rows:
            index = read_table(corpus.store, index_path(shard.shard))
            for row in rows:
                yield shard, index.slice(row, 1).to_pylist()[0]


def sample(corpus: Corpus, uid: str) -> list[dict[str, Any]]:
    """Everything measured and decided about each occurrence of a uid.

    Raises CorpusError where the corpus has no such sample.
    """
    found = [_known(corpus, shard, row) for shard, row in find(corpus, uid)]
    if not found:
        raise CorpusError(f"{corpus.store.path('')}: no sample with uid {uid}")
    return found


def _known(corpus: Corpus, shard: ShardRef, row: dict[str, Any]) -> dict[str, Any]:
    store, manifest = corpus.store, corpus.manifest
    measures: dict[str, dict[str, Any]] = {}
    for ref in manifest.layers:
        layer = Layer(ref.operator, ref.fingerprint)
        if store.exists(layer.path(shard.shard)):
            table = read_table(store, layer.path(shard.shard), [*ref.columns, "error"])
            measures[ref.operator] = table.slice(row["row"], 1).to_pylist()[0]
    decided: list[dict[str, Any]] = []
    for stage in manifest.stages:
        ledger = StageLedger(stage.stage, stage.fingerprint)
        rows = read_table(store, ledger.path(shard.shard)).to_pylist()
        verdict = next((r for r in rows if r["row"] == row["row"]), None)
        decided.append({"stage": stage.stage, "verdict": verdict or {"status": "kept"}})
        if stage.choices and not verdict:
            chosen = read_table(store, ledger.choices(shard.shard)).slice(row["row"], 1)
            decided[-1]["verdict"] |= chosen.drop_columns(["shard", "row", "uid"]).to_pylist()[0]
        if verdict:
            break
    members = [] if row["blocked"] else row["members"]
    return {
        "uid": row["uid"],
        "shard": shard.shard,
        "row": row["row"],
        "tar": store.path(tar_path(shard.shard)),
        "members": members,
        "index": {k: v for k, v in row.items() if k not in ("members", "shard", "row", "uid")},
        "measures": measures,
        "stages": decided,
    }


def is_blocked(known: dict[str, Any]) -> bool:
    """Whether a blocklist stopped the sample, at ingest or later: it is then never shown."""
    reasons = [str(stage["verdict"].get("reason") or "") for stage in known["stages"]]
    return bool(known["index"]["blocked"]) or any(r.startswith("blocked") for r in reasons)


def is_withheld(corpus: Corpus, known: dict[str, Any]) -> bool:
    """Whether a sample fell before every blocklist that the corpus names had looked at it."""
    fallen = [stage["stage"] for stage in known["stages"] if stage["verdict"]["status"] != "kept"]
    screen = curtain(corpus.manifest, None, None)
    return bool(fallen) and screen.order.get(fallen[0], -1) <= screen.last_look


def image_bytes(corpus: Corpus, known: dict[str, Any]) -> tuple[str, bytes]:
    """Extension and bytes of a sample's first image. Raises CorpusError where there is none."""
    media = [member for member in known["members"] if member["sha256"]]
    if is_blocked(known):
        raise CorpusError(f"{known['uid']}: a blocklist stopped this sample; it is not shown")
    if is_withheld(corpus, known):
        raise CorpusError(
            f"{known['uid']}: dropped before the blocklists were held against it; it is not shown"
        )
    if not media:
        raise CorpusError(f"{known['uid']}: no image is stored ({known['index']['error']})")
    return media[0]["ext"], read_member(corpus.store, known["shard"], media[0])
