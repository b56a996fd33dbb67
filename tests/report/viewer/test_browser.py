"""The viewer in a real browser, as somebody uses it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

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
from tests.report.viewer.corpora import LONG, TOLD, hostile_corpus, recaptioned_corpus
from tests.report.viewer.families import family_run

PAGES = ("funnel", "gallery", "whatif", "whatif?set=heuristics.min_side:1e99", "concepts",
         "duplicates", "compare", "sample?at=4", "sample?at=2")  # fmt: skip

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return recaptioned_corpus(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def looser(tmp_path_factory) -> Path:
    """The same samples, decided with a looser rule over sizes, which 4 passes."""
    return hostile_corpus(tmp_path_factory.mktemp("looser"), "heuristics.min_side=150")


@pytest.fixture(scope="module")
def address(out, looser) -> Iterator[str]:
    with serving(str(out), "--against", str(looser)) as found:
        yield found


@pytest.fixture(scope="module")
def grounded(tmp_path_factory) -> Iterator[str]:
    """A viewer of samples with boxes."""
    with serving(str(family_run(tmp_path_factory.mktemp("grounded"), "grounding"))) as found:
        yield found


@pytest.fixture(scope="module")
def filmed(tmp_path_factory) -> Iterator[str]:
    """A viewer of videos."""
    with serving(str(family_run(tmp_path_factory.mktemp("filmed"), "video"))) as found:
        yield found


@pytest.fixture(scope="module")
def browser(out, looser) -> Iterator[Any]:
    """Started after `out` is made: recaptioning wants an event loop of its own."""
    with chromium() as made:
        yield made


def test_a_reason_of_the_funnel_leads_to_its_samples(page):
    assert page.locator("h1").inner_text() == "13 of 16 samples kept"
    shot(page, "funnel")
    page.get_by_role("link", name="min side").click()
    page.wait_for_selector("a.tile")
    assert texts(page, ".total") == ["1 sample"]
    assert "180 < 200" in page.locator("a.tile").inner_text()


def test_a_threshold_that_is_dragged_recounts_as_duckdb_does(page, out):
    open_page(page, "whatif?measure=min_side")
    line = page.locator(".threshold[data-rule='heuristics.min_side']")
    line.wait_for()
    knob = line.locator(".knob").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(x + 22 * step, y)
    page.mouse.up()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)
    threshold = float(page.locator("input[data-rule='heuristics.min_side']").input_value())
    assert threshold > 205
    files = str(out / "corpus" / "layers" / "image_probe-*" / "*.parquet")
    query = "SELECT count(*) FROM read_parquet($1) WHERE min_side < $2"
    (fails,) = duckdb.execute(query, [files, threshold]).fetchone()
    assert texts(page, "[data-figure='break this rule']") == [str(fails)]
    assert texts(page, "#flags") == [f"--set heuristics.min_side={threshold:g}"]
    shot(page, "whatif")
    page.keyboard.press("Escape")
    line.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert float(page.locator("input[data-rule='heuristics.min_side']").input_value()) < threshold


def test_hostile_captions_are_text_and_nothing_else(page):
    open_page(page, "gallery")
    page.wait_for_selector("a.tile")
    assert "<script>window.hacked" in page.locator("a.tile[data-at='1']").inner_text()
    shot(page, "gallery")
    open_page(page, "sample?at=1")
    assert "<img src=x onerror=" in page.locator(".caption .text").inner_text()
    open_page(page, "sample?at=2")
    turned = page.locator(".caption .text .strange")
    assert "U+202E" in turned.inner_text()
    assert "\u202e" not in turned.inner_text()
    assert turned.get_attribute("dir") == "auto"
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img[src='x']").count() == 0


def test_a_megabyte_is_cut_until_it_is_asked_for(page):
    open_page(page, "sample?at=3")
    text = page.locator(".caption .text")
    assert len(text.inner_text()) < 2100
    page.get_by_role("button", name=f"Show all {len(LONG):,} characters").click()
    page.locator(".caption .text.long").wait_for()
    assert text.evaluate("text => text.textContent.length") == len(LONG)
    box = text.bounding_box()
    assert box["height"] <= 301
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_search_by_keys_alone(page):
    page.keyboard.press("/")
    page.wait_for_selector("#search:focus")
    page.keyboard.type("red barn")
    page.keyboard.press("Enter")
    page.wait_for_selector(".chip")
    page.wait_for_selector("a.tile")
    assert texts(page, ".total") == ["1 sample"]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stepper")
    assert "1 of 1" in page.locator(".stepper").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_selector("a.tile")
    assert "#/gallery?text=red+barn" in page.url


def test_opinions_by_keys_become_a_labels_file(page):
    open_page(page, "sample?status=kept&at=0")
    page.keyboard.press("k")
    page.wait_for_selector(".mark-keep[aria-pressed='true']")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**at=1")
    page.wait_for_selector(".mark-drop")
    page.keyboard.press("d")
    page.wait_for_selector(".mark-drop[aria-pressed='true']")
    shot(page, "sample")
    page.get_by_role("button", name="2 labels", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save 2 labels").click()
    lines = Path(waiting.value.path()).read_text().splitlines()
    said = [json.loads(line) for line in lines]
    assert {(row["shard"], row["row"], row["label"]) for row in said} == {
        (0, 0, "keep"), (0, 1, "drop"),
    }  # fmt: skip
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("d")
    page.wait_for_selector(".mark-drop[aria-pressed='false']")
    assert page.get_by_role("button", name="1 label", exact=True).is_visible()


def test_arrows_walk_the_gallery(page):
    open_page(page, "gallery")
    page.wait_for_selector("a.tile[data-at='6']")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    columns = int(
        page.evaluate("Math.floor((document.querySelector('.grid').clientWidth + 16) / 224)")
    )
    assert page.evaluate("document.activeElement.dataset.at") == str(columns)
    page.keyboard.press("j")
    page.keyboard.press("Shift+J")
    assert page.evaluate("document.activeElement.dataset.at") == str(columns)
    page.keyboard.press("k")
    page.wait_for_selector(f"a.tile[data-at='{columns}'][data-opinion='keep']")
    page.keyboard.press("d")
    page.wait_for_selector(f"a.tile[data-at='{columns}'][data-opinion='drop']")


def test_an_opinion_in_the_gallery_is_about_a_sample_that_was_chosen(page):
    open_page(page, "gallery")
    page.wait_for_selector("a.tile[data-at='0']")
    page.keyboard.press("k")
    page.wait_for_selector(".cell.focus a.tile[data-at='0']")
    assert page.locator("a.tile[data-opinion='keep']").count() == 0
    page.keyboard.press("k")
    page.wait_for_selector("a.tile[data-at='0'][data-opinion='keep']")


def test_a_training_sample_is_shown_in_tokens_and_what_is_learnt_of_it(page):
    open_page(page, "sample?at=1")
    page.wait_for_selector(".part.learnt .token.learnt")
    learnt = "".join(page.locator(".part.learnt .tokens").all_text_contents())
    assert learnt.startswith("<script>window.hacked")
    assert learnt.endswith("<|endoftext|>")
    assert page.locator(".part:not(.learnt) .tokens").nth(1).text_content().startswith("<|begin_of")
    count = int(page.locator(".counts b").nth(1).inner_text().replace(",", ""))
    assert count == page.locator(".token.learnt").count() - 1  # one explains the colour
    assert page.evaluate("window.hacked") is None
    shot(page, "sample-kept")


def test_a_new_caption_stands_beside_the_original_with_what_differs(page):
    open_page(page, "sample?at=2")
    page.wait_for_selector(".captions .side-new")
    new = page.locator(".side-new .text")
    assert new.text_content() == TOLD.replace("\u202e", "")  # no answer keeps one
    assert "Lisbon" in texts(page, ".side-new .fact.no")
    assert "by the sea" not in "".join(page.locator(".side-new ins").all_text_contents())
    assert "talk" in page.locator(".sentences").inner_text()
    chosen = page.locator(".captions .choice").inner_text()
    assert "was chosen" in chosen
    assert "goes on" not in page.locator(".captions").inner_text()  # the export took originals
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img[src='x']").count() == 0
    shot(page, "sample-recaptioned")


def test_boxes_lie_over_the_picture_and_their_phrases_point_at_them(browser, grounded):
    with opened(browser, grounded) as page:
        open_page(page, "sample?at=2")
        page.wait_for_selector(".over rect")
        said = page.request.get("/api/sample?at=2").json()
        boxes = said["blocks"][0]["boxes"]
        image = page.locator(".frame img").bounding_box()
        for box in boxes:
            x1, y1, x2, y2 = (side / 999 for side in box["box"])
            drawn = page.locator(f"g[data-box='{box['n']}'] .line").bounding_box()
            assert drawn["x"] == pytest.approx(image["x"] + x1 * image["width"], abs=2)
            assert drawn["y"] == pytest.approx(image["y"] + y1 * image["height"], abs=2)
            assert drawn["width"] == pytest.approx((x2 - x1) * image["width"], abs=3)
            assert drawn["height"] == pytest.approx((y2 - y1) * image["height"], abs=3)
        page.locator(".boxchip").first.hover()
        assert page.locator("g.lit").get_attribute("data-box") == "1"
        shot(page, "sample-grounding")


def test_frames_of_a_video_are_drawn_with_their_times(browser, filmed):
    with opened(browser, filmed, width=360) as page:
        open_page(page, "sample?at=1")
        page.locator(".frames figure img").first.wait_for()
        times = page.request.get("/api/frames?at=1").json()["times"]
        assert texts(page, ".frames figcaption") == [f"{t:.4g} s" for t in times]
        page.wait_for_load_state("networkidle")
        wide = page.locator(".frames img").evaluate_all("all => all.map((i) => i.naturalWidth)")
        assert wide == [64] * len(times)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert grave_faults(page) == []
        shot(page, "sample-video")
        open_page(page, "gallery")
        first = page.locator("a.tile img").first
        assert first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 64
        shot(page, "gallery-video")


def test_no_page_is_wider_than_a_telephone(browser, address):
    with opened(browser, address, width=360) as page:
        for name in (*PAGES, "gallery?text=sea&range=min_side:1:9999"):
            open_page(page, name)
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name


def test_every_other_page_shows_what_it_is_for(page):
    open_page(page, "duplicates")
    page.wait_for_selector(".group")
    assert texts(page, ".group .head .tag") == ["stays"]
    shot(page, "duplicates")
    open_page(page, "concepts")
    page.wait_for_selector("svg.ranks")
    shot(page, "concepts")
    open_page(page, "compare")
    page.wait_for_selector(".panel")
    assert "15 samples have the same fate, 1 another" in page.locator(".lead").inner_text()
    changed = page.locator("tr", has=page.locator("th", has_text="min_side")).locator("td")
    assert changed.all_inner_texts() == ["200", "150"]
    move = page.locator(".move summary")
    assert move.inner_text().split("\n") == ["1", "dropped by heuristics min side", "→", "kept"]
    move.click()
    page.wait_for_selector(".move a.tile[data-at='4']")
    assert page.locator(".move a.tile").count() == 1
    shot(page, "compare")
    page.keyboard.press("?")
    assert page.locator("dialog.help").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_fault(page, theme):
    page.emulate_media(color_scheme=theme)
    for name in PAGES:
        open_page(page, name)
        page.wait_for_timeout(300)
        assert grave_faults(page) == [], name


def test_dark_is_a_choice_that_stays(page):
    page.get_by_role("button", name="light or dark").click()
    page.reload()
    page.wait_for_selector("h1")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
