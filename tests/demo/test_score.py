"""The score: by hand on a small truth, and on a real run from the command line."""

import html
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from curation.core.errors import CorpusError
from curation.demo.captions_facts import stated
from curation.demo.defects import DEFECTS
from curation.demo.generate import TRUTH_FILE
from curation.demo.score import Fate, fates, score, tally
from curation.demo.score_captions import Worth
from curation.demo.score_facts import FactTally
from curation.demo.show import print_score
from curation.io.corpus import open_corpus
from curation.io.store import Store
from curation.io.tables import read_table
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import curate

KEPT = Fate(kept=True)


def dropped(stage: str, reason: str) -> Fate:
    return Fate(kept=False, stage=stage, reason=reason)


NEAR = dropped("near_dedup", "near_image")
BLUR = dropped("heuristics", "blur")


def truth(*rows: tuple[str | None, int | None]) -> list[dict[str, Any]]:
    return [
        {"row": n, "defect": defect, "original": original, "detail": None}
        for n, (defect, original) in enumerate(rows)
    ]


CLEAN = (None, None)
COPY = ("near_duplicate_resized", 0)


@pytest.mark.parametrize(
    ("found", "caught", "wrong"),
    [
        ([KEPT, NEAR, NEAR], 2, {}),
        ([NEAR, NEAR, KEPT], 2, {}),  # any member may stay
        ([KEPT, KEPT, NEAR], 1, {}),
        ([NEAR, KEPT, KEPT], 1, {}),
        ([KEPT, KEPT, KEPT], 0, {}),
        ([BLUR, KEPT, NEAR], 2, {"blur": 1}),  # the original had no such fault
        ([NEAR, NEAR, NEAR], 2, {"near_image": 1}),  # nothing of the group is left
        ([NEAR, BLUR, BLUR], 2, {"near_image": 1}),
    ],
)
def test_of_a_group_all_but_one_are_to_go(found, caught, wrong):
    result = tally(truth(CLEAN, COPY, COPY), dict(enumerate(found)))
    one = result.tallies["near_duplicate_resized"]
    assert (one.planted, one.caught) == (2, caught)
    assert sum(one.by.values()) == caught
    assert sum(one.missed.values()) == 2 - caught
    assert result.wrong == wrong
    assert list(result.wrong_rows.values()) == list(wrong)


def test_wrong_drops_are_laid_to_the_defects_whose_reason_they_have():
    rows = truth(CLEAN, CLEAN, CLEAN, ("blurred", None), ("mismatched_caption", None))
    small = dropped("heuristics", "min_side")
    result = tally(rows, dict(enumerate([BLUR, small, KEPT, BLUR, KEPT])))
    assert result.clean == 3
    assert result.wrong_rows == {0: "blur", 1: "min_side"}
    told = {name: result.wrong_of(name) for name in DEFECTS if result.wrong_of(name)}
    assert told == {"blurred": 1, "tiny": 1}
    caught = {name: one.caught for name, one in result.tallies.items() if one.planted}
    assert caught == {"blurred": 1, "mismatched_caption": 0}


def test_a_run_over_something_else_is_refused():
    with pytest.raises(CorpusError, match="not of one corpus"):
        tally(truth(CLEAN, CLEAN), {0: KEPT})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("score") / "demo"
    command = ["-m", "curation.demo", "generate", "--out", str(out), "--pairs", "300"]
    done = subprocess.run(
        [sys.executable, *command, "--seed", "3", "--workers", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"generate: 300 of 300 pairs", done.stderr)
    assert "300 pairs" in done.stdout
    curate(out / "source", out / "run")
    return out


def test_the_score_of_a_real_run_balances(demo):
    result = score(demo, demo / "run")
    rows = read_table(Store(str(demo)), TRUTH_FILE).to_pylist()
    assert result.clean == sum(row["defect"] is None for row in rows)
    planted = {name: one.planted for name, one in result.tallies.items()}
    assert planted == {n: sum(row["defect"] == n for row in rows) for n in DEFECTS}
    for one in result.tallies.values():
        assert one.planted == one.caught + sum(one.missed.values())
        assert one.caught == sum(one.by.values())
    found = fates(open_corpus(str(demo / "run")))
    lost = sum(not fate.kept for fate in found.values())
    excused = lost - sum(result.wrong.values()) - sum(
        count for one in result.tallies.values() for reason, count in one.by.items()
        if reason != "original dropped"
    )  # fmt: skip
    by_group = sum(one.by["original dropped"] for one in result.tallies.values())
    assert excused == by_group  # an original that went for a copy that stays


def test_what_cannot_be_overlooked_is_caught_and_clean_pairs_stay(demo):
    result = score(demo, demo / "run")
    for name in ("exact_duplicate", "solid_colour", "tiny", "html_as_jpg", "missing_file",
                 "file_name_caption", "short_caption", "extreme_aspect"):  # fmt: skip
        one = result.tallies[name]
        assert one.caught == one.planted, name
    assert result.tallies["mismatched_caption"].caught == 0
    assert sum(result.wrong.values()) <= 1


def test_new_captions_are_held_to_the_scenes(demo):
    """Captions of an even length stay; of the others half gain a thing, half lose what they say."""
    assert score(demo, demo / "run").worth is None

    def said(payload: dict[str, Any]) -> str:
        text = html.unescape(words_of(payload).split('<data name="caption">')[1])
        text = text.split("</data>")[0].strip()
        made = (text, f"{text} and a violet zebra", text, "Zebras.")
        return made[len(text) % 4]

    with ChatServer(say=said) as server:
        off = ("content", "retention", "min_length", "max_length")
        checks = [f"choose_caption.{name}=none" for name in off]
        model = ["recaption.model=tiny", f"recaption.servers={server.url}", "recaption.floor="]
        curate(demo / "source", demo / "new", *model, *checks)
    found = score(demo, demo / "new").worth
    assert found is not None
    lines = (demo / "source" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    kept = fates(open_corpus(str(demo / "new")))
    clean = [
        (pairs[row["row"]]["caption"].strip(), kept[row["row"]].kept)
        for row in read_table(Store(str(demo)), TRUTH_FILE).to_pylist()
        if row["defect"] is None
    ]
    ways = [len(text) % 4 for text, stays in clean if stays]
    wrong, lost = ways.count(1) + ways.count(3), ways.count(3)
    assert min(wrong, lost) > 20
    assert (found.clean, found.taken) == (len(ways), len(ways))
    assert (found.false, found.lost, found.added) == (wrong, lost, 0)
    # As they were written all are counted, whatever became of them.
    facts = [(len(stated(text)), len(text) % 4) for text, _ in clean]
    true = sum(number for number, way in facts if way != 3)
    zebras = sum(way in (1, 3) for _, way in facts)  # violet is no colour of the scenes
    assert found.written == len(clean) > found.clean
    assert found.before.said["all"] == found.before.right["all"] == sum(n for n, _ in facts)
    assert found.after.right["all"] == true
    assert found.after.said["all"] == true + zebras
    assert found.after.there == found.before.there
    assert found.after.found["all"] < found.before.found["all"] < found.before.there["all"]


def test_what_new_captions_are_worth_is_printed():
    told = {"said": 10, "right": 10, "there": 20, "found": 16}
    before, after = (
        FactTally(**{name: Counter(all=number) for name, number in counts.items()})
        for counts in (told, {**told, "right": 9, "found": 15})
    )
    worth = Worth(
        clean=6, taken=4, false=1, lost=2, added=3, written=8, before=before, after=after
    )  # fmt: skip
    console = Console(file=StringIO(), width=80)
    print_score(replace(tally(truth(CLEAN), {0: KEPT}), worth=worth), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert any(
        "of 6 clean pairs 4 would take theirs; 75% of these add something true, 50% leave out "
        "something true, 25% say something false." in line
        for line in lines
    )
    assert (
        "As they were written, for 8 clean pairs: of the facts that captions state 100.0% are true "
        "in the originals and 90.0% in the new ones; of those in a full caption of the scene 80.0% "
        "are told by the originals and 75.0% by the new ones."
    ) in lines
