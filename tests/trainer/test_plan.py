"""A plan is a pure function of corpora and settings; it says what is seen and how often."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.core.errors import CorpusError, UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.families.image_text import image_segment, text_segment
from curation.io.corpus import open_any
from curation.models.glm4v.vision_input import VisionSettings
from curation.report.verify import verify
from curation.trainer.loader import resume_step
from curation.trainer.mixture import CorpusShare
from curation.trainer.plan import PlanSettings, open_plan
from curation.trainer.planning import make_plan
from curation.trainer.run import Training, plan_only
from jobs.train import stage1
from tests.trainer.plans import planned, processor, rows
from tests.trainer.samples import FAMILIES, Made, box_segment, jpeg, write_export

SMALLER = {"seq_len": 512, "global_batch": 2}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "steps").iterdir())}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fixtures_are_exports_as_ours_are(exports, family):
    with LocalEngine(workers=0) as engine:
        assert list(verify(open_any(str(exports[family])), engine, SILENT)) == []


def test_the_same_corpora_give_the_same_plan_wherever_they_lie(exports, tmp_path):
    corpora = [exports["image-text"], exports["ocr"]]
    one = planned(tmp_path / "a", corpora, steps=6, **SMALLER)
    moved = tmp_path / "elsewhere"
    moved.symlink_to(exports["ocr"])
    two = planned(tmp_path / "b", [corpora[0], moved], steps=6, workers=2, **SMALLER)
    assert one.plan_hash == two.plan_hash
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"seq_len": 640},
        {"global_batch": 3},
        {"steps": 7},
        {"vision": VisionSettings()},
    ],
)
def test_whatever_decides_a_plan_changes_its_hash(exports, tmp_path, change):
    settings = {**SMALLER, "steps": 6}
    one = planned(tmp_path / "a", [exports["image-text"]], **settings)
    two = planned(tmp_path / "b", [exports["image-text"]], **{**settings, **change})
    assert one.plan_hash != two.plan_hash


def test_shares_and_other_corpora_change_the_hash(exports, tmp_path):
    pair = [exports["image-text"], exports["gui"]]
    plans = [
        planned(tmp_path / "a", pair, steps=2, **SMALLER),
        planned(tmp_path / "b", [(pair[0], 0.5), (pair[1], 0.5)], steps=2, **SMALLER),
        planned(tmp_path / "c", pair[::-1], steps=2, **SMALLER),
    ]
    assert len({plan.plan_hash for plan in plans}) == 3


def test_an_equal_plan_stays_and_another_replaces_it(exports, tmp_path):
    first = planned(tmp_path / "p", [exports["gui"]], steps=3, **SMALLER)
    steps = tmp_path / "p" / "steps" / "000000.parquet"
    written = steps.stat().st_mtime_ns
    assert planned(tmp_path / "p", [exports["gui"]], steps=3, **SMALLER) == first
    assert steps.stat().st_mtime_ns == written
    assert open_plan(str(tmp_path / "p")) == first
    other = planned(tmp_path / "p", [exports["gui"]], steps=4, **SMALLER)
    assert open_plan(str(tmp_path / "p")) == other
    with pytest.raises(UsageError, match="resume with what it was started with"):
        resume_step(other, {"plan_hash": first.plan_hash, "step": 1})
    assert resume_step(other, {"plan_hash": other.plan_hash, "step": 1}) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"steps": 6', '"steps": "6"', 1),
        lambda text: text.replace('"fill": ', '"fill": "x", "was": ', 1),
        lambda text: text.replace('"tars": [', '"tars": [3,', 1),
        lambda text: text.replace('"seq_len": 512', '"seq_len": null', 1),
        lambda text: '{"settings": 3}',
        lambda text: "[" * 100_000,
        lambda text: "null",
        lambda text: "",
    ],
)
def test_a_damaged_plan_is_named(exports, tmp_path, damage):
    planned(tmp_path / "p", [exports["ocr"]], steps=6, **SMALLER)
    path = tmp_path / "p" / "plan.json"
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    with pytest.raises(CorpusError, match=r"plan\.json: damaged; delete the file") as caught:
        open_plan(str(tmp_path / "p"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("damage", [lambda data: data[:50], lambda data: b"", None])
def test_damaged_steps_of_a_plan_are_made_again(exports, tmp_path, damage):
    plan = planned(tmp_path / "p", [exports["ocr"]], steps=6, **SMALLER)
    before = rows(plan)
    (path,) = (tmp_path / "p" / "steps").iterdir()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        CorpusError, match=r"000000\.parquet: .*delete .*plan\.json and run"
    ) as caught:
        rows(plan)
    assert "\n" not in str(caught.value)
    (tmp_path / "p" / "plan.json").unlink()
    assert rows(planned(tmp_path / "p", [exports["ocr"]], steps=6, **SMALLER)) == before


def test_an_epoch_sees_every_sample_once(exports, tmp_path):
    plan = planned(tmp_path / "p", [exports["image-text"], exports["grounding"]],
                   seq_len=512, global_batch=1)  # fmt: skip
    seen = Counter((row["corpus"], row["shard"], row["row"]) for row in rows(plan))
    assert set(seen.values()) == {1}
    assert len(seen) == 120
    assert all(share.epochs == pytest.approx(1) for share in plan.shares)


def test_a_pass_ends_before_the_next_begins(exports, tmp_path):
    plan = planned(tmp_path / "p", [exports["gui"]], seq_len=256, global_batch=1, steps=80)
    seen = Counter((row["shard"], row["row"]) for row in rows(plan))
    assert len(seen) == 60
    assert (
        max(seen.values()) - min(seen.values()) <= 2
    )  # the last pass, and what the last window leaves


def test_shares_are_of_tokens_and_many_epochs_are_told(large, tmp_path):
    corpora = [(large[0], 0.5), (large[2], 0.3), (large[4], 0.2)]
    plan = planned(tmp_path / "p", corpora, seq_len=2048, global_batch=16, steps=110)
    total = sum(share.tokens for share in plan.shares)
    effective = [share.tokens / total for share in plan.shares]
    assert effective == pytest.approx([0.5, 0.3, 0.2], abs=0.003)
    gui = plan.shares[2]
    assert gui.epochs > 4
    told = "\n".join(plan.lines())
    assert f"warning: gui is seen {gui.epochs:.1f} times" in told
    assert "image-text is seen" not in told


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_kept_in_a_short_training(exports, tmp_path_factory, seed):
    corpora = [(exports["image-text"], 0.7), (exports["interleaved"], 0.2), (exports["gui"], 0.1)]
    out = tmp_path_factory.getbasetemp() / "short"  # its counts are kept for the next seed
    plan = planned(out, corpora, seq_len=512, global_batch=4, steps=24, seed=seed)
    total = sum(share.tokens for share in plan.shares)
    realised = [share.tokens / total for share in plan.shares]
    assert realised == pytest.approx([0.7, 0.2, 0.1], rel=0.1)
    assert not any("not 70" in line or "not 20" in line for line in plan.lines())


def test_a_share_that_cannot_be_kept_is_told(exports, tmp_path):
    corpora = [(exports["image-text"], 0.999), (exports["interleaved"], 0.001)]
    plan = planned(tmp_path / "p", corpora, seq_len=512, global_batch=1, steps=3)
    told = "\n".join(plan.lines())
    assert "warning: interleaved gets 0.0% of all tokens, not 0.1%" in told
    assert "warning: image-text gets" not in told


class Told:
    """Keeps what is said, and the labels of what was begun."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def track(self, label: str, total: int | None, unit: str):
        self.labels.append(label)
        return SILENT.track(label, total, unit)


def made(out: Path, corpora: list[CorpusShare], progress: Told, **most: float) -> None:
    settings = PlanSettings(seq_len=512, global_batch=8, steps=50)
    make_plan(corpora, str(out), settings, processor(), None, progress, **most)


def test_many_passes_are_told_and_too_many_refused_before_anything_is_drawn(exports, tmp_path):
    told = Told()
    with pytest.raises(UsageError, match=r"gui: its 60 samples .* times, .* most_epochs=") as e:
        made(tmp_path / "p", [CorpusShare(url=str(exports["gui"]))], told, most_epochs=10)
    assert "\n" not in str(e.value)
    assert [label.split()[0] for label in told.labels] == ["count"]
    assert not (tmp_path / "p" / "plan.json").exists()
    made(tmp_path / "p", [CorpusShare(url=str(exports["gui"]))], told)
    assert [label.split()[0] for label in told.labels[1:]] == ["count", "draw", "pack"]
    (warning,) = told.lines
    assert warning.startswith("warning: gui: its 60 samples") and "would be read" in warning


def test_a_run_refuses_too_many_passes_and_half_of_the_shares(exports, tmp_path):
    recipe = replace(stage1("tiny"), most_epochs=2.0)
    gui = CorpusShare(url=str(exports["gui"]))
    training = Training(recipe=recipe, corpora=(gui,), out=str(tmp_path / "o"))
    with pytest.raises(UsageError, match=r"more than most_epochs 2: .* --set most_epochs="):
        plan_only(training)
    half = replace(training, corpora=(gui, CorpusShare(url=str(exports["ocr"]), share=0.5)))
    with pytest.raises(UsageError, match="shares of corpora"):
        plan_only(half)


def test_a_corpus_given_twice_and_half_of_the_shares_are_refused_before_counting(exports, tmp_path):
    gui, ocr = str(exports["gui"]), str(exports["ocr"])
    copy = tmp_path / "copy"
    copy.symlink_to(exports["gui"])
    told = Told()
    for corpora, message in (
        ([CorpusShare(url=gui, share=1.0), CorpusShare(url=gui + "/", share=2.0)], "given twice"),
        ([CorpusShare(url=gui), CorpusShare(url=str(copy))], "hold the same samples"),
        ([CorpusShare(url=gui, share=0.5), CorpusShare(url=ocr)], "shares of corpora"),
    ):
        with pytest.raises(UsageError, match=message):
            made(tmp_path / "p", corpora, told)
    assert not told.labels and not (tmp_path / "p").exists()


@pytest.mark.parametrize("seq_len", [8192, 32768])
def test_packs_of_a_mixed_corpus_are_full_and_steps_even(large, tmp_path, seq_len):
    steps = 60 if seq_len == 8192 else 8
    plan = planned(tmp_path / "p", large, seq_len=seq_len, global_batch=8, steps=steps)
    assert plan.fill >= 0.995
    assert 1 <= plan.balance_after < plan.balance_before
    packed = [pack for _, packs in plan.packs() for pack in packs]
    assert len(packed) == steps * 8
    held = [sum(pack["tokens"].to_pylist()) for pack in packed]
    assert max(held) <= seq_len
    assert sum(held) / len(held) / seq_len == pytest.approx(plan.fill)


def test_parts_hold_whole_segments_and_all_that_is_learnt(exports, tmp_path):
    plan = planned(tmp_path / "p", [exports["interleaved"]], seq_len=512, global_batch=1)
    (share,) = plan.shares
    assert share.left_out["split"] > 0
    parts: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row in rows(plan):
        parts.setdefault((row["shard"], row["row"]), []).append((row["first"], row["stop"]))
    assert len(parts) == share.samples_usable
    for found in parts.values():
        borders = sorted(found)
        assert borders[0][0] == 0
        assert all(a[1] == b[0] for a, b in itertools.pairwise(borders))


A4 = image_segment("0.jpg", 2480, 3508)
"""A page at 300 dpi: 7,344 tokens in the recipe's budget."""


def page(boxes: bool) -> Made:
    """A page longer than 8,192 tokens with what is learnt of it."""
    words = text_segment("tower bridge " * 450, loss=True)
    told = [box_segment([1, 2, 3, n], loss=True) for n in range(150)] if boxes else [words]
    return [A4, text_segment("Find: ", loss=False), *told], [("0.jpg", jpeg(0)[0])]


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "interleaved"])
def test_no_answer_or_box_is_learnt_without_its_picture(tmp_path, family):
    short = [image_segment("0.jpg", 560, 560), text_segment("a tower", loss=True)]
    samples = [page(boxes=n % 2 == 0) for n in range(6)]
    samples += [(short, [("0.jpg", jpeg(0)[0])]) for _ in range(30)]
    folder = write_export(tmp_path / family, family, samples)
    plan = planned(tmp_path / "p", [folder], vision=stage1().vision, seq_len=8192, global_batch=1)
    (share,) = plan.shares
    assert share.left_out == {"too_long": 6} and share.samples_usable == 30
    assert {(row["first"], row["stop"]) for row in rows(plan)} == {(0, 2)}
    told = "\n".join(plan.lines())
    assert f"{family}: 6 too long" in told
    assert f"warning: {family}: 6 of 36 samples are longer than a sequence and left out" in told


def test_a_document_is_split_behind_what_is_learnt_of_a_page(tmp_path):
    media = [("0.jpg", jpeg(0)[0])]
    near, far = (text_segment("tower " * count, loss=True) for count in (200, 900))
    samples = [([near, A4, near, far], media) for _ in range(5)]
    samples += [([A4, far], media)]
    folder = write_export(tmp_path / "e", "interleaved", samples)
    plan = planned(tmp_path / "p", [folder], vision=stage1().vision, seq_len=8192, global_batch=1)
    assert plan.shares[0].left_out == {"split": 5, "too_long": 1}
    found = {(row["row"], row["first"], row["stop"]) for row in rows(plan)}
    assert found == {(n, *part) for n in range(5) for part in ((0, 3), (3, 4))}


def test_what_cannot_be_used_is_counted(tmp_path):
    data, width, height = jpeg(0)
    text = text_segment("words " * 20, loss=True)
    image = image_segment("0.jpg", width, height)
    samples = [([image, text], [("0.jpg", data)]) for _ in range(20)]
    samples += [([image_segment("0.jpg", 0, 0), text], [("0.jpg", data)])]
    samples += [([text_segment("word " * 3000, loss=True)], []) for _ in range(2)]
    quiet = [text_segment("the " * 150, loss=False) for _ in range(3)]
    samples += [([*quiet, text], [])]
    folder = write_export(tmp_path / "e", "interleaved", samples)
    plan = planned(tmp_path / "p", [folder], seq_len=256, global_batch=1)
    assert plan.shares[0].left_out == {
        "malformed": 1, "too_long": 2, "split": 1, "parts_without_loss": 2,
    }  # fmt: skip
    assert "1 malformed, 2 parts without loss, 1 split, 2 too long" in "\n".join(plan.lines())


def test_counts_are_kept_for_other_plans(exports, tmp_path):
    planned(tmp_path / "p", [exports["video"]], steps=2, **SMALLER)
    counts = sorted((tmp_path / "p").glob("token_count-*/*/*.parquet"))
    assert len(counts) == 2
    times = [path.stat().st_mtime_ns for path in counts]
    planned(tmp_path / "p", [exports["video"]], steps=5, **SMALLER)
    assert [path.stat().st_mtime_ns for path in counts] == times


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"epochs": 0.0}, {"global_batch": 0}, {"seq_len": 2}, {"full": 1.5}]
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ValueError):
        PlanSettings(**{"seq_len": 512, "global_batch": 1, **bad})


def test_too_little_for_one_step_is_told(exports, tmp_path):
    with pytest.raises(CorpusError, match="fewer than one step"):
        planned(tmp_path / "p", [exports["gui"]], seq_len=4096, global_batch=64)
    assert not (tmp_path / "p" / "plan.json").exists()


def test_a_corpus_that_is_no_export_is_told(tmp_path):
    with pytest.raises(CorpusError, match=r"no manifest\.json"):
        planned(tmp_path / "p", [tmp_path], seq_len=512, global_batch=1)


def test_no_sample_that_fits_is_told(tmp_path):
    folder = write_export(tmp_path / "e", "ocr", [([text_segment("a " * 900, loss=True)], [])])
    with pytest.raises(CorpusError, match="no sample fits"):
        planned(tmp_path / "p", [folder], seq_len=128, global_batch=1)


def test_the_plan_names_its_hash_and_not_where_it_lies(exports, tmp_path):
    plan = planned(tmp_path / "p", [exports["gui"]], steps=3, **SMALLER)
    told = json.loads((tmp_path / "p" / "plan.json").read_text())
    assert told["plan_hash"] == plan.plan_hash
    assert np.isfinite(told["cost"])
