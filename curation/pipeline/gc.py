"""Clears what no recipe refers to: layers, ledgers and shard tables of earlier settings."""

from curation.core.corpus import Layer, StageLedger, benchmark_path, vocabulary_path
from curation.io.corpus import Corpus
from curation.io.store import TEMPORARY
from curation.pipeline.benchmarks import named_features


def garbage(corpus: Corpus) -> list[str]:
    """Folders and files of the corpus that its manifest does not name, sorted."""
    manifest, store = corpus.manifest, corpus.store
    named = {Layer(ref.operator, ref.fingerprint).folder for ref in manifest.layers}
    named |= {StageLedger(s.stage, s.fingerprint).folder for s in manifest.stages}
    if manifest.ledger:
        named.add(StageLedger("final", manifest.ledger).folder)
    named |= {table.path for table in manifest.tables.values()}
    named |= {benchmark_path(sha256) for _, sha256 in named_features(manifest)}
    spoken = (layer.parameters.get("vocabulary") for layer in manifest.layers)
    named |= {vocabulary_path(str(said["sha256"])) for said in spoken if isinstance(said, dict)}
    found = [
        f"{folder}/{name}"
        for folder in ("layers", "ledgers", "tables")
        for name in store.names(folder)
        if f"{folder}/{name}" not in named
    ]
    for ref in manifest.layers:
        layer = Layer(ref.operator, ref.fingerprint)
        current = layer.done(corpus.shards_sha256)
        found += [
            f"{layer.folder}/{name}"
            for name in store.names(layer.folder)
            if name.startswith("_done") and f"{layer.folder}/{name}" != current
        ]
    if store.exists(TEMPORARY):
        found.append(TEMPORARY)
    return sorted(found)


def collect(corpus: Corpus) -> list[str]:
    """Removes the garbage and says what it was."""
    found = garbage(corpus)
    for name in found:
        corpus.store.remove(name)
    return found
