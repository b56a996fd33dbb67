"""What new captions are worth on the demo corpus: held to the scenes that were drawn.

Clean pairs only: what their originals say is true, so that every fault is the captioner's.
"""

import json
from dataclasses import dataclass
from typing import Any

from curation.core.corpus import Layer, StageLedger, index_path
from curation.demo.captions_facts import stated, truths
from curation.demo.pair import scene_of
from curation.demo.score_facts import FactTally
from curation.io.corpus import Corpus
from curation.io.tables import read_table
from schemas import NEW, ORIGINAL


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Captions that `choose_caption` took for clean pairs."""

    clean: int
    """Clean pairs that reached it and have a new caption."""
    taken: int
    """Of these the new or repaired caption goes on."""
    false: int
    """Of those taken: say something of the scene that is not so."""
    lost: int
    """Of those taken: no longer say something true that the original says."""
    added: int
    """Of those taken: say something true that the original does not."""
    written: int
    """Clean pairs that have a new caption, whatever became of them."""
    before: FactTally
    """Facts of the originals of those written."""
    after: FactTally
    """Facts of the new captions, as they were written."""


def worth(corpus: Corpus, truth: list[dict[str, Any]], seed: int) -> Worth | None:
    """Null where no new caption was written or chosen."""
    layer = next((ref for ref in corpus.manifest.layers if ref.operator == "recaption"), None)
    stage = next((s for s in corpus.manifest.stages if s.stage == "choose_caption"), None)
    if layer is None or stage is None or stage.off:
        return None
    clean = {row["row"] for row in truth if row["defect"] is None}
    ledger = StageLedger(stage.stage, stage.fingerprint)
    counts = dict.fromkeys(("clean", "taken", "false", "lost", "added", "written"), 0)
    before, after = FactTally(), FactTally()
    for ref in corpus.shards:
        index = read_table(corpus.store, index_path(ref.shard), ["source", "text"])
        path = Layer(layer.operator, layer.fingerprint).path(ref.shard)
        written = read_table(corpus.store, path, ["recaption"])
        chosen = read_table(corpus.store, ledger.choices(ref.shard), ["choice", "repaired"])
        tables = (index.to_pylist(), written.to_pylist(), chosen.to_pylist())
        for given, made, choice in zip(*tables, strict=True):
            row = int(json.loads(given["source"])["row"])
            if row not in clean or made["recaption"] is None:
                continue
            counts["written"] += 1
            scene = scene_of(seed, row)
            said = stated(given["text"])
            before.add(said, scene)
            after.add(stated(made["recaption"]), scene)
            if choice["choice"] is None:
                continue
            counts["clean"] += 1
            if choice["choice"] == ORIGINAL:
                continue
            counts["taken"] += 1
            caption = made["recaption"] if choice["choice"] == NEW else choice["repaired"]
            true, new = truths(scene), stated(caption)
            counts["false"] += bool(new - true)
            counts["lost"] += bool((said & true) - new)
            counts["added"] += bool((new & true) - said)
    return Worth(**counts, before=before, after=after)
