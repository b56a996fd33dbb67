"""The page stays small, however many reasons, hostile captions and pictures a corpus has."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_any
from curation.io.sources import SourceOptions
from curation.operators.image.probe import ImageProbe
from curation.operators.text.caption_text import CaptionText
from curation.pipeline.ingest import IngestRequest
from curation.pipeline.recipe import ExportOptions, Recipe
from curation.pipeline.run import run
from curation.relational.select import Rule, Select
from curation.report import page
from curation.report.overview import REASONS as SHOWN
from tests.report.test_page import Page

REASONS, EACH = 150, 2
SHORTEST = 20


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Path:
    """150 reasons of two samples each: images that no codec makes small, captions of quotes."""
    folder = tmp_path_factory.mktemp("crowded")
    (folder / "source").mkdir()
    rng = np.random.default_rng(7)
    lines = []
    for n in range(REASONS * EACH):
        noise = rng.integers(0, 256, (200, 230, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "source" / f"{n}.jpg", quality=40)
        text = '"<&' * (SHORTEST + REASONS)
        lines.append({"image": f"{n}.jpg", "text": text[: SHORTEST + n // EACH]})
    (folder / "source" / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rules = tuple(
        Rule(
            reason=f"shorter_than_{SHORTEST + nth + 1}",
            column="caption_chars",
            kind="at_least",
            threshold=SHORTEST + nth + 1,
            source="<&'\"" * 20,
        )
        for nth in range(REASONS)
    )
    recipe = Recipe(
        family="image-text",
        operators=(ImageProbe(), CaptionText()),
        stages=(Select(name="heuristics", rules=rules),),
        export=ExportOptions(name="image-text", scores=()),
    )
    request = IngestRequest(source=str(folder / "source"), options=SourceOptions(shard_samples=100))
    with LocalEngine(workers=0, memory="500MB") as engine:
        run(recipe, request, str(folder / "out"), engine, SILENT)
    return folder / "out"


@pytest.fixture(scope="module")
def html(crowded) -> str:
    return page.render(open_any(str(crowded)), [])


def test_many_reasons_and_stubborn_pictures_stay_under_five_megabytes(html):
    assert 2_000_000 < len(html.encode()) <= page.PAGE_BYTES < 5_000_000
    found = Page(html)
    panels = found.words()
    for nth in range(REASONS):
        assert f"Shorter than {SHORTEST + nth + 1} {EACH} shorter_than_" in panels
    pictures = found.values("src")
    assert len(pictures) == SHOWN + REASONS
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in pictures)


def test_pictures_give_way_where_text_leaves_no_room(crowded, html, monkeypatch):
    half = len(html.encode()) // 2
    monkeypatch.setattr(page, "PAGE_BYTES", half)
    smaller = page.render(open_any(str(crowded)), [])
    assert len(smaller.encode()) <= half
    assert len(Page(smaller).values("src")) == SHOWN + REASONS
    monkeypatch.setattr(page, "PAGE_BYTES", 100)
    bare = page.render(open_any(str(crowded)), [])
    assert Page(bare).values("src") == []
    assert "no room on this page" in bare


def test_more_measures_than_fit_are_counted_and_those_with_rules_stay(crowded, monkeypatch):
    monkeypatch.setattr(page, "CHARTS", 3)
    html = page.render(open_any(str(crowded)), [])
    assert html.count("<figure") == 3
    assert "<b><bdi>caption_chars</bdi></b>" in html
    assert "more measures are not drawn." in html
