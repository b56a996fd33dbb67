"""The notebook of the documentation in a real kernel: what is shown is what a reader sees."""

import base64
import io
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.pipeline.corpora import caption, curate, picture, write_pairs

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "corpus.ipynb"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> dict[str, Any]:
    """Output of each code cell of the notebook, by the cell's source."""
    folder = tmp_path_factory.mktemp("jupyter")
    source = write_pairs(folder / "source", 12)
    (source / "images" / "3.jpg").unlink()
    picture(4, (190, 180)).save(source / "images" / "4.jpg")
    curate(source, folder / "run1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    told = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=told).execute()
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not [out for out in cell.outputs if out.output_type == "error"]
            found[cell.source] = {
                kind: data for out in cell.outputs for kind, data in out.get("data", {}).items()
            } | {out.name: out.text for out in cell.outputs if out.output_type == "stream"}
    return found


def test_every_cell_runs_and_says_nothing_unasked(cells):
    assert len(cells) == 7
    assert [told for told in cells.values() if "stderr" in told] == []


def test_the_funnel_is_drawn_as_a_table(cells):
    html = cells["corpus.funnel()"]["text/html"]
    assert html.startswith("<table>")
    assert "= 12 ingested" in html
    assert "missing_file" in html


def test_a_sample_shows_its_picture_caption_and_fate(cells):
    (html,) = [told["text/html"] for said, told in cells.items() if said.endswith("\nsample")]
    assert "data:image/jpeg;base64," in html
    assert caption(0) in html
    data = base64.b64decode(cells["sample.image"]["image/png"])
    assert Image.open(io.BytesIO(data)).size == (260, 240)


def test_questions_in_sql_and_words_come_as_text(cells):
    (asked,) = [told for said, told in cells.items() if "GROUP BY reason" in said]
    assert "sharpness" in asked["text/plain"]
    assert "min_side" in asked["text/plain"]
    (told,) = [told for said, told in cells.items() if "print(sample.fate)" in said]
    assert told["stdout"].splitlines() == [caption(0), "kept"]
    assert told["text/plain"] == "240"
