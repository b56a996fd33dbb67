"""What stage 2 reads of the run before it."""

import json
from pathlib import Path

import pytest

from curation.core.errors import CorpusError
from curation.trainer.mixture import CorpusShare
from curation.trainer.replay import with_replay


class Told(list[str]):
    def say(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def first(exports, tmp_path: Path) -> Path:
    """The record of a run over two corpora."""
    read = [(exports["gui"], 0.25), (exports["ocr"], 0.75)]
    corpora = [{"url": str(url), "share": share, "family": "any"} for url, share in read]
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "run.json").write_text(json.dumps({"corpora": corpora}))
    return tmp_path / "first"


def test_named_corpora_get_what_replay_leaves(exports, first) -> None:
    video, gui = (CorpusShare(url=str(exports[name])) for name in ("video", "gui"))
    given = CorpusShare(url=video.url, share=3.0)
    told = Told()
    found = with_replay([given], 0.4, str(first), told)
    assert [(corpus.share, corpus.replay) for corpus in found] == [
        (0.6, False), (0.1, True), (pytest.approx(0.3), True),
    ]  # fmt: skip
    assert with_replay([video, gui], 0.4, str(first), told) == [
        video, gui, CorpusShare(url=str(exports["ocr"]), share=0.4, replay=True),
    ]  # fmt: skip
    assert with_replay([given], 0.0, str(first), told) == [given]
    assert told == []


def test_it_is_said_where_nothing_is_known_to_replay(exports, tmp_path) -> None:
    told, video = Told(), CorpusShare(url=str(exports["video"]))
    assert with_replay([video], 0.5, str(tmp_path), told) == [video]
    (line,) = told
    assert line.startswith(f"warning: --init {tmp_path}: ") and "is replayed" in line
    assert with_replay([video], 0.0, str(tmp_path), told) == [video] and len(told) == 1


def test_a_corpus_to_replay_that_is_gone_is_told_with_its_run(exports, first, tmp_path) -> None:
    gone = {"url": str(tmp_path / "gone"), "share": 1.0}
    (first / "run.json").write_text(json.dumps({"corpora": [gone]}))
    with pytest.raises(CorpusError) as caught:
        with_replay([CorpusShare(url=str(exports["video"]))], 0.5, str(first), Told())
    assert str(caught.value).startswith(f"{gone['url']}: {first} was trained on it")
    assert "--set replay=0" in str(caught.value) and "\n" not in str(caught.value)
