"""`curate concepts build` as a user gives it."""

import pytest

from curation.cli.main import main
from curation.core.vocabulary import Vocabulary


def curate(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        assert isinstance(stopped.code, int)
        return stopped.code


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a red car\na blue car in Paris\na red bus from Paris\n")
    return path


def test_a_vocabulary_is_built_and_said(texts, tmp_path, capsys):
    out = tmp_path / "made" / "v.txt"
    out.parent.mkdir()
    options = ("--min-count", 2, "--min-names", 2, "--min-pmi", 1, "--min-pairs", 2)
    assert curate("concepts", "build", texts, "--out", out, *options, "--workers", 0) == 0
    assert out.read_text() == "# lang: en\na\nParis\ncar\nred\na red\n"
    assert [p.name for p in out.parent.iterdir()] == ["v.txt"]
    said = capsys.readouterr().out
    assert f"{out}: 5 entries (words 4, pairs 1)" in said
    assert "from 13 words of 3 texts" in said
    assert Vocabulary.at(str(out)).sha256 in said


def test_a_corpus_too_small_for_pairs_says_so(texts, tmp_path, capsys):
    out = tmp_path / "v.txt"
    arguments = ("--out", out, "--min-count", 3, "--workers", 0)
    assert curate("concepts", "build", texts, *arguments) == 0
    said = capsys.readouterr()
    assert "no pair of words can reach 30 bits in 13 words (at most 3.7)" in said.out + said.err
    assert out.read_text() == "# lang: en\na\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-count", 0), "curate: --min-count must be at least 1, got 0"),
        (("--max-entries", 0), "curate: --max-entries must be at least 1, got 0"),
        (("--language", "English"), "curate: --language takes a code as en or zh, got 'English'"),
        (("--words", "none.txt"), "curate: none.txt: cannot be read"),
        (("--wordnet", "none"), "curate: none: neither data.noun nor index.noun"),
        (("--min-count", 99), "none is seen 99 times; lower --min-count"),
        (("--out", "none/v.txt"), "curate: none/v.txt: the folder none does not exist"),
        (("--workers", -1), "curate: --workers must be at least 0"),
    ],
)
def test_what_cannot_be_is_one_clear_line(texts, tmp_path, capsys, arguments, message):
    out = tmp_path / "v.txt"
    given = ("--workers", 0, "--out", out, *arguments)
    assert curate("concepts", "build", texts, *given) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("curate: ")]
    assert len(said) == 1
    assert message in said[0]
    assert not out.exists()


def test_a_file_in_another_encoding_is_one_clear_line(tmp_path, capsys):
    path = tmp_path / "texts.txt"
    path.write_text("a red car\n" * 200, encoding="utf-16")
    assert curate("concepts", "build", path, "--out", tmp_path / "v.txt", "--workers", 2) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "curate: " in line]
    assert said == f"curate: {path}: UTF-16, not UTF-8; convert it (iconv -f UTF-16 -t UTF-8)"


def test_a_place_that_cannot_be_written_is_one_clear_line(texts, tmp_path, capsys):
    out = texts / "v.txt"
    arguments = ("--out", out, "--min-count", 1, "--workers", 0)
    assert curate("concepts", "build", texts, *arguments) == 1
    assert "is a file, not a folder" in capsys.readouterr().err


def test_concepts_alone_says_what_there_is(capsys):
    assert curate("concepts") == 2
    assert "build" in capsys.readouterr().err
