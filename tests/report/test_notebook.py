"""A corpus in Python: columns, samples and the funnel, and what stays hidden."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

import curation
from curation import Corpus
from curation.cli.main import main
from curation.core.errors import CorpusError, UsageError
from curation.io.corpus import open_corpus
from curation.report.inspect import sample as inspected
from tests.pipeline.corpora import caption, curate, fates, ledger, picture, write_pairs

HOSTILE = "<script>alert(1)</script> a copper kettle by the sea and a tiger"
ROTATED = 6
"""EXIF orientation: turned by a quarter."""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """20 pairs: 1 turned by EXIF, 2 hostile, 3 missing, 4 small, 6 the same as 5, 7 truncated."""
    folder = write_pairs(tmp_path_factory.mktemp("notebook") / "source", 20)
    images = folder / "images"
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    picture(1, (300, 240)).save(images / "1.jpg", exif=exif)
    (images / "3.jpg").unlink()
    picture(4, (150, 110)).save(images / "4.jpg")
    (images / "6.jpg").write_bytes((images / "5.jpg").read_bytes())
    (images / "7.jpg").write_bytes((images / "7.jpg").read_bytes()[:4_000])
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    lines[2]["text"] = HOSTILE
    lines[6]["text"] = caption(5)
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def out(source, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("notebook") / "out"
    curate(source, made, "heuristics.html_tag=9", "heuristics.html=9", shard_samples=5)
    return made


@pytest.fixture(scope="module")
def corpus(out) -> Corpus:
    return Corpus(str(out))


def uid_of(out: Path, row: int) -> str:
    return ledger(open_corpus(str(out)))["uid"][row].as_py()


def by_sql(corpus: Corpus, columns: list[str] | None = None) -> pa.Table:
    query = "SELECT * FROM samples ORDER BY shard, row"
    return corpus.duckdb(columns).sql(query).to_arrow_table()


def test_a_table_has_the_columns_asked_for_in_the_order_of_the_corpus(corpus, out):
    table = corpus.table(["min_side", "caption", "status", "reason"])
    assert table.column_names == ["shard", "row", "uid", "min_side", "caption", "status", "reason"]
    final = ledger(open_corpus(str(out)))
    for name in ("uid", "shard", "row", "status", "reason"):
        assert table[name].to_pylist() == final[name].to_pylist()
    captions = [caption(n) for n in range(20)]
    captions[2], captions[6] = HOSTILE, caption(5)
    assert table["caption"].to_pylist() == captions
    sides = [240] * 20
    sides[3], sides[4] = None, 110
    assert table["min_side"].to_pylist() == sides
    assert table.to_pandas()["min_side"].isna().sum() == 1
    assert [part.num_rows for part in corpus.tables("caption")] == [5, 5, 5, 5]


def test_duckdb_has_the_same_rows_and_columns(corpus):
    plain = [name for name in corpus.columns if name != "members"]
    assert by_sql(corpus, plain).to_pylist() == corpus.table(plain).to_pylist()
    assert by_sql(corpus)["members"].to_pylist() == corpus.table("members")["members"].to_pylist()
    few = ["blur", "status"]
    assert by_sql(corpus, few).to_pylist() == corpus.table(few).to_pylist()
    query = "SELECT count(*) FROM samples WHERE status = 'kept' AND blur > 0"
    kept = corpus.table("status")["status"].to_pylist().count("kept")
    assert corpus.duckdb().sql(query).fetchall() == [(kept,)]


def test_a_path_with_quotes_and_patterns_is_a_path(source, tmp_path):
    folder = tmp_path / "it's [a] *"
    curate(source, folder, shard_samples=5)
    corpus = Corpus(str(folder))
    assert by_sql(corpus, ["caption"]).to_pylist() == corpus.table("caption").to_pylist()


def test_before_a_decision_a_table_says_what_ingest_knows(source, tmp_path):
    bad = hashlib.sha256((source / "images" / "8.jpg").read_bytes()).hexdigest()
    (tmp_path / "abuse.txt").write_text(bad)
    target = tmp_path / "corpus"
    assert main(["ingest", str(source), "--out", str(target), "--workers", "0",
                 "--blocklist", str(tmp_path / "abuse.txt")]) == 0  # fmt: skip
    corpus = Corpus(str(target))
    asked = ["caption", "status", "stage", "reason", "detail", "error", "kept_by_row"]
    table = corpus.table(asked)
    assert by_sql(corpus, asked).to_pylist() == table.to_pylist()
    assert table["status"].to_pylist().count("quarantined") == 1
    assert table.num_rows == 19  # the blocked one is not listed
    assert table["status"].to_pylist().count("ingested") == 18
    assert "readable 18 + dropped 1 + quarantined 1 = 20 ingested" in str(corpus.funnel())
    with pytest.raises(CorpusError, match="a blocklist stopped"):
        corpus.at(0, 8)


def test_a_sample_is_what_inspect_says(corpus, out):
    for row in (0, 1, 4, 6):
        sample = corpus.at(row // 5, row % 5)
        known = next(
            k for k in inspected(open_corpus(str(out)), sample.uid)
            if (k["shard"], k["row"]) == (sample.shard, sample.row)
        )  # fmt: skip
        assert sample.text == known["index"]["text"]
        measured = {
            name: value for layer in known["measures"].values() for name, value in layer.items()
            if name != "error" and not isinstance(value, bytes)
        }  # fmt: skip
        assert sample.measures == measured
        last = known["stages"][-1]["verdict"]
        assert sample.fate.status == last["status"]
        assert sample.fate.reason == last.get("reason")
    fallen = corpus.at(0, 4)
    assert str(fallen.fate) == "dropped by heuristics: min_side (min_side 110 < 200)"
    assert (fallen.fate.value, fallen.fate.threshold) == (110, 200)
    assert str(corpus.at(0, 0).fate) == "kept"
    assert str(corpus.at(0, 3).fate) == "quarantined by ingest: missing_file"


def test_an_image_is_turned_as_exif_says(corpus, source, out):
    image = corpus.sample(uid_of(out, 1)).image
    assert image.size == (240, 300)
    with Image.open(source / "images" / "1.jpg") as stored:
        turned = stored.transpose(Image.Transpose.ROTATE_270)
    assert image.tobytes() == turned.tobytes()


@pytest.mark.parametrize(("row", "why"), [(3, "missing file"), (7, "truncated image")])
def test_a_picture_that_cannot_be_read_says_so_in_one_line(corpus, row, why):
    sample = corpus.at(row // 5, row % 5)
    with pytest.raises(CorpusError, match=rf"no picture \({why}\)"):
        _ = sample.image
    assert why in sample._repr_html_()


def test_a_sample_is_found_by_the_start_of_its_uid_and_of_twins_the_kept_one(corpus, out):
    uid = uid_of(out, 5)
    assert uid == uid_of(out, 6)
    kept = [row for row in (5, 6) if corpus.at(row // 5, row % 5).fate.status == "kept"]
    found = corpus.sample(uid[:10].upper())
    assert (found.uid, found.shard * 5 + found.row) == (uid, kept[0])
    for asked, error in (("", UsageError), ("zz", CorpusError), ("0" * 32, CorpusError)):
        with pytest.raises(error):
            corpus.sample(asked)
    firsts = [one[0] for one in {uid_of(out, row) for row in range(20)}]  # more than hex has digits
    first = next(c for c in firsts if firsts.count(c) > 1)
    with pytest.raises(UsageError, match="have a uid that begins"):
        corpus.sample(first)


def test_what_a_blocklist_stopped_is_nowhere_and_what_it_never_saw_has_no_picture(source, tmp_path):
    bad = hashlib.sha256((source / "images" / "8.jpg").read_bytes()).hexdigest()
    (tmp_path / "abuse.txt").write_text(f"sha256:{bad}\n")
    target = tmp_path / "out"
    curate(source, target, f"blocklist.lists={tmp_path / 'abuse.txt'}", shard_samples=5)
    assert fates(target)[8] == ("dropped", "blocked_sha256")
    corpus, uid = Corpus(str(target)), uid_of(target, 8)
    table = corpus.table(["caption"])
    assert table.num_rows == 19
    assert uid not in table["uid"].to_pylist()
    assert caption(8) not in table["caption"].to_pylist()
    assert by_sql(corpus, ["caption"]).to_pylist() == table.to_pylist()
    with pytest.raises(CorpusError, match="or a blocklist stopped it"):
        corpus.sample(uid)
    with pytest.raises(CorpusError, match="a blocklist stopped row 3 of shard 1"):
        corpus.at(1, 3)
    early = corpus.at(0, 4)  # too small: it fell before the list was held against it
    assert early.text == caption(4)
    with pytest.raises(CorpusError, match="dropped before the blocklists"):
        _ = early.image
    assert "<img" not in early._repr_html_()
    assert corpus.at(0, 0).image.size == (260, 240)


def test_the_funnel_reads_as_text_and_as_html(corpus, out):
    funnel = corpus.funnel()
    totals = open_corpus(str(out)).manifest.totals
    said = str(funnel)
    assert said.splitlines()[-1] == (
        f"kept {totals.kept:,} + dropped {totals.dropped:,} + quarantined {totals.quarantined:,} "
        "= 20 ingested"
    )
    assert next(line.split() for line in said.splitlines() if "min_side" in line)[-2:] == [
        "min_side", "1",
    ]  # fmt: skip
    rows = funnel.rows()
    assert sum(count for *_, count in rows) == totals.dropped + totals.quarantined
    html = funnel._repr_html_()
    assert html.count("<tr>") == len(rows) + 1
    assert f"kept {totals.kept:,} +" in html


def test_the_example_of_the_documentation_runs(out, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "viewer.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "run1").symlink_to(out)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert len(names["frame"]) == sum(names["reasons"]["samples"].to_pylist()) == 20
    assert names["picture"].size == (260, 240)
    said = capsys.readouterr().out
    assert said.startswith(f"{caption(0)} ")
    assert "= 20 ingested" in said


def test_hostile_captions_are_text_in_a_notebook(corpus):
    html = corpus.at(0, 2)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("data:image/jpeg;base64,") == 1


def test_columns_and_paths_that_are_not_there_are_one_line(corpus, out, tmp_path):
    with pytest.raises(UsageError, match="no column 'clip_scor'"):
        corpus.table(["clip_scor"])
    with pytest.raises(UsageError, match="no column 'min_sid'; there is min_side"):
        corpus.duckdb(["min_sid"])
    with pytest.raises(CorpusError, match=r"no manifest\.json"):
        Corpus(str(tmp_path))
    with pytest.raises(UsageError, match="an export"):
        Corpus(str(out / "export"))
    with pytest.raises(UsageError, match="no row 9 in shard 0"):
        corpus.at(0, 9)
    assert repr(corpus).startswith(f"Corpus({str(out)!r}): image-text, 20 samples, ")


def test_the_package_loads_nothing_until_a_corpus_is_asked_for():
    code = (
        "import sys, curation; assert 'pyarrow' not in sys.modules; "
        "from curation import Corpus; assert 'pyarrow' in sys.modules; "
        "assert 'torch' not in sys.modules; assert Corpus.__name__ == 'Corpus'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Corpora'"):
        _ = curation.Corpora
