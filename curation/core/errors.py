"""The error tree, and the closed list of what can be wrong with one record.

    CurationError          anything a user can mend; the message says what and how
    ├── UsageError         the command or recipe cannot mean anything (exit code 2)
    └── RunError           a run that started and cannot finish (exit code 1)
        ├── CorpusError    a corpus that is missing, unfinished, damaged or too new
        ├── StorageError   bytes that cannot be written or read: full, read-only, refused
        └── LedgerError    kept + dropped + quarantined is not what was ingested

Faults of one record never raise: they become an `error` code in the data.
"""

from typing import Final


class CurationError(Exception):
    """Something a user can mend; the message names the file, the fault and the remedy."""

    exit_code: int = 1


class UsageError(CurationError):
    """The command or the recipe cannot mean anything."""

    exit_code = 2


class RunError(CurationError):
    """A run that started and cannot finish."""


class CorpusError(RunError):
    """A corpus that is missing, unfinished, damaged or written by a newer version."""


class StorageError(RunError):
    """Bytes that cannot be written or read."""


class LedgerError(RunError):
    """kept + dropped + quarantined is not what was ingested."""


ERROR_CODES: Final[dict[str, str]] = {
    "missing_file": "the source names a file that is not there",
    "unreadable_file": "the file is there but cannot be read (permissions, a directory, I/O)",
    "outside_source": "the path leads outside the source folder (absolute, .., a link)",
    "remote_url": "the image is a URL; nothing is downloaded (fetch it first, as img2dataset does)",
    "too_large": "the record is larger than a reader of one record allows",
    "corrupt_record": "the line, row or archive member cannot be parsed",
    "truncated_record": "the source ends in the middle of the record",
    "unsafe_path": "an archive member with an absolute path, .. or a link",
    "no_media": "a caption or metadata without an image",
    "many_media": "more than one image under one key, where the family holds one",
    "invalid_utf8": "the caption is not valid UTF-8",
    "empty_file": "zero bytes",
    "unsupported_format": "not an image of a known format",
    "corrupt_image": "a known format whose header or data cannot be decoded",
    "truncated_image": "the image data ends early",
    "corrupt_video": "frames that cannot be decoded, or are not there at the times that are stated",
    "too_many_pixels": "more pixels than image_pixels.max_pixels (a decompression bomb)",
    "too_many_scans": "a progressive JPEG with more scans than any encoder writes (a bomb)",
    "not_finite": "the model gave no finite number for this record",
    "crashed": "the operator crashed on this record, or hung and could not be interrupted",
    "timeout": "the operator did not finish this record in time",
    "out_of_memory": "the operator ran out of memory on this record",
    "failed_by_server": "the model's server failed on this record each time that it was asked",
    "refused_by_server": "the model's server refused this record, or its filter the answer",
    "bad_answer": "the model's answer was not of the shape that was asked for, or too long",
    "cut_answer": "the model's answer reached its bound on tokens before its end",
}
"""What can be wrong with one record. Closed: a new code is a new line here."""

PASSING: Final = frozenset(
    {"crashed", "timeout", "out_of_memory", "failed_by_server", "refused_by_server", "bad_answer"}
)
"""Errors that may not come again where the same record is asked about once more."""


def check_code(code: str) -> str:
    """`code` itself, if it is in the list."""
    assert code in ERROR_CODES, code
    return code
