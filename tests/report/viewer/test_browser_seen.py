"""What rests on embeddings, in a real browser: the map, searches by what is seen, groups of twins.

The corpus is drawn by the demo, whose small CLIP judges it; beside it stands one of noise, which
that CLIP cannot judge.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.cli.main import main
from curation.demo.generate import Plan, generate
from curation.engines.local import LocalEngine
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

PAGES = ("clusters", "clusters?of=b", "duplicates?stage=exact_dedup", "gallery?near=text:a+red+car",
         "gallery?of=b&near=at:3")  # fmt: skip
PLACED = "document.querySelector('.mapcard img')?.src.match(/at=(\\d+)/)?.[1] ?? null"
"""The position of the sample that the card beside the map shows."""
MEANS_LITTLE = "This CLIP cannot judge this corpus: what it finds near means little."

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """80 pairs of the demo, faults included, through the whole recipe."""
    folder = tmp_path_factory.mktemp("drawn")
    with LocalEngine(workers=0, memory="500MB") as engine:
        generate(folder, Plan(pairs=80), engine)
    run = ["run", "image-text", "--input", str(folder / "source"), "--out", str(folder / "out")]
    assert main([*run, "--workers", "0", "--shard-samples", "40"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def address(drawn, clip_run) -> Iterator[str]:
    with serving(str(drawn), "--against", str(clip_run)) as found:
        yield found


@pytest.fixture(scope="module")
def browser(drawn, clip_run) -> Iterator[Any]:
    with chromium() as made:
        yield made


def pixels(page: Any) -> np.ndarray:
    """The map as it is drawn."""
    box = page.locator("canvas.map")
    return np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("RGB"), np.int16)


def told(page: Any, path: str) -> Any:
    return page.request.get(f"/api/{path}").json()


def test_the_map_says_whether_near_means_anything(page):
    open_page(page, "clusters")
    assert "near ones often look alike" in page.locator(".lead").inner_text()
    assert page.locator(".caution").count() == 0
    open_page(page, "clusters?of=b")
    assert texts(page, ".caution") == [MEANS_LITTLE]
    assert "alike" not in page.locator(".lead").inner_text()
    shot(page, "clusters-means-little")
    open_page(page, "gallery?of=b&near=at:3")
    page.wait_for_selector("a.tile")
    assert texts(page, ".caution") == [MEANS_LITTLE]


def test_the_map_is_painted_anew_when_the_theme_turns(page):
    open_page(page, "clusters")
    light = pixels(page)
    shot(page, "clusters")
    page.get_by_role("button", name="light or dark").click()
    page.mouse.move(5, 890)
    page.wait_for_timeout(300)
    kept = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--kept')")
    rgb = np.array([int(kept.strip()[n : n + 2], 16) for n in (1, 3, 5)])
    panel = pixels(page)[3, 400]
    drawn = panel + 0.7 * (rgb - panel)  # as points are, seven tenths opaque
    near = (np.abs(pixels(page) - drawn) < 6).all(axis=2)
    assert near.sum() > 40
    assert not (np.abs(light - drawn) < 6).all(axis=2).any()
    shot(page, "clusters-dark")


def test_the_map_is_walked_by_keys(page):
    open_page(page, "clusters")
    said = told(page, "map")
    x, y = np.array(said["x"]), -np.array(said["y"])  # the page's y goes down
    x, y = (
        (v - v.min()) / (v.max() - v.min()) * size for v, size in ((x, 920 - 48), (y, 620 - 48))
    )
    page.locator("select[aria-label='layout'], select[aria-label='colour']").last.focus()
    page.keyboard.press("Tab")
    page.wait_for_selector(".mapcard img")
    first = said["at"].index(int(page.evaluate(PLACED)))
    assert first == np.argmin((x - 436) ** 2 + (y - 286) ** 2)
    page.keyboard.press("ArrowRight")
    right, down = x - x[first], y - y[first]
    there = (right > 0) & (np.abs(down) <= right)
    nearest = int(np.argmin(np.where(there, right**2 + down**2, np.inf)))
    page.wait_for_selector(f".mapcard img[src*='at={said['at'][nearest]}&']")
    card = page.locator(".mapcard")
    assert card.get_attribute("role") == "status"  # told aloud as it changes
    assert card.locator(".text").inner_text() != ""
    shot(page, "clusters-keys")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**sample?*at={said['at'][nearest]}")


def test_a_text_finds_what_is_seen(page):
    open_page(page, "gallery")
    page.locator("select[aria-label='search where']").select_option("near")
    page.keyboard.type("a red car")
    page.keyboard.press("Enter")
    page.wait_for_selector(".chip")
    page.wait_for_selector("a.tile[data-at]", timeout=120_000)  # the first time loads the model
    found = told(page, "samples?near=text:a red car")["tiles"]
    shown = page.locator("a.tile").evaluate_all("all => all.map((one) => one.dataset.at)")
    assert shown[:5] == [str(tile["at"]) for tile in found[:5]]
    assert shown[:5] != [str(tile["at"]) for tile in told(page, "samples")["tiles"][:5]]
    shot(page, "gallery-text")


def test_a_picture_that_is_dropped_finds_itself(page):
    wanted = told(page, "samples?status=kept")["tiles"][2]["at"]
    data = page.request.get(f"/image?at={wanted}&side=1200").body()
    open_page(page, "gallery")
    page.wait_for_selector("a.tile")
    given = page.evaluate_handle(
        """(bytes) => {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(bytes)], "mine.jpg", { type: "image/jpeg" }));
            return held;
        }""",
        list(data),
    )
    page.dispatch_event(".page-gallery", "dragover", {"dataTransfer": given})
    page.wait_for_selector(".receiving")
    page.dispatch_event(".page-gallery", "drop", {"dataTransfer": given})
    page.wait_for_selector(".chip:has-text('your picture')", timeout=120_000)
    page.wait_for_selector(f".cell:first-child a.tile[data-at='{wanted}']", timeout=120_000)
    shot(page, "gallery-picture")


def test_a_picture_is_chosen_by_keys_alone(page, tmp_path):
    wanted = told(page, "samples?status=kept")["tiles"][3]["at"]
    file = tmp_path / "mine.jpg"
    file.write_bytes(page.request.get(f"/image?at={wanted}&side=1200").body())
    open_page(page, "gallery")
    page.wait_for_selector("a.tile")
    page.keyboard.press("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "By picture"
    box = page.locator("input[aria-label='picture to search by']")
    box.evaluate(
        """(box) => box.addEventListener("click", (event) => {
            event.preventDefault();
            box.dataset.asked = "yes";
        })"""
    )
    page.keyboard.press("Enter")
    page.locator("input[data-asked='yes']").wait_for(state="attached")
    box.set_input_files(file)
    page.wait_for_selector(".chip:has-text('your picture')", timeout=120_000)
    page.wait_for_selector(f".cell:first-child a.tile[data-at='{wanted}']", timeout=120_000)


@pytest.mark.parametrize("width", [360, 768, 1024, 1280, 1366, 1440, 1920])
def test_what_the_search_asks_for_is_read_whole(browser, address, width):
    with opened(browser, address, width=width) as page:
        open_page(page, "gallery")
        room = page.locator("#search").evaluate(
            """(box) => {
                const style = getComputedStyle(box);
                const pen = document.createElement("canvas").getContext("2d");
                pen.font = style.font;
                const sides = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
                return box.clientWidth - sides - pen.measureText(box.placeholder).width;
            }"""
        )
        assert room >= 0
        shot(page, f"gallery-{width}", whole=False)


def test_a_group_says_by_what_one_stayed_and_what_became_of_it_later(page):
    groups = told(page, "groups?stage=exact_dedup")
    later = [n for n, group in enumerate(groups) if group["best"]["status"] == "dropped"]
    assert 0 < len(later) < len(groups)
    open_page(page, "duplicates?stage=exact_dedup")
    page.wait_for_selector(".group")
    tags = texts(page, ".group .head .tag")
    for n, group in enumerate(groups):
        best = group["best"]
        stage = best["stage"].replace("_", " ")
        said = f"stayed here, later dropped by {stage}" if n in later else "stays"
        assert tags[n] == said
        assert [one["name"] for one in best["ranked"]] == ["clip_score", "area"]
        score, area = (one["value"] for one in best["ranked"])
        tile = page.locator(f".group >> nth={n}").locator(".head a.tile .ranked")
        assert tile.inner_text() == f"clip score {score:.4g} · area {area:,.0f}"
    assert page.locator(".group .ranked").count() == page.locator(".group a.tile").count()
    shot(page, "duplicates-ranked")
    open_page(page, f"sample?at={groups[later[0]]['members'][0]['at']}")
    page.wait_for_selector(".strip .head .tag")
    assert texts(page, ".strip .head .tag") == [tags[later[0]]]


def test_no_page_is_wider_than_a_telephone(browser, address):
    with opened(browser, address, width=360) as page:
        for name in PAGES:
            open_page(page, name)
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_fault(page, theme):
    page.emulate_media(color_scheme=theme)
    for name in PAGES:
        open_page(page, name)
        page.wait_for_timeout(300)
        assert grave_faults(page) == [], name
