"""Everything known about a path and about one sample."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.core.errors import CorpusError
from curation.core.manifest import manifest_sha256
from curation.io.corpus import open_any, open_corpus
from curation.report.inspect import find, image_bytes, is_blocked, sample, summary
from tests.pipeline.corpora import caption, curate, ledger, picture, write_pairs


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """12 pairs: 3 missing, 4 small, 6 the same as 5."""
    folder = write_pairs(tmp_path_factory.mktemp("inspect") / "source", 12)
    (folder / "images" / "3.jpg").unlink()
    picture(4, (120, 110)).save(folder / "images" / "4.jpg")
    shutil.copy(folder / "images" / "5.jpg", folder / "images" / "6.jpg")
    lines = (folder / "pairs.jsonl").read_text().splitlines()
    lines[6] = json.dumps({**json.loads(lines[6]), "text": caption(5)})
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def out(source: Path, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("out") / "out"
    curate(source, made, shard_samples=5)
    return made


def uid_of(out: Path, row: int) -> str:
    return ledger(open_corpus(str(out)))["uid"][row].as_py()


def test_a_summary_is_the_manifests_as_json(out):
    for path, parts in ((out, {"corpus", "export"}), (out / "export", {"export"})):
        said = json.loads(json.dumps(summary(open_any(str(path)))))
        assert set(said) == {"kind", *parts}
        for part in parts:
            on_disk = (out / part / "manifest.json").read_bytes()
            assert said[part]["manifest_sha256"] == hashlib.sha256(on_disk).hexdigest()
            assert {**json.loads(on_disk), **said[part]} == said[part]
    corpus = open_corpus(str(out))
    assert (
        manifest_sha256(corpus.manifest) == summary(open_any(str(out)))["corpus"]["manifest_sha256"]
    )
    assert [s["samples"] for s in summary(open_any(str(out)))["corpus"]["shards"]] == [5, 5, 2]


def test_a_kept_sample_is_known_from_ingest_to_the_last_stage(out, source):
    corpus = open_corpus(str(out))
    (known,) = sample(corpus, uid_of(out, 8))
    assert (known["shard"], known["row"]) == (1, 3)
    assert known["index"]["text"] == caption(8)
    assert list(known["measures"]) == [
        "image_probe", "image_pixels", "caption_text", "concepts",
    ]  # fmt: skip
    assert known["measures"]["image_probe"]["min_side"] == 240
    stages = [stage.stage for stage in corpus.manifest.stages]
    assert [(s["stage"], s["verdict"]["status"]) for s in known["stages"]] == [
        (name, "kept") for name in stages
    ]
    assert image_bytes(corpus, known) == ("jpg", (source / "images" / "8.jpg").read_bytes())


def test_what_was_dropped_ends_at_the_stage_that_dropped_it(out):
    (known,) = sample(open_corpus(str(out)), uid_of(out, 4))
    (verdict,) = [stage["verdict"] for stage in known["stages"]]
    assert (verdict["reason"], verdict["value"], verdict["threshold"]) == ("min_side", 110, 200)


def test_what_could_not_be_read_has_no_image(out):
    corpus = open_corpus(str(out))
    (known,) = sample(corpus, uid_of(out, 3))
    assert known["stages"][0]["verdict"]["error"] == "missing_file"
    with pytest.raises(CorpusError, match="no image is stored"):
        image_bytes(corpus, known)


def test_every_occurrence_of_a_uid_is_found(out):
    corpus = open_corpus(str(out))
    twins = sample(corpus, uid_of(out, 5))
    assert [(k["shard"], k["row"]) for k in twins] == [(1, 0), (1, 1)]
    fates = {k["stages"][-1]["stage"]: k["stages"][-1]["verdict"]["status"] for k in twins}
    assert fates == {"exact_dedup": "dropped", corpus.manifest.stages[-1].stage: "kept"}
    assert [row["row"] for _, row in find(corpus, uid_of(out, 5)[:12])] == [0, 1]
    with pytest.raises(CorpusError, match="no sample with uid ffff_no"):
        sample(corpus, "ffff_no")


def test_what_ingest_stopped_shows_nothing_of_itself(source, tmp_path):
    bad = hashlib.sha256((source / "images" / "7.jpg").read_bytes()).hexdigest()
    (tmp_path / "abuse.txt").write_text(bad)
    target = tmp_path / "corpus"
    main(["ingest", str(source), "--out", str(target), "--blocklist", str(tmp_path / "abuse.txt"),
          "--workers", "0"])  # fmt: skip
    corpus = open_corpus(str(target))
    known = [k for _, row in find(corpus, "") if row["blocked"] for k in sample(corpus, row["uid"])]
    assert [k["index"]["blocked"] for k in known] == ["abuse"]
    assert is_blocked(known[0])
    assert known[0]["members"] == []
    with pytest.raises(CorpusError, match="not shown"):
        image_bytes(corpus, known[0])
