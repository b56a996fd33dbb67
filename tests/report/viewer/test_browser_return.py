"""Coming back, in a real browser: a page is found as it was left, at the tile that was opened.

And twins, which share a uid, are marked apart.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.io.corpus import open_corpus
from curation.report.labels import labels_here, read_labels
from tests.pipeline.corpora import curate, write_pairs
from tests.report.viewer.browsing import (
    IN_CHROMIUM,
    chromium,
    open_page,
    serving,
    shot,
    texts,
)
from tests.report.viewer.corpora import view_of

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def decided(tmp_path_factory) -> list[Path]:
    """One corpus, decided twice, the second time more strictly; 41 is 40 once more."""
    folder = tmp_path_factory.mktemp("decided")
    source = write_pairs(folder / "source", 60)
    shutil.copy(source / "images" / "40.jpg", source / "images" / "41.jpg")
    lines = [json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()]
    lines[41]["text"] = lines[40]["text"]
    (source / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curate(source, folder / "first", shard_samples=25)
    blur = view_of(folder / "first").store.number("blur").values
    stricter = f"heuristics.blur={np.median(blur)}"
    curate(source, folder / "again", stricter, shard_samples=25)
    return [folder / "first", folder / "again"]


@pytest.fixture(scope="module")
def address(decided) -> Iterator[str]:
    with serving(str(decided[0]), "--against", str(decided[1])) as found:
        yield found


@pytest.fixture(scope="module")
def browser(decided) -> Iterator[Any]:
    with chromium() as made:
        yield made


def focused(page: Any, at: int) -> Any:
    """The tile of a sample, once it has the focus."""
    tile = page.locator(f"a.tile[data-at='{at}']:focus")
    tile.wait_for()
    return tile


def in_sight(page: Any, tile: Any) -> bool:
    box = tile.bounding_box()
    return box["y"] >= 58 and box["y"] + box["height"] <= page.viewport_size["height"]


def scrolled(page: Any) -> float:
    return page.evaluate("scrollY")


def far_down(page: Any, address: str, at: int, pixels: int = 1130) -> tuple[Any, float]:
    """Scrolls a gallery by the wheel until the tile is there; the tile, and how far that is."""
    open_page(page, address)
    page.wait_for_selector("a.tile")
    page.mouse.move(600, 500)
    page.mouse.wheel(0, pixels)
    page.wait_for_timeout(400)
    tile = page.locator(f"a.tile[data-at='{at}']")
    tile.wait_for()
    assert scrolled(page) > 1000
    return tile, scrolled(page)


@pytest.mark.parametrize("way", ["Escape", "back", "link"])
def test_a_gallery_is_found_as_it_was_left(page, way):
    chosen = "gallery?status=kept&order=-blur"
    order = page.request.get("/api/samples?status=kept&order=-blur&limit=60").json()["tiles"]
    at = order[22]["at"]
    tile, before = far_down(page, chosen, at)
    tile.click()
    page.wait_for_selector(".stepper")
    assert scrolled(page) == 0
    if way == "Escape":
        page.keyboard.press("Escape")
    elif way == "back":
        page.go_back()
    else:
        page.locator(".stepper .back").click()
    tile = focused(page, at)
    assert page.url.endswith(f"#/{chosen}")
    assert scrolled(page) == pytest.approx(before, abs=2)
    assert in_sight(page, tile)
    assert texts(page, ".total") == ["59 samples"]
    shot(page, f"gallery-again-{way}", whole=False)
    page.keyboard.press("j")  # goes on from there
    focused(page, order[23]["at"])


def test_who_stepped_on_comes_back_at_the_last_one_in_one_go(page):
    tile, before = far_down(page, "gallery", 22)
    tile.click()
    page.wait_for_selector(".stepper:has-text('23 of 60')")
    for n in range(24, 28):
        page.keyboard.press("j")
        page.wait_for_selector(f".stepper:has-text('{n} of 60')")
    page.get_by_label("next sample").click()
    page.wait_for_selector(".stepper:has-text('28 of 60')")
    page.go_back()
    tile = focused(page, 27)
    assert page.url.endswith("#/gallery")
    assert in_sight(page, tile)
    assert abs(scrolled(page) - before) < 300


def test_an_address_of_a_sample_leads_to_the_gallery_around_it(page, browser, address):
    page.goto("about:blank")
    page.goto(f"{address}#/sample?status=kept&at=48")
    page.wait_for_selector(".stepper")
    page.keyboard.press("Escape")
    assert in_sight(page, focused(page, 48))
    assert "#/gallery?status=kept" in page.url


def test_a_reload_keeps_the_place(page):
    tile, before = far_down(page, "gallery", 22)
    tile.click()
    page.wait_for_selector(".stepper")
    page.reload()
    page.wait_for_selector(".stepper")
    page.keyboard.press("Escape")
    focused(page, 22)
    assert scrolled(page) == pytest.approx(before, abs=2)


def test_a_strip_is_stepped_through_and_found_again(page):
    open_page(page, "whatif?measure=blur")
    page.wait_for_selector(".strips a.tile")
    tiles = page.locator(".strips .strip").last.locator("a.tile")
    strip = [int(at) for at in tiles.evaluate_all("all => all.map((one) => one.dataset.at)")]
    assert len(strip) == 16
    tiles.nth(1).scroll_into_view_if_needed()
    tiles.nth(1).click()
    page.wait_for_selector(".stepper:has-text('2 of 16')")
    assert page.locator(".stepper .back").inner_text() == "← What if"
    for n in range(3, 13):
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(f".stepper:has-text('{n} of 16')")
    assert f"at={strip[11]}" in page.url
    page.keyboard.press("Escape")
    tile = focused(page, strip[11])
    assert "#/whatif?measure=blur" in page.url
    box = tile.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]


def test_back_through_twins_leads_back_step_by_step(page):
    tile, before = far_down(page, "gallery?order=", 40, 2000)
    tile.click()
    strip = page.locator("section:has-text('Its duplicates')")
    strip.locator("a.tile[data-at='41']").click()
    page.wait_for_url("**at=41")
    page.wait_for_selector(".stepper:has-text('2 of 2')")
    assert page.locator(".stepper .back").inner_text() == "← Sample"
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".stepper:has-text('1 of 2')")
    strip.locator("a.tile[data-at='40']").click()  # another entry with the same address
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".stepper:has-text('2 of 2')")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".stepper:has-text('1 of 2')")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    page.keyboard.press("k")  # keys still reach the page
    page.wait_for_selector(".mark-keep[aria-pressed='true']")
    for _ in range(2):
        page.keyboard.press("Escape")
        page.wait_for_timeout(300)
    focused(page, 40)
    assert "#/gallery?order=" in page.url
    assert scrolled(page) == pytest.approx(before, abs=2)


@pytest.mark.parametrize("way", ["Escape", "back"])
def test_compare_is_found_as_it_was_left(page, way):
    open_page(page, "compare")
    page.locator(".move summary").first.click()
    tile = page.locator(".move a.tile").nth(6)
    tile.wait_for()
    at = int(tile.get_attribute("data-at"))
    tile.click()
    page.wait_for_selector(".stepper")
    assert page.locator(".stepper .back").inner_text() == "← Compare"
    assert page.locator(".stepper .soft").inner_text().startswith("7 of ")
    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.go_back()
    tile = focused(page, at)
    assert page.locator(".move[open]").count() == 1
    box = tile.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]


def test_twins_are_marked_apart_and_so_read_by_tune(page, decided, tmp_path):
    tiles = page.request.get("/api/samples?limit=60").json()["tiles"]
    assert tiles[40]["uid"] == tiles[41]["uid"]
    for at, label in ((40, "keep"), (41, "drop")):
        open_page(page, f"sample?at={at}")
        page.locator(f".mark-{label}").click()
        page.wait_for_selector(f".mark-{label}[aria-pressed='true']")
    open_page(page, "sample?at=40")
    page.wait_for_selector(".mark-keep[aria-pressed='true']")
    strip = page.locator("section:has-text('Its duplicates') a.tile")
    strip.first.wait_for()
    marks = strip.evaluate_all("all => all.map((t) => `${t.dataset.at} ${t.dataset.opinion}`)")
    assert set(marks) == {"40 keep", "41 drop"}
    page.get_by_role("button", name="2 labels", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save 2 labels").click()
    file = tmp_path / "labels.jsonl"
    shutil.copy(waiting.value.path(), file)
    labels = read_labels(str(file))
    assert {place: label.keep for place, label in labels.items()} == {(1, 15): True, (1, 16): False}
    assert labels_here(open_corpus(str(decided[0])), labels) == labels
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Clear 2 labels for good").click()
    page.locator("dialog input[type=file]").set_input_files(file)
    page.wait_for_selector("dialog :text('1 keep, 1 drop')")


def test_marks_that_were_kept_by_uid_are_taken_over(page):
    corpus = page.request.get("/api/overview").json()["corpus"]
    tile = page.request.get("/api/samples?limit=60").json()["tiles"][41]
    old = {tile["uid"]: {"shard": tile["shard"], "row": tile["row"], "label": "drop"}}
    page.evaluate(
        "([key, text]) => localStorage.setItem(key, text)", [f"marks:{corpus}", json.dumps(old)]
    )
    page.reload()
    page.wait_for_selector("#labels:text('1 label')")
    open_page(page, "sample?at=41")
    page.wait_for_selector(".mark-drop[aria-pressed='true']")
    open_page(page, "sample?at=40")
    page.wait_for_selector(".mark-drop[aria-pressed='false']")
    assert page.evaluate("(key) => localStorage.getItem(key)", f"marks:{corpus}") is None
