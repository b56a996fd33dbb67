"""The training corpus: what it holds, and that other people's readers get every sample."""

import gc
import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from curation.core.blocklist import BlockFile
from curation.core.errors import CorpusError, UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.store import Store
from curation.io.tables import read_table
from curation.pipeline.export import export
from curation.pipeline.ingest import IngestRequest, ingest
from curation.pipeline.recipe import ExportOptions
from curation.pipeline.run import decide_and_save
from tests.pipeline.corpora import caption, curate, picture, plain_recipe, tree, write_pairs


def exported(run: Path, out: Path, **options):
    with LocalEngine(workers=0) as engine:
        return export(open_corpus(str(run)), str(out), ExportOptions(**options), engine, SILENT)


def keys(out: Path) -> list[str]:
    """Keys in the order of the shards."""
    found = []
    for path in sorted((out / "index").iterdir()):
        found += read_table(Store(str(out)), f"index/{path.name}", ["key"])["key"].to_pylist()
    return found


def samples(out: Path) -> list[dict]:
    """Every sample as webdataset reads it; webdataset leaves its files for the collector."""
    tars = [str(path) for path in sorted(out.glob("*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = list(webdataset.WebDataset(tars, shardshuffle=False))
        gc.collect()
    return found


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A run over JPEG, PNG and WebP images, in several export shards."""
    source = write_pairs(tmp_path / "mixed", 30)
    with (source / "pairs.jsonl").open("a") as file:
        for n, kind in enumerate(("png", "webp") * 6):
            picture(800 + n).save(source / "images" / f"m{n}.{kind}")
            row = {"image": f"images/m{n}.{kind}", "text": f'{caption(800 + n)} "<|image|>"'}
            file.write(json.dumps(row) + "\n")
    curate(source, tmp_path / "run", "export.shard_samples=10")
    return tmp_path / "run"


def test_samples_hold_the_source_bytes_and_captions(done, pairs):
    found = samples(done / "export")
    assert len(found) == 60
    by_bytes = {path.read_bytes(): path.stem for path in (pairs / "images").iterdir()}
    for sample in found:
        number = int(by_bytes[sample["0.jpg"]])
        said = json.loads(sample["json"])
        image, text = said["segments"]
        assert said["family"] == "image-text"
        assert (image["type"], image["member"], image["width"], image["height"]) == (
            "image", "0.jpg", 260, 240,
        )  # fmt: skip
        assert (text["type"], text["text"], text["loss"]) == ("text", caption(number), True)
        assert said["meta"]["uid"] == sample["__key__"]
        assert json.loads(said["meta"]["lineage"])["source"]["columns"] == {"id": number}


def test_every_key_of_every_json_has_one_type(mixed):
    def types(value, name=""):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from types(item, f"{name}.{key}")
        elif isinstance(value, list):
            for item in value:
                yield from types(item, f"{name}[]")
        else:
            yield name, type(value).__name__

    seen = {
        pair for sample in samples(mixed / "export") for pair in types(json.loads(sample["json"]))
    }
    assert max(Counter(name for name, _ in seen).values()) == 1


def test_shards_are_named_after_corpus_and_hash_and_shuffled(mixed):
    out = mixed / "export"
    manifest = json.loads((out / "manifest.json").read_text())
    tars = sorted(path.name for path in out.glob("*.tar"))
    stem = f"image-text-{manifest['fingerprint'][:8]}"
    assert tars == [f"{stem}-{n:06d}.tar" for n in range(5)]
    places = [
        (row["source_shard"], row["source_row"])
        for path in sorted((out / "index").iterdir())
        for row in read_table(Store(str(out)), f"index/{path.name}").to_pylist()
    ]
    assert len(places) == 42
    assert places != sorted(places)


def test_hugging_face_datasets_reads_every_sample(mixed, tmp_path):
    code = (
        "import sys, datasets\n"
        "for streaming in (True, False):\n"
        "    rows = list(datasets.load_dataset(sys.argv[1], split='train', streaming=streaming,\n"
        "                                      cache_dir=sys.argv[2]))\n"
        "    members = ('0.jpg', '0.png', '0.webp')\n"
        "    images = [row[k] for row in rows for k in members if row[k]]\n"
        "    texts = [row['json']['segments'][1]['text'] for row in rows]\n"
        "    print(len(rows), len(images), len(set(texts)), len({r['__key__'] for r in rows}))\n"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    assert python(code, str(mixed / "export"), str(tmp_path / "cache"), **offline) == (
        "42 42 42 42\n42 42 42 42\n"
    )


ENERGON = """
import sys, json
from megatron.energon import (Cooker, DefaultTaskEncoder, Sample, WorkerConfig, basic_sample_keys,
                              edataclass, get_loader, get_train_dataset, stateless)

@edataclass
class Pair(Sample):
    uid: str
    pixels: int

@stateless
def cook(sample):
    (image,) = [value for key, value in sample.items() if key.startswith("0.")]
    uid = sample["json"]["meta"]["uid"]
    return Pair(**basic_sample_keys(sample), uid=uid, pixels=image.numel())

class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]
    def batch(self, samples):
        return samples

dataset = get_train_dataset(
    sys.argv[1], worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0), batch_size=1,
    shuffle_buffer_size=None, max_samples_per_sequence=None, task_encoder=Encoder(), repeat=False)
pairs = [pair for batch in get_loader(dataset) for pair in batch]
print(len(pairs), len({pair.uid for pair in pairs}), min(pair.pixels for pair in pairs) > 0)
"""


def test_megatron_energon_reads_every_sample(mixed):
    assert python(ENERGON, str(mixed / "export")) == "42 42 True\n"


def test_offsets_are_those_that_energon_itself_writes(mixed, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for tar in (mixed / "export").glob("*.tar"):
        (copy / tar.name).write_bytes(tar.read_bytes())
    prepare = [
        sys.executable, "-m", "megatron.energon.cli.main", "prepare", "--non-interactive",
        "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset", "--num-workers", "1",
        str(copy),
    ]  # fmt: skip
    done = subprocess.run(prepare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = {p.name: p.read_bytes() for p in (mixed / "export").glob("*.idx")}
    assert ours == {p.name: p.read_bytes() for p in copy.glob("*.idx")}
    info = json.loads((copy / ".nv-meta" / ".info.json").read_text())
    mine = json.loads((mixed / "export" / ".nv-meta" / ".info.json").read_text())
    assert mine["shard_counts"] == info["shard_counts"]


def python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shuffles(done, tmp_path):
    orders = {
        shuffle: keys(exported_to(done, tmp_path / shuffle, shuffle=shuffle, group_shards=1))
        for shuffle in ("none", "global", "grouped")
    }
    assert len({tuple(order) for order in orders.values()}) == 3
    assert len({frozenset(order) for order in orders.values()}) == 1
    places = source_shards(tmp_path / "grouped")
    assert len(set(places)) == 3
    assert sum(a != b for a, b in pairwise(places)) == 2
    again = keys(exported_to(done, tmp_path / "seed", shuffle="global", seed=5))
    assert again != orders["global"]
    assert sorted(again) == sorted(orders["global"])


def exported_to(run: Path, out: Path, **options) -> Path:
    exported(run, out, **options)
    return out


def source_shards(out: Path) -> list[int]:
    found = []
    for path in sorted((out / "index").iterdir()):
        table = read_table(Store(str(out)), f"index/{path.name}", ["source_shard"])
        found += table["source_shard"].to_pylist()
    return found


def test_kept_duplicates_get_numbered_keys(tmp_path):
    source = write_pairs(tmp_path / "source", 6)
    rows = (source / "pairs.jsonl").read_text()
    (source / "pairs.jsonl").write_text(rows + rows)
    curate(source, tmp_path / "run")
    corpus = open_corpus(str(tmp_path / "run"))
    assert corpus.manifest.totals.kept == 6
    everything = tmp_path / "undeduplicated"
    with LocalEngine(workers=0) as engine:
        decide_and_save(
            corpus, plain_recipe().limited(("heuristics",)), corpus.manifest.layers, engine, SILENT
        )
    exported(tmp_path / "run", everything)
    found = Counter(key[32:] for key in keys(everything))
    assert found == {"-0": 6, "-1": 6}
    assert len({key[:32] for key in keys(everything)}) == 6


def test_a_blocklist_given_at_export_is_honoured(done, tmp_path, pairs):
    bad = hashlib.sha256((pairs / "images" / "9.jpg").read_bytes()).hexdigest()
    (tmp_path / "late.txt").write_text(f"sha256:{bad}\n")
    files = (BlockFile.at(str(tmp_path / "late.txt")),)
    manifest = exported(done, tmp_path / "out", blocklists=files)
    assert manifest.blocked == {"late": 1}
    totals = manifest.totals
    assert (totals.ingested, totals.kept, totals.dropped) == (60, 59, 1)
    assert len(samples(tmp_path / "out")) == 59


def test_metadata_is_stripped_without_touching_pixels(tmp_path):
    source = write_pairs(tmp_path / "source", 1)
    image = picture(77, (300, 240))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "SECRETCAM"
    exif.get_ifd(0x8825)[1] = "N"
    image.save(source / "images" / "0.jpg", exif=exif, comment=b"SECRETCAM")
    curate(source, tmp_path / "run", "export.strip_metadata=true")
    (sample,) = samples(tmp_path / "run" / "export")
    stripped = Image.open(io.BytesIO(sample["0.jpg"]))
    original = Image.open(source / "images" / "0.jpg")
    assert b"SECRETCAM" not in sample["0.jpg"]
    assert list(stripped.getexif()) == [0x0112]
    assert stripped.getexif()[0x0112] == 6
    assert stripped.tobytes() == original.tobytes()
    assert json.loads(sample["json"])["segments"][0]["width"] == 240


def test_the_card_tells_sources_licences_drops_and_what_nobody_measured(done):
    card = (done / "export" / "README.md").read_text()
    for words in (
        "CC BY 4.0",
        "| heuristics | 60 | 60 |",
        "NSFW and other unsafe content: not measured",
        "## Sources",
    ):
        assert words in card


def test_a_card_cannot_be_broken_by_what_a_source_says(tmp_path):
    source = write_pairs(tmp_path / "source", 3)
    row = json.loads((source / "pairs.jsonl").read_text().splitlines()[0])
    row["license"] = "---\n| <script>alert(1)</script> [x](y)"
    (source / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    curate(source, tmp_path / "run")
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert "<script>" not in card
    assert card.count("\n---\n") == 1


def test_an_undecided_corpus_cannot_be_exported(pairs, tmp_path):
    with LocalEngine(workers=0) as engine:
        ingest(IngestRequest(source=str(pairs)), str(tmp_path / "corpus"), engine, SILENT)
    with pytest.raises(CorpusError, match="nothing is decided yet"):
        exported(tmp_path / "corpus", tmp_path / "out")


def test_a_corpus_is_never_overwritten_by_an_export(done):
    with pytest.raises(UsageError, match="holds a corpus"):
        exported(done, done / "corpus")


def test_an_export_of_other_settings_replaces_the_old_one_whole(done, tmp_path):
    exported(done, tmp_path / "a", shard_samples=7)
    exported(done, tmp_path / "a", shard_samples=20)
    exported(done, tmp_path / "b", shard_samples=20)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
