"""Verify against files that were changed and are still well formed."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.core.manifest import decode_manifest, encode_manifest
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_any
from curation.io.store import Store
from curation.io.tables import read_table
from curation.report.verify import check_members, gathered, verify
from schemas.manifest import CorpusManifest
from tests.pipeline.corpora import curate, write_pairs


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run over two shards; a rule drops some samples and one cannot be read."""
    folder = tmp_path_factory.mktemp("verify")
    source = write_pairs(folder / "source", 12)
    (source / "images" / "3.jpg").write_bytes(b"")
    shutil.copy(source / "images" / "4.jpg", source / "images" / "5.jpg")
    curate(source, folder / "out", shard_samples=8)
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def problems(path: Path) -> list[str]:
    with LocalEngine(workers=0, memory="500MB") as engine:
        return list(verify(open_any(str(path)), engine, SILENT))


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Changes rows of a Parquet file, which stays well formed."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def restate(folder: Path, change: Callable[[CorpusManifest], CorpusManifest]) -> None:
    """Changes the manifest of a corpus."""
    path = folder / "manifest.json"
    manifest = decode_manifest(path.read_bytes(), str(path))
    assert isinstance(manifest, CorpusManifest)
    path.write_bytes(encode_manifest(change(manifest)))


def test_what_run_made_has_no_problems(out):
    assert problems(out) == []
    assert problems(out / "export") == []


def swap_uids(rows: list[dict[str, Any]]) -> None:
    rows[0]["uid"], rows[1]["uid"] = rows[1]["uid"], rows[0]["uid"]


def keep_a_dropped_sample(rows: list[dict[str, Any]]) -> None:
    next(row for row in rows if row["status"] != "kept")["status"] = "kept"


def drop_a_kept_sample(rows: list[dict[str, Any]]) -> None:
    next(row for row in rows if row["status"] == "kept")["status"] = "dropped"


def one_less(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def twice(rows: list[dict[str, Any]]) -> None:
    rows.append(rows[0])


@pytest.mark.parametrize(
    ("victim", "change", "told"),
    [
        ("index/*.parquet", swap_uids, ["index/000000000.parquet: not the file", "layers/"]),
        ("index/*.parquet", one_less, ["members are not those of its index", "rows are not 0 to"]),
        ("layers/image_probe-*/*.parquet", swap_uids, ["rows are not those of the index"]),
        ("layers/caption_text-*/*.parquet", one_less, ["rows are not those of the index"]),
        ("ledgers/final-*/*.parquet", keep_a_dropped_sample, ["keeps a sample that a stage"]),
        ("ledgers/final-*/*.parquet", drop_a_kept_sample, ["kept and decided", "final ledger"]),
        ("ledgers/final-*/*.parquet", swap_uids, ["does not hold each sample of the index once"]),
        ("ledgers/final-*/*.parquet", one_less, ["does not hold each sample of the index once"]),
        ("ledgers/heuristics-*/*.parquet", one_less, ["kept and decided samples are not all"]),
        ("ledgers/heuristics-*/*.parquet", twice, ["decides a sample that was decided before"]),
        ("tables/shards*.parquet", twice, ["not the file that was written"]),
    ],
)
def test_a_changed_table_of_a_corpus_is_listed(out, victim, change, told):
    rewrite(one(out / "corpus", victim), change)
    found = problems(out / "corpus")
    for words in told:
        assert [line for line in found if words in line], found


def test_a_sample_that_two_stages_drop_is_listed(out):
    later = one(out / "corpus", "ledgers/image_dedup-*/*.parquet")
    earlier = pq.read_table(one(out / "corpus", "ledgers/heuristics-*/*.parquet")).to_pylist()
    rewrite(later, lambda rows: rows.extend(earlier))
    assert any("decided before" in line for line in problems(out / "corpus"))


@pytest.mark.parametrize("number", ["kept", "dropped", "quarantined", "ingested"])
def test_totals_that_do_not_balance_are_listed(out, number):
    restate(
        out / "corpus",
        lambda m: dataclasses.replace(
            m, totals=dataclasses.replace(m.totals, **{number: getattr(m.totals, number) + 1})
        ),
    )
    assert any("does not balance" in line for line in problems(out / "corpus"))


@pytest.mark.parametrize("number", ["entered", "kept", "dropped", "quarantined"])
def test_a_stage_that_does_not_balance_is_listed(out, number):
    def change(manifest: CorpusManifest) -> CorpusManifest:
        first, *rest = manifest.stages
        changed = dataclasses.replace(first, **{number: getattr(first, number) + 1})
        return dataclasses.replace(manifest, stages=[changed, *rest])

    restate(out / "corpus", change)
    assert "manifest.json: stage heuristics does not balance" in problems(out / "corpus")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def members(path: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(path)["members"].to_pylist()
    return [member for row in rows for member in row or []]


def test_the_member_whose_bytes_changed_is_named(out):
    corpus = out / "corpus"
    member = members(corpus / "index" / "000000000.parquet")[2]
    flip(corpus / "shards" / "000000000.tar", member["offset"] + 100)
    found = problems(corpus)
    assert "shards/000000000.tar: not the file that was written (SHA-256 differs)" in found
    assert [line for line in found if "has changed" in line] and len(found) == 2


@pytest.mark.parametrize(
    ("rename", "told"),
    [
        (lambda name: name.replace(b"000000000000000", b"000000000000099"), "members are not"),
        (lambda name: name, None),
    ],
)
def test_members_are_compared_with_the_index(out, rename, told):
    corpus = Store(str(out / "corpus"))
    tar = out / "corpus" / "shards" / "000000000.tar"
    tar.write_bytes(with_names(tar.read_bytes(), rename))
    rows = read_table(corpus, "index/000000000.parquet")
    found = list(check_members(corpus, "shards/000000000.tar", rows))
    assert [told in line for line in found] == ([True] if told else [])


def with_names(data: bytes, rename: Callable[[bytes], bytes]) -> bytes:
    """A tar with its first member's name changed, its checksum made right."""
    header = bytearray(rename(bytes(data[:100])) + data[100:512])
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + data[512:]


@pytest.mark.parametrize("keys", [["a", "a"], ["a.b", "c"], ["a/b", "c"]])
def test_keys_that_loaders_cannot_use_are_listed(out, keys):
    corpus = Store(str(out / "corpus"))
    rows = read_table(corpus, "index/000000000.parquet").slice(0, 2)
    rows = rows.set_column(rows.schema.get_field_index("key"), "key", pa.array(keys))
    found = list(check_members(corpus, "shards/000000000.tar", rows))
    assert "shards/000000000.tar: keys are not unique, or hold dots or slashes" in found


def test_a_tar_cut_short_is_listed_and_the_rest_is_checked(out):
    tar = out / "corpus" / "shards" / "000000000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    other = out / "corpus" / "shards" / "000000001.tar"
    flip(other, -2000)
    found = problems(out / "corpus")
    assert {line.split(":")[0] for line in found} == {
        "shards/000000000.tar",
        "shards/000000001.tar",
    }


def test_an_export_whose_sample_is_not_that_of_its_index_is_listed(out):
    export = out / "export"
    index = one(export, "index/*.parquet")

    def change(rows: list[dict[str, Any]]) -> None:
        segments = json.loads(rows[0]["segments"])
        segments[-1]["text"] = "Another caption"
        rows[0]["segments"] = json.dumps(segments)
        rows[1]["uid"] = "0" * 32

    rewrite(index, change)
    found = problems(export)
    assert len([line for line in found if "is not the sample of the index" in line]) == 2
    assert [line for line in found if line.startswith("index/")]


@pytest.mark.parametrize(
    ("victim", "data", "told"),
    [
        ("*.tar.idx", b"\1" * 8, "does not hold an offset a sample"),
        ("*.tar.idx", None, "missing"),
        ("README.md", None, "README.md: missing"),
        (".nv-meta/split.yaml", None, ".nv-meta/split.yaml: missing"),
        ("index/*.parquet", None, "missing"),
        ("tables/*.parquet", b"", "SHA-256 differs"),
    ],
)
def test_a_broken_file_of_an_export_is_listed(out, victim, data, told):
    path = one(out / "export", victim)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    opened = open_any(str(out / "export"))
    with LocalEngine(workers=0, memory="500MB") as engine:
        found = gathered(verify(opened, engine, SILENT))
    assert [line for line in found if told in line], found


def test_offsets_that_do_not_begin_at_zero_are_listed(out):
    path = one(out / "export", "*.tar.idx")
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    assert [line for line in problems(out / "export") if "does not begin at 0" in line]


def test_a_file_that_cannot_be_read_at_all_ends_the_list(tmp_path):
    def lines():
        yield "first"
        read_table(Store(str(tmp_path)), "none.parquet")

    found = gathered(lines())
    assert found[0] == "first"
    assert "none.parquet: no such file" in found[1]
