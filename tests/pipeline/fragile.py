"""An operator that breaks on some captions, in every way in which an operator can."""

import hashlib
import os
import signal
import time
from dataclasses import dataclass

import pyarrow as pa

from curation.core.operator import BatchFn, Operator, append


@dataclass(frozen=True, kw_only=True)
class Fragile(Operator):
    """Counts characters, but breaks on captions that hold one of some words."""

    name = "fragile"
    how: str = "raise"
    """raise, crash (of the process), hang, hang_in_c (cannot be interrupted), memory."""
    words: tuple[str, ...] = ("number 7 ", "number 31 ")

    @property
    def requires(self) -> pa.Schema:
        return pa.schema([("text", pa.string())])

    @property
    def provides(self) -> pa.Schema:
        return pa.schema([("letters", pa.int32())])

    def open(self) -> BatchFn:
        return self._count

    def _count(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = [text or "" for text in batch["text"].to_pylist()]
        if any(word in text for text in texts for word in self.words):
            break_as(self.how)
        return append(batch, self.provides, {"letters": [len(text) for text in texts]})


def break_as(how: str) -> None:
    """Breaks in one of the ways of `Fragile.how`."""
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "hang":
        time.sleep(1000)
    elif how == "hang_in_c":
        hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)
    elif how == "memory":
        held = bytearray(4 << 30)  # refused at once: touched in pieces, it could reach the deadline
        raise AssertionError(f"got {len(held)} bytes: memory is not bounded")
    raise RuntimeError("cannot count this")
