"""One command a stage: what is said of settings that do not take hold yet."""

import shlex

from curation.cli.main import main
from curation.io.corpus import open_corpus
from tests.pipeline.corpora import write_pairs

QUICK = ("--workers", "0")


def curate(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def placeholders(corpus) -> list[str]:
    found = open_corpus(str(corpus)).manifest.recipe["operators"]["caption_text"]["placeholders"]
    return list(found)


def test_a_measure_of_a_decided_corpus_says_which_command_keeps_its_setting(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    curate("ingest", write_pairs(tmp_path / "source", 4), "--out", corpus, *QUICK)
    assert curate("decide", corpus, *QUICK) == 0
    capsys.readouterr()
    setting = "caption_text.placeholders=no words,nothing"
    assert curate("measure", "caption_text", corpus, "--set", setting, *QUICK) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "to decide by" in x]
    assert line == (
        "this corpus stays decided by what it was measured with before; to decide by this, and "
        f"keep the setting: curate decide {corpus} --set 'caption_text.placeholders=no words,"
        "nothing'"
    )
    assert "untitled" in placeholders(corpus)
    command = shlex.split(line.partition(": curate ")[2])
    assert curate(*command, *QUICK) == 0
    assert placeholders(corpus) == ["no words", "nothing"]
    assert curate("decide", corpus, *QUICK) == 0
    assert placeholders(corpus) == ["no words", "nothing"]
