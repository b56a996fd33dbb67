"""A viewer that serves, and a real browser that looks at it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

IN_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]
"""Marks of a test file that needs a browser."""


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Where `curate view` says that it serves."""
    command = [sys.executable, "-m", "curation", "view", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert found is not None
        yield found[0]
        server.terminate()


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. While it is there nothing else of the process may run an event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@contextmanager
def opened(browser: Any, address: str, width: int = 1360, height: int = 900) -> Iterator[Any]:
    """A page at the funnel; a script's error or a breach of the policy fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, base_url=address, accept_downloads=True
    )
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    made.on(
        "request", lambda r: None if r.url.startswith((address, "blob:")) else wrong.append(r.url)
    )
    made.goto("/")
    made.wait_for_selector("h1")
    yield made
    context.close()
    assert wrong == []


def shot(page: Any, name: str, *, whole: bool = True) -> None:
    """Kept in the folder that CURATION_SCREENSHOTS names, to be looked at; nowhere by default."""
    if folder := os.environ.get("CURATION_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_inner_texts()
    return found


def open_page(page: Any, name: str) -> None:
    """Opens a page of the viewer; nothing that is not there may be told by its name."""
    from playwright.sync_api import expect

    page.goto(f"/#/{name}")
    page.wait_for_load_state("networkidle")
    expect(page.locator("main .loading")).to_have_count(0)
    told = page.locator("main").inner_text().split()
    assert not {"null", "undefined", "NaN", "[object"} & set(told)


def grave_faults(page: Any) -> list[Any]:
    """What axe-core finds serious or critical on a page."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        (fault["id"], [node["html"][:200] for node in fault["nodes"][:3]])
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
