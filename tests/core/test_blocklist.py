"""Blocklist files: every kind of entry, told by word or by shape; a bad line is named."""

import hashlib

import pytest

from curation.core.blocklist import ENTRIES, MAX_BITS, Blocker, BlockFile, domain_suffixes
from curation.core.errors import UsageError

SHA, UID, PHASH = "ab" * 32, "0123456789abcdef" * 2, "8000000000000001"


def entries(tmp_path, text: str | bytes) -> list[tuple]:
    path = tmp_path / "abuse.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = BlockFile.at(str(path)).entries()
    assert table.schema == ENTRIES
    assert set(table["list"].to_pylist()) <= {"abuse"}
    columns = [table[name].to_pylist() for name in ENTRIES.names[1:]]
    return list(zip(*columns, strict=True))


SIGNED = int(PHASH, 16) - 2**64

MEANINGS = {
    SHA: ("sha256", SHA, None, None),
    f"sha256:{SHA}": ("sha256", SHA, None, None),
    f"SHA256: {SHA.upper()}": ("sha256", SHA, None, None),
    UID: ("uid", UID, None, None),
    f"uid:{UID}": ("uid", UID, None, None),
    PHASH: ("phash", PHASH, SIGNED, 0),
    f"phash:{PHASH}": ("phash", PHASH, SIGNED, 0),
    f"phash:{PHASH}/4": ("phash", PHASH, SIGNED, 4),
    f"{PHASH.upper()}/{MAX_BITS}": ("phash", PHASH, SIGNED, MAX_BITS),
    "phash:7fffffffffffffff/04": ("phash", "7fffffffffffffff", 2**63 - 1, 4),
    "https://Example.org/A?b=c#d": ("url", "https://Example.org/A?b=c#d", None, None),
    "url:https://example.org/a": ("url", "https://example.org/a", None, None),
    "s3://bucket/key": ("url", "s3://bucket/key", None, None),
    "Example.ORG": ("domain", "example.org", None, None),
    "example.org.": ("domain", "example.org", None, None),
    "domain:localhost": ("domain", "localhost", None, None),
    "domain:bücher.example": ("domain", "bücher.example", None, None),
    "  sub.example.org  # asked for on Monday": ("domain", "sub.example.org", None, None),
}


@pytest.mark.parametrize("line", MEANINGS)
def test_an_entry_is_told_by_its_word_or_its_shape(line, tmp_path):
    assert entries(tmp_path, line) == [MEANINGS[line]]


def test_comments_blank_lines_and_a_byte_order_mark_mean_nothing(tmp_path):
    text = b"\xef\xbb\xbfexample.org\r\n\r\n# note\r\n   # another\r\n\t\r\n" + UID.encode()
    assert entries(tmp_path, text) == [MEANINGS["Example.ORG"], MEANINGS[UID]]
    assert entries(tmp_path, "# nothing yet\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "word",
        "word.",
        "two words",
        SHA[:-1],
        f"uid:{SHA}",
        f"sha256:{UID}",
        f"{SHA[:-1]}g",
        "phash:123",
        f"phash:{PHASH}/{MAX_BITS + 1}",
        f"phash:{PHASH}/-1",
        f"phash:{PHASH}/",
        "url:example.org/a",
        "domain:",
        "domain:https://example.org",
        "someone@example.org",
        "example.org/path",
    ],
)
def test_a_line_without_meaning_is_named_with_file_and_number(line, tmp_path):
    with pytest.raises(UsageError) as caught:
        entries(tmp_path, f"# list\n{UID}\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/abuse.txt:3: ")
    assert "write it as kind:value" in str(caught.value)


def test_a_list_is_named_by_its_file_and_hashed_by_content(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "abuse.txt").write_text(UID)
    first, second = (BlockFile.at(str(tmp_path / f / "abuse.txt")) for f in ("a", "b"))
    assert first == second
    assert first.sha256 == hashlib.sha256(UID.encode()).hexdigest()
    assert first.path != second.path


def test_a_list_that_is_missing_or_changed_or_nameless_is_one_line(tmp_path):
    path = tmp_path / "abuse.txt"
    with pytest.raises(UsageError, match="cannot be read"):
        BlockFile.at(str(path))
    path.write_text(UID)
    known = BlockFile.at(str(path))
    path.write_text(SHA)
    with pytest.raises(UsageError, match="changed during the run"):
        known.entries()
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        known.entries()
    with pytest.raises(UsageError, match="known by its hash alone"):
        BlockFile(name="abuse", sha256=known.sha256, path="").entries()


def test_a_blocker_names_the_first_list_that_holds_the_sample(tmp_path):
    lists = {"one": f"{SHA}\nexample.org", "two": f"{UID}\n{SHA}\nhttps://site.example/a.jpg"}
    for name, text in lists.items():
        (tmp_path / f"{name}.txt").write_text(text)
    blocker = Blocker(tuple(BlockFile.at(str(tmp_path / f"{name}.txt")) for name in lists))
    other = "cd" * 32
    assert blocker.match([other, SHA], "x", None, None) == "one"
    assert blocker.match([other], UID, None, None) == "two"
    assert blocker.match([], "x", "https://site.example/a.jpg", "site.example") == "two"
    assert blocker.match([], "x", "https://site.example/b.jpg", "site.example") is None
    assert blocker.match([], "x", None, "deep.sub.example.org") == "one"
    assert blocker.match([], "x", None, "notexample.org") is None
    assert blocker.match([], "x", None, "org") is None
    assert Blocker(()).match([SHA], UID, None, "example.org") is None


def test_a_domain_stands_for_those_below_it():
    assert domain_suffixes("a.b.org") == ["a.b.org", "b.org", "org"]
    assert domain_suffixes("localhost") == ["localhost"]
    assert domain_suffixes(None) == domain_suffixes("") == []
