"""What outlives a page, in a real browser: marks, moved thresholds, places in a long order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.corpora import curate, write_pairs
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
from tests.report.viewer.large import PER_SHARD, enlarge

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def decided(tmp_path_factory) -> list[Path]:
    """One corpus, decided in two ways."""
    folder = tmp_path_factory.mktemp("decided")
    source = write_pairs(folder / "source", 60)
    curate(source, folder / "first", shard_samples=60)
    curate(source, folder / "again", "heuristics.blur=1e99", shard_samples=60)
    return [folder / "first", folder / "again"]


@pytest.fixture(scope="module")
def address(decided) -> Iterator[str]:
    with serving(str(decided[0]), "--against", str(decided[1])) as found:
        yield found


@pytest.fixture(scope="module")
def long(decided, tmp_path_factory) -> Iterator[str]:
    """More samples than a page can be scrolled through."""
    large = enlarge(decided[0], tmp_path_factory.mktemp("long") / "corpus", 3)
    with serving(str(large)) as found:
        yield found


@pytest.fixture(scope="module")
def browser(decided) -> Iterator[Any]:
    with chromium() as made:
        yield made


def mark(page: Any, at: int, label: str) -> None:
    open_page(page, f"sample?at={at}")
    page.locator(f".mark-{label}").click()
    page.wait_for_selector(f".mark-{label}[aria-pressed='true']")


def labels(page: Any) -> Any:
    """The dialog of labels."""
    page.locator("#labels").click()
    return page.locator("dialog[open]")


def uid(page: Any, at: int) -> str:
    found: str = page.request.get(f"/api/sample?at={at}").json()["tile"]["uid"]
    return found


def test_marks_stay_when_the_corpus_is_decided_anew(page):
    first, again = (page.request.get(f"/api/overview?of={of}").json() for of in "ab")
    assert (first["sha256"] != again["sha256"], first["kept"], again["kept"]) == (True, 60, 0)
    mark(page, 3, "keep")
    open_page(page, "sample?of=b&at=3")
    page.wait_for_selector(".mark-keep[aria-pressed='true']")
    page.reload()
    page.wait_for_selector(".mark-keep[aria-pressed='true']")
    assert texts(page, "#labels") == ["1 label"]


def test_marks_of_a_former_decision_are_found_again(page):
    old = {uid(page, 5): {"shard": 0, "row": 5, "label": "drop"},
           "0" * 32: {"shard": 0, "row": 1, "label": "keep"}}  # fmt: skip
    page.evaluate(
        "(text) => localStorage.setItem('opinions:' + '1'.repeat(64), text)", json.dumps(old)
    )
    dialog = labels(page)
    assert "holds 2 labels under former decisions" in dialog.inner_text()
    dialog.get_by_role("button", name="Look for them here").click()
    page.wait_for_selector("dialog :text('0 keep, 1 drop')")
    assert "holds 1 label under former decisions" in dialog.inner_text()
    shot(page, "labels")
    assert grave_faults(page) == []
    dialog.get_by_role("button", name="Close").click()
    open_page(page, "sample?at=5")
    page.wait_for_selector(".mark-drop[aria-pressed='true']")


def test_a_labels_file_is_taken_and_all_are_cleared(page, tmp_path):
    mark(page, 2, "keep")
    lines = [{"uid": uid(page, at), "shard": 0, "row": at, "label": "drop"} for at in (2, 4)]
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    dialog = labels(page)
    box = dialog.locator("input[type=file]")
    box.set_input_files(file)
    page.wait_for_selector("dialog :text('0 keep, 2 drop')")
    for wrong, said in {
        "{": "line 1: a label has uid, shard, row, and label: keep or drop",
        json.dumps({**lines[0], "uid": "__proto__"}): "line 1: a label has uid",
        json.dumps({**lines[0], "uid": "0" * 32}): "none of its labels is of a sample of this",
        f"{json.dumps(lines[0])}\n\n{json.dumps({**lines[0], 'label': 'keep'})}":
            "line 3 contradicts line 1",
        "\n": "no label is in this file",
    }.items():  # fmt: skip
        file.write_text(wrong)
        box.set_input_files(file)
        page.wait_for_selector(f"#toast:has-text('{said}')")
    assert "0 keep, 2 drop" in dialog.inner_text()
    dialog.get_by_role("button", name="Clear").click()
    assert "0 keep, 2 drop" in dialog.inner_text()  # it asks once more
    dialog.get_by_role("button", name="Clear 2 labels for good").click()
    page.wait_for_selector("dialog :text('Nothing is marked yet')")
    page.reload()
    page.wait_for_selector(".mark-drop[aria-pressed='false']")
    assert texts(page, "#labels") == ["Labels"]


def test_a_threshold_of_any_size_fits_and_outlives_a_reload(page):
    open_page(page, "whatif?measure=min_side")
    field = page.locator("input[data-rule='heuristics.min_side']")
    field.fill("1e99")
    page.wait_for_url("**set=heuristics.min_side%3A1e%2B99")
    flag = ["--set heuristics.min_side=1e+99"]
    label = page.locator(".threshold[data-rule='heuristics.min_side'] .label")
    assert label.text_content() == "≥ 1e99 ▸"  # beyond the axis
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, "whatif-huge")
    page.reload()
    page.wait_for_selector("#flags:visible")
    assert texts(page, "#flags") == flag
    assert float(field.input_value()) == 1e99
    page.wait_for_selector("[data-figure='kept, all together']:text-is('0')")
    page.get_by_role("link", name="blur").click()
    page.wait_for_url("**measure=blur&set=heuristics.min_side%3A1e%2B99")
    assert texts(page, "#flags") == flag
    page.get_by_role("button", name="Reset all").click()
    page.wait_for_selector("#flags", state="hidden")
    page.reload()
    page.wait_for_selector(".threshold")
    assert "set=" not in page.url
    assert page.locator("#flags").is_hidden()


@pytest.mark.parametrize("name", ["constructor", "toString", "__proto__", "nothing"])
def test_an_address_that_names_nothing_is_the_funnel(page, name):
    open_page(page, name)
    assert texts(page, "h1") == ["60 of 60 samples kept"]
    assert page.title().startswith("Funnel")
    for other in ("gallery", "sample"):
        open_page(page, f"{other}?of={name}&at=1")
        page.wait_for_selector("a.tile, .stepper")
        assert page.locator(".problem").count() == 0


def test_a_gallery_is_filtered_by_family(page):
    open_page(page, "gallery")
    page.get_by_label("any family").select_option("image-text")
    page.wait_for_selector(".chip:has-text('family image-text')")
    page.wait_for_selector("a.tile")
    assert texts(page, ".total") == ["60 samples"]
    open_page(page, "gallery?family=ocr")
    page.wait_for_selector(".empty")
    assert texts(page, ".total") == ["0 samples"]
    assert page.get_by_label("any family").input_value() == "ocr"


def test_any_place_in_a_long_order_can_be_reached(browser, long):
    total = 3 * PER_SHARD
    with opened(browser, long) as page:
        open_page(page, "gallery")
        page.wait_for_selector("a.tile[data-at='0']")
        assert texts(page, ".total") == ["150,000 samples, 1 to 120,000 to scroll through"]
        page.get_by_label("go to sample number").fill(str(total))
        page.keyboard.press("Enter")
        page.wait_for_selector(f"a.tile[data-at='{total - 1}']")
        assert texts(page, ".total") == ["150,000 samples, 30,001 to 150,000 to scroll through"]
        shot(page, "gallery-far", whole=False)
        page.get_by_label("go to sample number").fill("100001")
        page.keyboard.press("Enter")
        there = page.locator("a.tile[data-at='100000']")
        there.wait_for()
        assert 58 <= there.bounding_box()["y"] <= 300  # at the top, below the header
        page.keyboard.press("k")  # chooses the one that was asked for
        page.wait_for_selector(".cell.focus a.tile[data-at='100000']")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector(".cell.focus a.tile[data-at='99999']")
        page.keyboard.press("Enter")
        page.wait_for_selector(".stepper")
        assert "100,000 of 150,000" in page.locator(".stepper").inner_text()
        page.keyboard.press("Escape")
        page.wait_for_selector("a.tile[data-at='100000']")
        for odd in ("0", "-5", "1e300", "x", "2.5"):
            open_page(page, f"gallery?from={odd}")
            page.wait_for_selector("a.tile")
