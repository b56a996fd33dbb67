"""The page in a real browser: on a screen, on a telephone, in the dark, on paper, to a reader."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from curation.report.page import write_report
from tests.pipeline.corpora import curate, picture, write_pairs
from tests.report.test_cost import log

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """Of 24 pairs: too small, near duplicates, unreadable, with the log of its run."""
    folder = tmp_path_factory.mktemp("looks")
    images = write_pairs(folder / "source", 24) / "images"
    for n in (1, 2, 3):
        picture(n, (150, 140)).save(images / f"{n}.jpg")
    picture(20).resize((520, 480)).save(images / "21.jpg", quality=90)
    (images / "22.jpg").write_bytes(b"none")
    curate(folder / "source", folder / "out")
    log(folder / "out.runs", "1", stages=[
        {"stage": f"measure {name}", "seconds": seconds, "done": 24}
        for name, seconds in (("caption_text", 40.0), ("caption_facts", 30.0), ("clip", 4.0))
    ])  # fmt: skip
    write_report(str(folder / "out"), str(folder / "report.html"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


def opened(browser: Any, file: Path, *, width: int = 1200, dark: bool = False, **more: Any) -> Any:
    """A tab with the page in it, which asks the network for nothing."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **more
    )
    made = context.new_page()
    asked: list[str] = []
    made.on("request", lambda request: asked.append(request.url))
    made.goto(file.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    return made


@pytest.mark.parametrize("width", [360, 420, 800, 1200])
def test_nothing_runs_over_the_side(browser, page_file, width):
    page = opened(browser, page_file, width=width)
    boxes = page.locator("main *").evaluate_all(_BOXES)
    assert len(boxes) > 500
    over = [box for box in boxes if box["x"] < 0 or box["right"] > width]
    assert over == []


FIRST = (
    "24 pairs went in, 19 came out: 79.2%",
    "Why they did not come out",
    "Too small",
    "Near duplicate",
    "What it cost",
    "1 min 30 s",
    "Where the time went",
)


def test_what_a_team_lead_asks_is_on_the_first_screen(browser, page_file):
    page = opened(browser, page_file)
    for words in FIRST:
        box = page.get_by_text(words).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900, words
    examples = page.locator(".reasons img")
    assert examples.count() == 2
    assert examples.evaluate_all("all => all.every(img => img.naturalWidth > 40)")


_BARS = """all => all.map(one => {
  const text = document.createRange(), bar = one.querySelector("rect").getBoundingClientRect();
  text.selectNodeContents(one);
  const {left, right} = text.getBoundingClientRect(), own = one.getBoundingClientRect();
  return {name: one.innerText.trim(), bar: bar.width, room: own.width, cut: right > own.right + 1};
})"""


@pytest.mark.parametrize(("width", "media"), [(794, "print"), (1200, "screen"), (360, "screen")])
def test_where_the_time_went_can_be_read(browser, page_file, width, media):
    """Names whole, and bars as long as their share says, on a sheet of A4 too."""
    page = opened(browser, page_file, width=width)
    page.emulate_media(media=media)
    steps = page.locator(".steps th").evaluate_all(_BARS)
    assert [step["name"] for step in steps] == [
        "measure caption_text", "measure caption_facts", "measure clip", "start and the rest",
    ]  # fmt: skip
    assert not any(step["cut"] for step in steps)
    for step, share in zip(steps, (40 / 90, 30 / 90, 4 / 90, 16 / 90), strict=True):
        assert step["room"] > 100
        assert step["bar"] == pytest.approx(share * step["room"], rel=0.02)


def test_a_reason_without_a_picture_says_so(browser, page_file):
    """A truncated file has no thumbnail: its place is not an empty grey box."""
    page = opened(browser, page_file)
    blank = page.locator(".reasons .blank")
    assert blank.count() == 1
    assert blank.get_attribute("aria-label").startswith("no picture to show of")
    sign = blank.locator("svg").bounding_box()
    assert min(sign["width"], sign["height"]) > 10


@pytest.mark.parametrize("dark", [False, True])
def test_no_accessibility_fault_is_serious(browser, page_file, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, page_file, dark=dark, bypass_csp=True)
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    levels = [int(h[1]) for h in page.locator("h1, h2, h3, h4").evaluate_all(_NAMES)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


_BOXES = """all => all.filter(one => !one.closest(".unseen, .scroll")).map(one => {
  const {x, right} = one.getBoundingClientRect();
  return {x, right: Math.floor(right), tag: one.tagName, name: String(one.className)};
})"""
_NAMES = "all => all.map(one => one.tagName)"
_INK = "getComputedStyle(document.body).color"
_PAPER = "getComputedStyle(document.body).backgroundColor"


def test_the_dark_page_is_dark_and_its_print_is_not(browser, page_file):
    page = opened(browser, page_file, dark=True)
    assert page.evaluate(_PAPER) == "rgb(20, 23, 26)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(_PAPER) == "rgb(255, 255, 255)"
    assert page.evaluate(_INK) == "rgb(0, 0, 0)"
    assert page.locator("nav").is_hidden()


SECTIONS = {
    "Stage by stage",
    "What was dropped, and why",
    "What could not be read",
    "What came out",
    "Measures",
    "All rules",
    "Run and identity",
}


def test_every_section_and_thumbnail_is_on_paper(browser, page_file):
    page = opened(browser, page_file, dark=True)
    titles = page.locator("h2").all_inner_texts()
    assert set(titles) >= SECTIONS
    pictures = set(page.locator("img").evaluate_all("all => all.map(one => one.src)"))
    paper = page.pdf(format="A4", tagged=True, outline=True)
    outline = re.findall(rb"/Title \(((?:\\.|[^\\)])*)\)", paper)
    # Chromium leaves out the space at which a heading was broken into lines.
    there = {re.sub(rb"\s", b"", title).decode() for title in outline}
    assert {re.sub(r"\s", "", title) for title in titles} <= there
    assert 4 <= len(re.findall(rb"/Type ?/Page\b", paper)) <= 20
    assert len(re.findall(rb"/Subtype ?/Image", paper)) >= len(pictures) > 20
