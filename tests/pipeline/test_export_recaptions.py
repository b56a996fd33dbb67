"""Original and new captions are mixed at export, by a hash of the uid."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.core.errors import UsageError
from curation.core.progress import SILENT
from curation.engines.local import LocalEngine
from curation.io.corpus import open_corpus
from curation.pipeline.export import export
from curation.pipeline.recipe import ExportOptions
from tests.io.chat_server import ChatServer, words_of
from tests.pipeline.corpora import caption, curate, tree, write_pairs
from tests.pipeline.test_export import samples

PAIRS = 60
REFUSED = 7
"""Pair that the server has no caption for."""


def said(payload: dict[str, Any]) -> str:
    return words_of(payload).split('<data name="caption">\n')[1].split("\n")[0] + ", seen anew"


def refusing(payload: dict[str, Any], seen: int) -> str:
    return "400" if f"number {REFUSED} " in words_of(payload) else "answer"


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A run with new captions."""
    folder = tmp_path_factory.mktemp("recaptioned")
    with ChatServer(refusing, say=said) as server:
        setting = f"recaption.servers={server.url}"
        curate(write_pairs(folder / "pairs", PAIRS), folder / "done", setting)
    return folder / "done"


def exported(run: Path, out: Path, workers: int = 0, **options: Any) -> dict[str, tuple[str, str]]:
    """Caption of each sample by its uid, and what it says it is where it is not the original."""
    with LocalEngine(workers=workers) as engine:
        export(open_corpus(str(run)), str(out), ExportOptions(**options), engine, SILENT)
    found = {}
    for sample in samples(out):
        held = json.loads(sample["json"])
        whose = json.loads(held["meta"]["lineage"]).get("caption", "")
        found[held["meta"]["uid"]] = (held["segments"][-1]["text"], whose)
    return found


def originals() -> set[str]:
    return {caption(number) for number in range(PAIRS)}


def test_without_a_share_every_caption_is_the_original(done, tmp_path):
    found = exported(done, tmp_path / "out")
    assert {text for text, _ in found.values()} == originals()
    assert not any(new for _, new in found.values())


def test_a_share_of_samples_has_its_new_caption_and_says_so(done, tmp_path):
    plain = exported(done, tmp_path / "plain")
    mixed = exported(done, tmp_path / "mixed", recaptioned=0.5)
    assert mixed.keys() == plain.keys()
    for uid, (text, new) in mixed.items():
        assert text == (f"{plain[uid][0]}, seen anew" if new else plain[uid][0])
    assert 18 <= sum(bool(new) for _, new in mixed.values()) <= 42


def test_all_of_them_but_what_has_no_new_caption(done, tmp_path):
    found = exported(done, tmp_path / "out", recaptioned=1.0)
    assert [text for text, new in found.values() if not new] == [caption(REFUSED)]


def test_a_larger_share_keeps_those_of_a_smaller_one(done, tmp_path):
    taken = []
    for share in (0.2, 0.5, 0.8):
        found = exported(done, tmp_path / str(share), recaptioned=share)
        taken.append({uid for uid, (_, new) in found.items() if new})
    assert taken[0] < taken[1] < taken[2]


def test_the_draw_is_the_same_with_workers_and_another_with_another_seed(done, tmp_path):
    first = exported(done, tmp_path / "one", recaptioned=0.5)
    exported(done, tmp_path / "two", workers=2, recaptioned=0.5)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert exported(done, tmp_path / "other", recaptioned=0.5, seed=1) != first


def test_a_corpus_without_new_captions_says_so_in_one_line(tmp_path):
    curate(write_pairs(tmp_path / "pairs", 5), tmp_path / "done")
    with pytest.raises(UsageError, match="was not decided with new captions"):
        exported(tmp_path / "done", tmp_path / "out", recaptioned=0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="0 to 1"):
        ExportOptions(recaptioned=share)
