"""The tokenizer is a function of its texts, and knows GLM's special tokens."""

from pathlib import Path

from curation.demo.__main__ import main
from curation.demo.train_tokenizer import train_tokenizer
from curation.models.glm4v.tokenizer import SPECIAL_TOKENS, Tokenizer, demo_tokenizer


def test_the_same_texts_give_the_same_tokenizer(tmp_path: Path):
    prose = tmp_path / "prose.md"
    prose.write_text("Masts are measured before they are made. " * 20)
    files = []
    for name in ("a", "b"):
        assert train_tokenizer(tmp_path / name, [prose], words=500, captions=50) <= 500
        files.append((tmp_path / name / "tokenizer.json").read_bytes())
    assert files[0] == files[1]
    tokenizer = Tokenizer(str(tmp_path / "a"))
    assert sorted(tokenizer.special.values()) == list(
        range(tokenizer.vocabulary - len(SPECIAL_TOKENS), tokenizer.vocabulary)
    )
    assert len(tokenizer.encode(" measured")) == 1


def test_the_shipped_one_knows_the_demo():
    tokenizer = demo_tokenizer()
    assert tokenizer.vocabulary == 4096
    assert len(tokenizer.encode("A red ball on a green meadow")) < 12


def test_prose_that_is_not_there_is_told(tmp_path: Path, capsys):
    assert main(["train-tokenizer", "--out", str(tmp_path), "--prose", "nowhere.md"]) == 2
    assert "nowhere.md" in capsys.readouterr().err
