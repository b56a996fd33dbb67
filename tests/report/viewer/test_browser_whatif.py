"""Lines that are dragged, in a real browser at 1280 x 800: what is drawn, seen and copied."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.cli.main import main
from tests.pipeline.corpora import ledger, write_pairs
from tests.report.viewer.browsing import (
    IN_CHROMIUM,
    chromium,
    grave_faults,
    open_page,
    opened,
    serving,
    shot,
    texts,
)
from tests.report.viewer.scored import decided_again, scored_corpus

TOP, SIDE = "clip_select.not_in_top_fraction", "heuristics.min_side"
SHARE = 0.6

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return scored_corpus(tmp_path_factory.mktemp("whatif"), top_fraction=SHARE)


@pytest.fixture(scope="module")
def off(tmp_path_factory) -> Path:
    return scored_corpus(tmp_path_factory.mktemp("off"), off="<b>it cannot judge</b> this corpus")


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """Measured and not decided."""
    folder = tmp_path_factory.mktemp("bare")
    source = write_pairs(folder / "source", 8)
    assert main(["ingest", str(source), "--out", str(folder / "corpus"), "--workers", "0"]) == 0
    assert main(["measure", "image_probe", str(folder / "corpus"), "--workers", "0"]) == 0
    return folder / "corpus"


@pytest.fixture(scope="module")
def address(out, off) -> Iterator[str]:
    with serving(str(out), "--against", str(off)) as found:
        yield found


@pytest.fixture(scope="module")
def browser(out, off, bare) -> Iterator[Any]:
    with chromium() as made:
        yield made


def drag(page: Any, rule: str, by: float) -> None:
    knob = page.locator(f".threshold[data-rule='{rule}'] .knob")
    knob.wait_for()
    box = knob.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(x + by * step / 8, y)
    page.mouse.up()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def figure(page: Any, name: str) -> int:
    (text,) = texts(page, f"[data-figure='{name}']")
    return int(text.replace(",", ""))


def flags(page: Any) -> list[str]:
    (text,) = texts(page, "#flags")
    return text.split("--set ")[1:]


def test_a_top_fraction_is_dragged_and_its_flag_keeps_what_is_said(page, out, tmp_path):
    open_page(page, "whatif?measure=clip_score")
    page.wait_for_selector(f".threshold[data-rule='{TOP}'].chosen")
    before = figure(page, "kept, all together")
    assert page.get_by_role("spinbutton", name=TOP).input_value() == str(SHARE)
    label = page.locator(f".threshold[data-rule='{TOP}'] .label")
    assert label.text_content().startswith("top 60%, ≥ 0.99")
    drag(page, TOP, -320)
    (flag,) = flags(page)
    assert re.fullmatch(r"clip_select\.top_fraction=0\.\d+", flag.strip())
    now = figure(page, "kept, all together")
    assert now > before
    again = decided_again(out, tmp_path / "again", flag.strip(), top_fraction=SHARE)
    kept = np.array(ledger(again)["status"].to_pylist()) == "kept"
    assert kept.sum() == now
    shot(page, "whatif-top-fraction", whole=False)
    assert grave_faults(page) == []
    page.reload()
    page.wait_for_selector("#flags:visible")
    page.wait_for_selector(f"[data-figure='kept, all together']:text-is('{now}')")
    assert flags(page) == [flag]
    share = float(flag.partition("=")[2])
    assert f"top {100 * share:.4g}%" in label.text_content()


def test_both_lines_moved_are_decided_as_they_say(page, out, tmp_path):
    open_page(page, "whatif?measure=min_side")
    drag(page, SIDE, 200)
    page.get_by_role("link", name="clip score").click()
    drag(page, TOP, -200)
    both = [flag.strip() for flag in flags(page)]
    assert [flag.partition("=")[0] for flag in both] == [
        "heuristics.min_side", "clip_select.top_fraction",
    ]  # fmt: skip
    again = decided_again(out, tmp_path / "again", *both, top_fraction=SHARE)
    kept = np.array(ledger(again)["status"].to_pylist()) == "kept"
    assert figure(page, "kept, all together") == kept.sum()


def test_a_share_is_typed_and_a_number_that_is_none_changes_nothing(page):
    open_page(page, "whatif?measure=clip_score")
    field = page.get_by_role("spinbutton", name=TOP)
    field.fill("0.25")
    page.wait_for_selector("#flags:text('top_fraction=0.25')")
    field.fill("1.5")
    page.wait_for_timeout(200)
    assert flags(page) == ["clip_select.top_fraction=0.25"]
    page.get_by_role("button", name="recipe: 0.6").click()
    page.wait_for_selector("#flags", state="hidden")


@pytest.mark.parametrize(
    ("measure", "rule", "by"), [("min_side", SIDE, 150), ("clip_score", TOP, -90)]
)
def test_the_strips_of_a_moved_line_are_seen_at_once(browser, address, measure, rule, by):
    with opened(browser, address, width=1280, height=800) as page:
        open_page(page, f"whatif?measure={measure}")
        page.wait_for_selector(".strips .tile")
        drag(page, rule, by)
        for strip in page.locator(".strips .strip").all():
            box = strip.bounding_box()
            assert box["y"] > 58
            assert box["y"] + box["height"] <= 800
            tile = strip.locator("a.tile").first
            middle = tile.evaluate(
                """(tile) => {
                    const box = tile.getBoundingClientRect();
                    const points = [[0.5, 0.1], [0.5, 0.5], [0.5, 0.95]];
                    return points.every(([x, y]) => tile.contains(
                        document.elementFromPoint(box.x + x * box.width, box.y + y * box.height)));
                }"""
            )
            assert middle, "something lies over the strip"
        values = page.locator(".strips .verdict")
        assert values.evaluate_all("all => all.every((one) => one.scrollWidth <= one.clientWidth)")
        svg = page.locator("svg.histogram").bounding_box()
        assert svg["y"] >= 58
        shot(page, f"whatif-strips-{measure}", whole=False)


def test_counts_have_an_axis_that_follows_the_logarithm(page):
    open_page(page, "whatif?measure=clip_score")
    page.wait_for_selector(".axis.counts text")
    plain = texts_of(page, ".axis.counts text")
    assert plain[0] == "0"
    assert plain[-1] == "samples"
    counts = page.request.get("/api/histogram?measure=clip_score").json()["counts"]
    assert int(plain[-2]) <= max(counts) < 2 * int(plain[-2])
    page.get_by_label("log counts").check()
    steep = texts_of(page, ".axis.counts text")
    assert steep == ["0", "1", "10", "samples"]


def texts_of(page: Any, selector: str) -> list[str]:
    """Also of what is drawn, which has no inner text."""
    found: list[str] = page.locator(selector).all_text_contents()
    return found


@pytest.mark.parametrize(
    ("value", "mark", "side"), [("5000", "≥ 5,000 ▸", 1), ("-700", "◂ ≥ -700", 0)]
)
def test_a_threshold_beyond_the_axis_stands_at_its_edge_and_comes_back(page, value, mark, side):
    open_page(page, f"whatif?measure=min_side&set={SIDE}:{value}")
    line = page.locator(f".threshold[data-rule='{SIDE}']")
    line.wait_for()
    assert line.locator(".label").text_content().strip() == mark
    base = page.locator(".histogram .axis:not(.counts) > line").first.bounding_box()
    bar = line.locator(".bar").bounding_box()
    edge = base["x"] + side * base["width"]
    assert bar["x"] + bar["width"] / 2 == pytest.approx(edge, abs=2)
    assert float(line.locator(".label").evaluate("(e) => getComputedStyle(e).opacity")) == 1
    shot(page, f"whatif-beyond-{side}", whole=False)
    drag(page, SIDE, 300 if side == 0 else -300)
    now = float(page.get_by_role("spinbutton", name=SIDE).input_value())
    assert 150 < now < 300
    assert "beyond" not in line.get_attribute("class")


def test_why_there_is_no_line_is_said(browser, page, bare):
    open_page(page, "whatif?of=b&measure=clip_score")
    page.wait_for_selector(".idle")
    assert texts(page, ".idle")[0] == (
        "clip_select is off: <b>it cannot judge</b> this corpus: "
        "it holds no threshold against this measure."
    )
    shot(page, "whatif-off", whole=False)
    with serving(str(bare)) as address, opened(browser, address) as undecided:
        open_page(undecided, "whatif")
        undecided.wait_for_selector(".idle")
        assert "Nothing is decided yet" in undecided.locator(".idle").inner_text()
        assert "curate decide" in undecided.locator(".lead").inner_text()
        shot(undecided, "whatif-undecided", whole=False)
