"""Columns that a source brought along go into prompts, and count as evidence for what comes out."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.core.errors import UsageError
from curation.core.progress import SILENT, Progress
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.io.tables import read_table
from curation.pipeline.measure import measure
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import curate, plain_recipe, write_pairs

PAIRS = 12
EXTRAS = {
    "alt": "Lighthouse at Bredwick, end with @harbour",
    "ocr": ["GATE 47", "www.gates.example"],
    "blip": "a tower by a sea",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Pairs of which every second one has further columns."""
    folder = write_pairs(tmp_path_factory.mktemp("extras") / "pairs", PAIRS)
    table = folder / "pairs.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps(r | (EXTRAS if r["id"] % 2 else {})) + "\n" for r in rows))
    return folder


def element(payload: dict[str, Any], name: str) -> str:
    """What stands in the data element `name` of a request; empty where there is none."""
    _, _, rest = words_of(payload).partition(f'<data name="{name}">\n')
    return rest.partition("\n</data>")[0]


def with_its_texts(payload: dict[str, Any]) -> str:
    """A caption that states what the further columns state, and one thing that nothing does."""
    said = element(payload, "caption").rstrip(".")
    if not element(payload, "alt"):
        return f"{said}. Room 83 is shut."
    reads = "A sign reads www.gates.example. Follow @harbour."
    return f"{said}. It is near Bredwick, behind gate 47. Room 83 is shut. {reads}"


def layer(run: Path, operator: str) -> list[dict[str, Any]]:
    corpus = open_corpus(str(run))
    (folder,) = (run / "corpus" / "layers").glob(f"{operator}-*")
    names = [f"layers/{folder.name}/{shard.shard:09d}.parquet" for shard in corpus.shards]
    return pa.concat_tables(read_table(corpus.store, name) for name in names).to_pylist()


def test_alt_texts_and_read_words_are_shown_and_are_evidence(source, tmp_path):
    with ChatServer(say=with_its_texts) as server:
        curate(
            source,
            tmp_path / "run",
            "source_columns.columns=alt,ocr",
            "recaption.alt_column=source_alt",
            "recaption.ocr_column=source_ocr",
            f"recaption.servers={server.url}",
        )
        shown = [(element(asked, "alt"), element(asked, "ocr")) for asked in server.asked]
    assert sorted(set(shown)) == [("", ""), (EXTRAS["alt"], "\n".join(EXTRAS["ocr"]))]
    told = {True: set(), False: set()}
    for row in layer(tmp_path / "run", "caption_facts"):
        rich = len(row["recaption_sentences"]) > 2
        told[rich] |= {(fact["claim"], fact["supported"]) for fact in row["facts"]}
    assert {("Bredwick", True), ("47", True), ("83", False)} <= told[True]
    assert {("www.gates.example", True), ("@harbour", False)} <= told[True]  # printed, and unseen
    assert ("83", False) in told[False]
    manifest = json.loads((tmp_path / "run" / "corpus" / "manifest.json").read_text())
    assert manifest["recipe"]["operators"]["caption_facts"]["evidence"] == [
        "source_alt",
        "source_ocr",
    ]


def test_fusion_merges_a_caption_that_the_source_brought_along(source, tmp_path):
    with ChatServer(say=lambda payload: element(payload, "synthetic")) as server:
        curate(
            source,
            tmp_path / "run",
            "source_columns.columns=blip",
            "recaption.prompt=fusion",
            "recaption.synthetic_column=source_blip",
            f"recaption.servers={server.url}",
        )
    captions = [row["recaption"] for row in layer(tmp_path / "run", "recaption")]
    assert captions == [None, EXTRAS["blip"]] * (PAIRS // 2)


class Listening(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def track(self, label: str, total: int | None, unit: str) -> Any:
        return SILENT.track(label, total, unit)


def test_a_name_that_no_sample_has_is_told_with_those_that_there_are(source, tmp_path):
    curate(source, tmp_path / "run")
    recipe = plain_recipe().with_settings(("source_columns.columns=alt,ocr_text",))
    listening = Listening()
    with LocalEngine(workers=0) as engine:
        measure(open_corpus(str(tmp_path / "run")), recipe.operators, engine, listening)
    assert listening.said == [
        "source_columns: no sample that was looked at has a column 'ocr_text' "
        "(there are: alt, blip, id, ocr)"
    ]


def test_a_column_that_nobody_gives_is_refused_with_the_way_to_get_it(source, tmp_path):
    settings = ("recaption.model=any", "recaption.servers=http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"alt, which no .*source_columns\.columns=NAME"):
        curate(source, tmp_path / "run", *settings, "recaption.alt_column=alt")
    assert not (tmp_path / "run").exists()
