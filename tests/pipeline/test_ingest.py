"""Ingest: appending, dry runs, blocklists, what the manifest says."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.blocklist import BlockFile
from curation.core.errors import CorpusError, UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import Corpus, open_corpus
from curation.io.sources import SourceOptions
from curation.io.tables import read_table
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.ingest_shard import Taking
from curation.pipeline.measure import measure
from curation.pipeline.run import decide_and_save
from tests.pipeline.corpora import curate, plain_recipe, tree, write_pairs


def read(source: Path, out: Path, shard_samples: int = 25, **more) -> Corpus:
    options = SourceOptions(shard_samples=shard_samples)
    with LocalEngine(workers=0) as engine:
        return ingest(
            IngestRequest(source=str(source), options=options, **more), str(out), engine, SILENT
        )


def index(corpus: Corpus) -> list[dict]:
    names = (f"index/{shard.shard:09d}.parquet" for shard in corpus.shards)
    return pa.concat_tables(read_table(corpus.store, name) for name in names).to_pylist()


def test_append_adds_shards_and_keeps_old_layers(pairs, tmp_path):
    out = tmp_path / "corpus"
    corpus = read(pairs, out)
    operators = plain_recipe().operators
    with LocalEngine(workers=0) as engine:
        measure(corpus, operators, engine, SILENT)
        old = {p: p.stat().st_mtime_ns for p in out.glob("layers/*/*.parquet")}
        more = write_pairs(tmp_path / "more", 10, start=700)
        corpus = read(more, out, append=True)
        layers = measure(corpus, operators, engine, SILENT)
        corpus = decide_and_save(corpus, plain_recipe(), layers, engine, SILENT)
    assert [shard.shard for shard in corpus.shards] == [0, 1, 2, 3]
    assert {p: p.stat().st_mtime_ns for p in old} == old
    assert corpus.manifest.totals.kept == 70
    spans = [(i.first_shard, i.stop_shard, i.samples) for i in corpus.manifest.inputs]
    assert spans == [(0, 3, 60), (3, 4, 10)]
    assert corpus.manifest.sources == [[60, 60], [10, 10]]


def test_append_needs_a_corpus_and_is_done_once(pairs, tmp_path):
    with pytest.raises(UsageError, match="no corpus to append to"):
        read(pairs, tmp_path / "none", append=True)
    read(pairs, tmp_path / "corpus")
    before = tree(tmp_path / "corpus")
    assert read(pairs, tmp_path / "corpus", append=True).samples == 60
    assert tree(tmp_path / "corpus") == before


def test_limit_takes_the_first_and_counts_the_whole(pairs, tmp_path):
    corpus = read(pairs, tmp_path / "corpus", taking=Taking(limit=30))
    (made,) = corpus.manifest.inputs
    assert (made.samples, made.samples_in_source) == (30, 60)
    ids = [json.loads(row["source"])["columns"]["id"] for row in index(corpus)]
    assert ids == list(range(30))


def test_sample_draws_by_seed_whatever_the_shards(pairs, tmp_path):
    def drawn(name: str, seed: int, shard_samples: int) -> list[int]:
        taking = Taking(sample=0.5, seed=seed)
        corpus = read(pairs, tmp_path / name, shard_samples=shard_samples, taking=taking)
        return [json.loads(row["source"])["columns"]["id"] for row in index(corpus)]

    first = drawn("a", 1, 25)
    assert drawn("b", 1, 7) == first
    assert drawn("c", 2, 25) != first
    assert 15 <= len(first) <= 45


def test_blocked_content_is_named_but_not_stored(pairs, tmp_path):
    bad = (pairs / "images" / "5.jpg").read_bytes()
    lists = tmp_path / "abuse.txt"
    lists.write_text(f"# takedowns\n{hashlib.sha256(bad).hexdigest()}\ndomain:site2.example\n")
    files = (BlockFile.at(str(lists)),)
    corpus = read(pairs, tmp_path / "corpus", blocklists=files)
    rows = index(corpus)
    blocked = [row for row in rows if row["blocked"]]
    assert len(blocked) == 1 - (5 % 3 == 2) + 20
    assert all(r["blocked"] == "abuse" and not r["members"] and r["text"] is None for r in blocked)
    for tar in (tmp_path / "corpus" / "shards").iterdir():
        assert bad not in tar.read_bytes()
    result = curate(pairs, tmp_path / "run", blocklists=files)
    assert result.corpus.stages[0].reasons["blocked"] == len(blocked)
    assert result.corpus.totals.kept == 60 - len(blocked)


def test_licence_url_and_other_columns_are_kept(pairs, tmp_path):
    row = index(read(pairs, tmp_path / "corpus"))[7]
    assert row["license"] == "CC BY 4.0"
    assert row["source_url"] == "https://site1.example/7.jpg"
    assert row["domain"] == "site1.example"
    assert json.loads(row["source"]) == {
        "columns": {"id": 7},
        "path": "images/7.jpg",
        "row": 7,
        "table": "pairs.jsonl",
    }
    assert (row["width"], row["height"]) == (260, 240)


def test_licences_are_counted_in_the_manifest(pairs, tmp_path):
    result = curate(pairs, tmp_path / "run", "heuristics.few_words=4")
    assert result.corpus.licenses == {"(none stated)": [30, 30], "CC BY 4.0": [30, 30]}
    assert result.export.licenses == {"(none stated)": [30, 30], "CC BY 4.0": [30, 30]}


def test_an_empty_source_is_refused(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n\n")
    with pytest.raises(UsageError, match="empty"):
        read(tmp_path / "pairs.jsonl", tmp_path / "corpus")


def test_a_manifest_of_a_newer_version_is_refused(pairs, tmp_path):
    read(pairs, tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["format_version"] = 99
    path.write_text(json.dumps(manifest))
    with pytest.raises(CorpusError, match="upgrade"):
        open_corpus(str(tmp_path / "corpus"))


def test_what_an_abandoned_attempt_left_is_swept(pairs, tmp_path):
    calm = read(pairs, tmp_path / "calm", shard_samples=30)
    with LocalEngine(workers=0) as engine:
        options = SourceOptions(shard_samples=10)
        ingest(
            IngestRequest(source=str(pairs), options=options), str(tmp_path / "out"), engine, SILENT
        )
    (tmp_path / "out" / "manifest.json").unlink()
    again = read(pairs, tmp_path / "out", shard_samples=30)
    assert again.manifest == calm.manifest
    names = sorted(p.name for p in (tmp_path / "out" / "shards").iterdir())
    assert names == ["000000000.tar", "000000001.tar"]


def test_a_corpus_on_an_object_store(pairs, tmp_path):
    remote = read(pairs, "memory://bucket/corpus")
    local = read(pairs, tmp_path / "corpus")
    assert remote.manifest == local.manifest
    assert index(remote) == index(local)
