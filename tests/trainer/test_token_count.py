"""A row of an index that cannot be counted is malformed, and costs no other."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.families.image_text import image_segment, text_segment
from curation.io.store import Store
from curation.io.tables import read_table, write_table
from curation.trainer.token_count import count_tokens, open_export
from schemas import EXPORT_INDEX
from tests.trainer.plans import processor
from tests.trainer.samples import write_export

TEXT = text_segment("a tower", loss=True)
IMAGE = image_segment("0.jpg", 112, 112)
VIDEO = {**IMAGE, "type": "video", "timestamps": [0.0, 0.5]}

WRONG = {
    "a width without end": [{**IMAGE, "width": float("inf")}],
    "a width that is not whole": [{**IMAGE, "width": 112.5}],
    "a width of many digits": [{**IMAGE, "width": 10**400}],
    "a height below 0": [{**IMAGE, "height": -3}],
    "a time of many digits": [{**VIDEO, "timestamps": [10**400]}],
    "a time beyond all": [{**VIDEO, "timestamps": [-1e308, 1e308]}],
    "a time that is no number": [{**VIDEO, "timestamps": [0.0, float("nan")]}],
    "a time that is a list": [{**VIDEO, "timestamps": [[0.0], [0.5]]}],
    "a text that is a number": [{**TEXT, "text": 3}],
    "a loss that is a word": [{**TEXT, "loss": "no"}],
    "a box of words": [{**TEXT, "type": "box", "box": ["1", "2", "3", "4"]}],
    "no loss": [{"type": "text", "text": "a"}],
    "a word": ["text"],
    "nothing": None,
}


def counted(folder: Path, scratch: Path, change: dict[str, object]) -> list[dict[str, object]]:
    """Token counts of two samples, the first one's row of the index changed."""
    export = open_export(str(write_export(folder, "ocr", [([TEXT], []), ([TEXT], [])])))
    (part,) = export.parts
    rows = read_table(export.store, part.index).to_pylist()
    rows[0].update(change)
    table = pa.Table.from_pylist(rows, EXPORT_INDEX)
    write_table(export.store, part.index, table, EXPORT_INDEX, {})
    into = Store(str(scratch))
    with LocalEngine(workers=0) as engine:
        (path,) = count_tokens(export, processor(), into, engine, SILENT)
    return read_table(into, path).to_pylist()


def check(rows: list[dict[str, object]]) -> None:
    assert [row["error"] for row in rows] == ["malformed", None]
    assert rows[0]["tokens"] == rows[0]["supervised"] == 0 and rows[1]["tokens"] > 3


@pytest.mark.parametrize("wrong", WRONG)
def test_segments_that_are_wrong(tmp_path, wrong):
    check(counted(tmp_path / "e", tmp_path, {"segments": json.dumps(WRONG[wrong])}))


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"type":', "", '{"a":1}', "7"])
def test_text_that_holds_no_segments(tmp_path, text):
    check(counted(tmp_path / "e", tmp_path, {"segments": text}))


@pytest.mark.parametrize(
    "members",
    [
        [],
        [{"ext": "json", "offset": 3, "size": 9, "sha256": None}],
        [{"ext": "json", "offset": 4096, "size": -4096, "sha256": None}],
    ],
)
def test_members_that_lie_nowhere(tmp_path, members):
    check(counted(tmp_path / "e", tmp_path, {"members": members}))
