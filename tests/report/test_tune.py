"""Thresholds out of labels: the curve against a naive one, and the flags against the recipe."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.cli.main import main
from curation.core.errors import UsageError
from curation.io.corpus import open_corpus
from curation.report.labels import labels_here, read_labels
from curation.report.tune import plain_number, told, tune
from curation.report.tune_curve import Measured, curve_of, roundest
from tests.pipeline.corpora import curate, ledger, picture, plain_recipe, write_pairs

SIDES = (210, 240, 270, 300)

labelled = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([0.0, -1.0, 0.25, 200.0, math.nan, math.inf, -math.inf]),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)
kinds = st.sampled_from(["at_least", "at_most"])


def held(values: list[float], kind: str, *, drops_missing: bool = False) -> Measured:
    array = np.array(values, np.float64)
    fails = np.isnan(array) & drops_missing
    return Measured(values=array, kind=kind, unmeasured=fails)


def naive(samples, kind, threshold, *, drops_missing):
    """Keeps and drops that pass, one sample at a time."""
    passing = {True: 0, False: 0}
    for value, keep in samples:
        if math.isnan(value):
            passes = not drops_missing
        else:
            passes = value >= threshold if kind == "at_least" else value <= threshold
        passing[keep] += passes
    return passing[True], passing[False]


@given(labelled, kinds, st.booleans())
@example([(0.25, True), (0.25, False), (math.nan, True)], "at_most", True)
def test_a_curve_is_what_counting_one_by_one_gives(samples, kind, drops_missing):
    samples = [*samples, (1.0, True)]  # recall is of something
    values, keeps = [v for v, _ in samples], np.array([k for _, k in samples])
    curve = curve_of(held(values, kind, drops_missing=drops_missing), keeps)
    finite = sorted({v for v in values if math.isfinite(v)}, reverse=kind == "at_most")
    assert [point.threshold for point in curve.points] == finite
    scores = []
    for point in curve.points:
        good, bad = naive(samples, kind, point.threshold, drops_missing=drops_missing)
        assert (point.keeps, point.drops) == (good, bad)
        assert point.precision == (good / (good + bad) if good + bad else None)
        assert point.recall == good / keeps.sum()
        if good:
            harmonic = 2 / (1 / point.precision + 1 / point.recall)
            assert point.f1 == pytest.approx(harmonic)
        else:
            assert point.f1 == 0
        scores.append(point.f1)
    best = curve.best()
    assert curve.points.index(best) == scores.index(max(scores))  # of equals the loosest
    assert sorted(scores)[-1] == best.f1


@given(labelled, kinds)
@example([(0.30000001192092896, True), (0.2999, False)], "at_least")
@example([(-0.95, True)], "at_least")
def test_a_round_threshold_splits_as_the_exact_one_and_reads_back(samples, kind):
    measured = held([v for v, _ in samples], kind)
    for limit in {v for v, _ in samples if math.isfinite(v)}:
        rounded = roundest(measured, limit)
        assert (measured.passes(rounded) == measured.passes(limit)).all()
        assert float(plain_number(rounded)) == rounded
        assert rounded <= limit if kind == "at_least" else rounded >= limit


@pytest.mark.parametrize(
    ("kind", "values", "limit", "said"),
    [
        ("at_least", [0.29, 0.3125, 0.4], 0.3125, 0.3),
        ("at_least", [0.3121, 0.3125], 0.3125, 0.3125),
        ("at_least", [199, 237, 300], 237, 200),
        ("at_most", [199, 237, 300], 237, 240),
        ("at_most", [0, 1], 0, 0),
    ],
)
def test_thresholds_are_as_round_as_the_labels_allow(kind, values, limit, said):
    assert roundest(held(values, kind), limit) == said


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """24 pairs with shorter sides of 210, 240, 270, 300 in turn; the last one has no picture."""
    folder = tmp_path_factory.mktemp("tune")
    source = write_pairs(folder / "source", 24)
    for n in range(24):
        side = SIDES[n % 4]
        picture(n, (side + 40, side)).save(source / "images" / f"{n}.jpg", quality=85)
    (source / "images" / "23.jpg").unlink()
    curate(source, folder / "out", shard_samples=7)
    return folder / "out"


def write_labels(out: Path, file: Path, lowest: int = 270) -> Path:
    """Keeps what is at least `lowest` pixels high."""
    lines = [
        {
            "uid": row["uid"], "shard": row["shard"], "row": row["row"], "corpus": "0" * 64,
            "label": "keep" if SIDES[n % 4] >= lowest else "drop",
        }
        for n, row in enumerate(ledger(open_corpus(str(out))).to_pylist())
    ]  # fmt: skip
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def test_the_suggestion_is_where_the_labels_part(out, tmp_path):
    found = tune(open_corpus(str(out)), read_labels(str(write_labels(out, tmp_path / "l.jsonl"))))
    assert (found.keeps, found.drops, found.strangers) == (11, 12, 1)
    fit = next(fit for fit in found.fits if fit.name == "heuristics.min_side")
    assert (fit.now.threshold, fit.now.keeps, fit.now.drops) == (200, 11, 12)
    assert (fit.now.precision, fit.now.recall) == (11 / 23, 1)
    assert (fit.suggested.keeps, fit.suggested.drops, fit.suggested.f1) == (11, 0, 1)
    assert 240 < fit.suggested.threshold <= 270
    assert fit.moved == 12
    unchanged = [fit for fit in found.fits if fit.column in ("email_count", "placeholder")]
    assert len(unchanged) == 2
    assert all(fit.flag == "" and fit.suggested == fit.now for fit in unchanged)


def test_the_flags_make_the_recipe_keep_what_is_said(out, tmp_path, capsys):
    labels = write_labels(out, tmp_path / "l.jsonl")
    assert main(["tune", str(out), "--labels", str(labels), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["flags"][::2] == ["--set"] * (len(said["flags"]) // 2)
    settings = said["flags"][1::2]
    assert settings == [each["set"] for each in said["thresholds"] if each["set"]]
    assert any(setting.startswith("heuristics.min_side=") for setting in settings)
    changed = plain_recipe().with_settings(settings)
    rules = {rule.reason: rule.threshold for step in changed.stages if step.name == "heuristics"
             for rule in step.rules}  # fmt: skip
    for each in said["thresholds"]:
        assert rules[each["name"].partition(".")[2]] == each["suggested"]["threshold"]
    curate(out.parent / "source", tmp_path / "again", *settings, shard_samples=7)
    again = open_corpus(str(tmp_path / "again")).manifest.totals.kept
    assert said["kept"] == {"now": 23, "suggested": again}
    assert again <= 11


def test_the_terminal_has_a_line_a_threshold_and_the_command(out, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    labels = write_labels(out, tmp_path / "l.jsonl")
    assert main(["tune", str(out), "--labels", str(labels)]) == 0
    said = capsys.readouterr().out
    assert "11 labelled keep, 12 labelled drop" in said
    assert "not used: 1 label of no readable sample of this corpus" in said
    assert f"curate decide {out} --set" in said
    assert main(["tune", str(out), "--labels", str(labels), "--curve", "heuristics.min_side"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if "≥" in line] == ["210", "240", "270", "300"]
    assert [line.split()[2] for line in lines if "best" in line] == ["270"]
    assert main(["tune", str(out), "--labels", str(labels), "--curve", "none.such"]) == 2


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """24 pairs as above, of which every fifth has a caption that is too short, or small size."""
    folder = tmp_path_factory.mktemp("two")
    source = write_pairs(folder / "source", 24)
    lines = [json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()]
    for n in range(24):
        side = SIDES[n % 4]
        picture(n, (side + 40, side)).save(source / "images" / f"{n}.jpg", quality=85)
        if n % 5 == 0:
            lines[n]["text"] = f"sea of {n}"
    (source / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curate(source, folder / "out", "heuristics.min_side=230", "heuristics.short_caption=10")
    return folder / "out"


def as_said(out: Path, file: Path, keeps) -> Path:
    """Labels samples by what `keeps` says of their number and whether they are kept, or not."""
    with file.open("w") as lines:
        for n, row in enumerate(ledger(open_corpus(str(out))).to_pylist()):
            keep = keeps(n, row["status"] == "kept")
            if keep is not None:
                place = {name: row[name] for name in ("uid", "shard", "row")}
                lines.write(json.dumps({**place, "label": "keep" if keep else "drop"}) + "\n")
    return file


def test_labels_that_are_the_recipes_own_decisions_move_nothing(two, tmp_path, capsys):
    """Each rule alone lets through what the other drops, and is not tightened for it."""
    labels = as_said(two, tmp_path / "l.jsonl", lambda _, kept: kept)
    found = tune(open_corpus(str(two)), read_labels(str(labels)))
    assert found.drops > 6
    assert {fit.now.f1 < 1 for fit in found.fits} == {True}
    assert any(fit.curve.best().f1 > fit.now.f1 for fit in found.fits if fit.curve.points)
    assert (found.flags, found.together_now, found.kept) == ([], found.together, found.kept_now)
    assert found.together.f1 == 1
    assert main(["tune", str(two), "--labels", str(labels)]) == 0
    said = capsys.readouterr().out
    assert "curate decide" not in said
    assert "the recipe already decides as the labels do" in said


def test_two_thresholds_that_stand_against_the_same_samples_move_together(two, tmp_path):
    """0 and 20 are small and short. No sample that is one of both is labelled."""

    def wanted(n: int, kept: bool) -> bool | None:
        return n != 3 if kept else True if n in (0, 20) else None

    labels = read_labels(str(as_said(two, tmp_path / "l.jsonl", wanted)))
    found = tune(open_corpus(str(two)), labels)
    assert found.together.f1 > found.together_now.f1
    settings = found.flags[1::2]
    assert [each.partition("=")[0] for each in settings] == [
        "heuristics.min_side", "heuristics.short_caption",
    ]  # fmt: skip
    assert [fit.moved for fit in found.fits if fit.flag] == [2, 2]
    curate(two.parent / "source", tmp_path / "again", *settings)
    rows = ledger(open_corpus(str(tmp_path / "again"))).to_pylist()
    kept = {(row["shard"], row["row"]) for row in rows if row["status"] == "kept"}
    assert found.kept == len(kept)
    good = sum(label.keep for place, label in labels.items() if place in kept)
    wrong = sum(not label.keep for place, label in labels.items() if place in kept)
    assert found.together.f1 == 2 * good / (good + wrong + found.keeps)


def test_where_nothing_does_better_it_is_said_and_what_was_tried(two, tmp_path, capsys):
    """0 is wanted, and by its measures it is like 5 others that are not."""
    labels = as_said(two, tmp_path / "l.jsonl", lambda n, kept: kept or n == 0)
    assert main(["tune", str(two), "--labels", str(labels)]) == 0
    said = capsys.readouterr().out
    assert "no threshold does better than the recipe's own" in said
    assert "no other moves of several at once" in said
    assert "curate decide" not in said


def test_a_label_holds_only_where_its_uid_is(out, tmp_path):
    labels = read_labels(str(write_labels(out, tmp_path / "l.jsonl")))
    corpus = open_corpus(str(out))
    assert labels_here(corpus, labels) == labels
    (first, one), (second, two), *_ = labels.items()
    swapped = {first: two, second: one, (99, 0): one, (0, 7_000): one, (0, -1): one}
    assert labels_here(corpus, swapped) == {}


@pytest.mark.parametrize(
    "line",
    [
        b"no json", b"[1, 2]", b"\xff\xfe", b"[" * 60_000, b'{"a": "' + b"x" * 70_000 + b'"}',
        b'{"uid": "a", "shard": 0, "row": 0, "label": "maybe"}',
        b'{"uid": "a", "shard": true, "row": 0, "label": "keep"}',
        b'{"uid": "a", "shard": 0, "row": 0.5, "label": "keep"}',
        b'{"uid": 7, "shard": 0, "row": 0, "label": "keep"}',
        b'{"uid": "a", "shard": 0, "row": 0, "label": ["keep"]}',
        b'{"uid": "a", "shard": 0, "row": 0, "label": "drop"}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_label_is_named(line, tmp_path):
    good = b'{"uid": "a", "shard": 0, "row": 0, "label": "keep", "who": "me"}\n'
    (tmp_path / "l.jsonl").write_bytes(good + b"\n" + good + line)
    with pytest.raises(UsageError, match="line 4"):
        read_labels(str(tmp_path / "l.jsonl"))


def test_labels_without_a_place_are_refused_in_one_line(out, tmp_path, capsys):
    file = tmp_path / "old.jsonl"
    file.write_text(json.dumps({"uid": "0" * 32, "label": "keep"}) + "\n")
    assert main(["tune", str(out), "--labels", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"curate: {file}, line 1: no shard and row; twins share a uid")


def test_twins_may_be_labelled_apart(out, tmp_path):
    rows = ledger(open_corpus(str(out))).to_pylist()[:2]
    lines = [{"uid": "a" * 32, "shard": r["shard"], "row": r["row"], "label": label}
             for r, label in zip(rows, ("keep", "drop"), strict=True)]  # fmt: skip
    file = tmp_path / "l.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert [label.keep for label in read_labels(str(file)).values()] == [True, False]


def test_labels_of_one_kind_or_of_another_corpus_are_refused(out, tmp_path, capsys):
    file = tmp_path / "l.jsonl"
    write_labels(out, file, lowest=0)
    assert main(["tune", str(out), "--labels", str(file)]) == 2
    assert "23 keeps and 0 drops among the 24 labels" in capsys.readouterr().err
    file.write_text("")
    assert main(["tune", str(out), "--labels", str(file)]) == 2
    assert "0 keeps and 0 drops" in capsys.readouterr().err
    assert main(["tune", str(out), "--labels", str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_an_undecided_corpus_has_no_thresholds(out, tmp_path, capsys):
    target = tmp_path / "corpus"
    main(["ingest", str(out.parent / "source"), "--out", str(target), "--workers", "0"])
    labels = write_labels(out, tmp_path / "l.jsonl")
    capsys.readouterr()
    assert main(["tune", str(target), "--labels", str(labels)]) == 2
    assert "nothing is decided yet" in capsys.readouterr().err


def test_what_is_told_is_json_without_nan(out, tmp_path):
    found = tune(open_corpus(str(out)), read_labels(str(write_labels(out, tmp_path / "l.jsonl"))))
    said = json.loads(json.dumps(told(found), allow_nan=False))
    assert said["together"]["now"]["threshold"] is None
    assert said["together"]["suggested"]["keeps"] <= said["labels"]["keep"]
