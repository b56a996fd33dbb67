"""Commands that look at what was curated: what a reader is told."""

import json
from pathlib import Path

import pytest

from curation.cli.main import main
from curation.io.corpus import open_corpus
from tests.pipeline.corpora import ledger, write_pairs

QUICK = ("--workers", "0")


def curate(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A run over 12 pairs of which ingest cannot read one and an operator another."""
    folder = tmp_path_factory.mktemp("look")
    images = write_pairs(folder / "source", 12) / "images"
    (images / "3.jpg").write_bytes(b"")
    whole = (images / "5.jpg").read_bytes()
    (images / "5.jpg").write_bytes(whole[: len(whole) // 3])
    source = ("--input", folder / "source", "--out", folder / "out")
    assert curate("run", "image-text", *source, *QUICK) == 0
    return folder / "out"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_funnel_says_where_unreadable_samples_were_lost(out, capsys):
    for path in (out, out / "export"):
        assert curate("inspect", path) == 0
        said = capsys.readouterr().out
        rows = {row[0]: row[1:] for row in map(cells, said.splitlines()) if len(row) == 6}
        assert rows["ingest"] == ["12", "11", "1", "empty_file", "1"]
        assert rows["measure"][:3] == ["11", "10", "1"]
        assert "image_pixels" in rows["measure"][3]
        assert rows["heuristics"] == ["10", "10", "0", "", ""]
        assert "kept 10 + dropped 0 + quarantined 2 = 12 ingested" in said
    card = (out / "export" / "README.md").read_text()
    assert "| ingest | 12 | 11 | empty_file 1 |" in card
    assert "| heuristics | 10 | 10 | - |" in card


def test_the_funnel_in_json_is_that_of_the_table(out, capsys):
    assert curate("inspect", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    for part in (said["corpus"], said["export"]):
        ingest, measure, heuristics = part["funnel"][:3]
        assert (ingest["stage"], ingest["errors"]) == ("ingest", {"empty_file": 1})
        assert measure["errors"] == {"image_pixels: truncated_image": 1}
        assert (heuristics["entered"], heuristics["errors"]) == (10, {})
        assert part["stages"][0]["entered"] == 12
        assert part["stages"][0]["errors"] == {
            "image_pixels: truncated_image": 1,
            "ingest: empty_file": 1,
        }


def test_a_warning_is_told_once(out, capsys):
    word = "switched off: clip_select, semantic_dedup"
    command = ("--input", out.parent / "source", "--out", out)
    assert curate("run", "image-text", *command, *QUICK) == 0
    said = capsys.readouterr()
    told = " ".join((said.err + said.out).split())
    assert told.count(word) == 1
    assert "1 warning, as said above" in told
    assert curate("decide", out, *QUICK) == 0
    said = capsys.readouterr()
    assert " ".join((said.err + said.out).split()).count(word) == 1
    assert curate("inspect", out) == 0
    assert " ".join(capsys.readouterr().out.split()).count(word) == 1


def test_an_image_goes_only_where_there_is_a_folder(out, tmp_path, capsys):
    uid = ledger(open_corpus(str(out)))["uid"][0].as_py()
    image = tmp_path / "none" / "look.jpg"
    assert curate("inspect", out, "--sample", uid, "--image", image) == 2
    assert f"the folder {tmp_path / 'none'} does not exist" in capsys.readouterr().err
    assert not image.parent.exists()


def test_diff_tells_a_changed_setting_in_one_line(out, tmp_path, capsys):
    source = ("--input", out.parent / "source", "--out", tmp_path / "other")
    settings = ("--set", "heuristics.min_side=256", "--set", "caption_text.placeholders=a,b")
    assert curate("run", "image-text", *source, *settings, *QUICK) == 0
    capsys.readouterr()
    assert curate("diff", out, tmp_path / "other", *QUICK) == 0
    said = capsys.readouterr().out.splitlines()
    recipe = said[said.index("recipe:") + 1 : said.index("totals:")]
    assert recipe[1] == "  heuristics.min_side: 200 -> 256"
    assert recipe[0].startswith("  caption_text.placeholders: 49 values -> 2 values; gone: image,")
    assert len(recipe) == 2
    assert max(map(len, recipe)) < 200
